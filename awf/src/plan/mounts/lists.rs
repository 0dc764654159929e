//! The paths that the plan knows by name, separated by white space.
//!
//! Sources: the original AWF's mount list and credential overlays (the first thirty credentials),
//! and the stores that these forget. Must never grow by a path that a program merely likes to
//! have if it says something about the host or its users.

/// Directories of programs; symlinks where /usr is merged.
pub(super) const SYSTEM: &str = "
    /usr /bin /sbin /lib /lib32 /lib64 /libx32 /libexec /opt
";

/// What programs read in /etc. Never shadow, machine-id, sudoers or host keys.
pub(super) const ETC: &str = "
    alternatives bash.bashrc bashrc ca-certificates ca-certificates.conf chromium.d crypto-policies
    debian_version default/locale dotnet ethertypes fonts gai.conf gitconfig
    gitattributes gss host.conf inputrc java java-8-openjdk java-11-openjdk java-17-openjdk
    java-21-openjdk java-25-openjdk ld.so.cache ld.so.conf ld.so.conf.d locale.alias
    locale.conf localtime lsb-release magic magic.mime manpath.config maven mime.types netconfig
    nsswitch.conf os-release pki/ca-trust pki/tls/certs pki/tls/cert.pem
    pki/tls/openssl.cnf profile profile.d protocols services ssl timezone
";

/// What must not be seen below the former.
pub(super) const PRIVATE: &str = "/etc/ssl/private /etc/pki/ca-trust/source";

/// Tool directories of a home that the agent shares with the host, as in the original.
pub(super) const TOOLS: &str = "
    .cache .config .local/bin .local/lib .local/lib64 .local/share .local/pipx .azure .anthropic
    .claude .copilot .cargo .rustup .npm .nvm .pyenv .gemini
";

/// Credentials in a home: the original's thirty files, then the stores it forgets.
pub(super) const CREDENTIALS: &str = "
    .docker/config.json .npmrc .composer/auth.json .ssh/id_rsa .ssh/id_ed25519 .ssh/id_ecdsa
    .ssh/id_dsa .aws/credentials .aws/config .kube/config .azure/credentials
    .azure/msal_token_cache.bin .azure/msal_token_cache.json .azure/accessTokens.json
    .azure/service_principal_entries.json .cargo/credentials .cargo/credentials.toml
    .claude/.credentials.json .gemini/oauth_creds.json .gemini/google_accounts.json
    .gemini/access_tokens.json .config/gh/hosts.yml .config/gcloud/credentials.db
    .config/gcloud/access_tokens.db .config/gcloud/application_default_credentials.json
    .config/doctl/config.yaml .config/rclone/rclone.conf .config/containers/auth.json
    .config/pulumi/credentials.json .config/helm/repositories.yaml .ssh .gnupg .password-store
    .netrc .git-credentials .pgpass .pypirc .vault-token .fly .gem/credentials
    .terraform.d/credentials.tfrc.json .mozilla .aws/sso .config/hub .config/heroku .config/op
    .config/github-copilot .config/git/credentials .config/gcloud/legacy_credentials
    .config/google-chrome .config/chromium .config/BraveSoftware .config/microsoft-edge
    .config/netlify .config/configstore .config/fly .config/sops .config/glab-cli
    .local/share/keyrings .local/share/com.vercel.cli .local/share/containers
    .local/share/kwalletd .local/share/uv/credentials .config/composer/auth.json
    .config/pypoetry/auth.toml .config/stripe .config/doppler .config/argocd .config/hcloud
    .config/scw .config/ngrok .config/keybase .config/1Password .config/Bitwarden .codex/auth.json
    .cache/huggingface/token .cache/huggingface/stored_tokens .huggingface/token .subversion/auth
    .boto .s3cfg .my.cnf .mylogin.cnf .databrickscfg .docker/run .colima .lima .rd
";

/// Where daemons listen that run anything as root or as the user. `/run` is not shown, but may be mounted.
pub(super) const SOCKETS: &str = "
    /run/docker.sock /run/podman/podman.sock /run/containerd/containerd.sock /run/crio/crio.sock
    /run/k3s/containerd/containerd.sock /run/buildkit/buildkitd.sock /run/libvirt /run/dbus/system_bus_socket
    /run/systemd/private
";

/// Likewise those of a user, below `/run/user/UID`.
pub(super) const USER_SOCKETS: &str = "
    docker.sock podman/podman.sock buildkit/buildkitd.sock bus gnupg keyring systemd/private
";

/// What changes with every process of the host and is never shown with a mount around it.
pub(super) const LIVE: &str = "/proc /sys /dev /run /var/run";

/// A workspace here would be a part of the system, not of the user.
pub(super) const NEVER_WORKSPACE: &str = "
    /usr /etc /proc /sys /dev /run
";
