//! The machine as the user wants it to be seen.
//!
//! Takes what was said about identity, tools and session, and looks where credentials would become visible.
//! Must never change anything on the machine.

use std::fs;
use std::path::{Path, PathBuf};

use super::git::{self, Place};
use super::{Host, Variables, passwd, real};
use crate::cli::files::Identity;
use crate::cli::{Files, Mount};

/// How far below a directory that is shown a repository may begin: actions/checkout knows one level.
const DEPTH: usize = 3;
/// The same below /tmp, which is full of other things.
const TMP_DEPTH: usize = 2;

/// Variables that name a file with credentials, or a directory, beside the files in it.
const NAMED: [(&str, &[&str]); 14] = [
    ("GOOGLE_APPLICATION_CREDENTIALS", &[""]),
    // Of google-github-actions/auth, which writes it into the workspace.
    ("GOOGLE_GHA_CREDS_PATH", &[""]),
    ("CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", &[""]),
    ("AWS_SHARED_CREDENTIALS_FILE", &[""]),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", &[""]),
    ("KUBECONFIG", &[""]),
    ("NETRC", &[""]),
    ("PGPASSFILE", &[""]),
    ("NPM_CONFIG_USERCONFIG", &[""]),
    ("DOCKER_CONFIG", &["config.json"]),
    ("GH_CONFIG_DIR", &["hosts.yml"]),
    ("CARGO_HOME", &["credentials", "credentials.toml"]),
    (
        "AZURE_CONFIG_DIR",
        &[
            "credentials",
            "msal_token_cache.bin",
            "msal_token_cache.json",
            "accessTokens.json",
            "service_principal_entries.json",
        ],
    ),
    ("GNUPGHOME", &[""]),
];

impl Host {
    /// Takes over what the user said, and searches what the sandbox will show.
    /// Variables that the user `gave` the command are meant for it.
    pub fn fit(&mut self, files: &Files, mounts: &[Mount], gave: &Variables) {
        self.become_identity(&files.identity);
        if files.tool_cache.is_some() {
            self.tool_cache.clone_from(&files.tool_cache);
        }
        self.tool_programs = self.tool_cache.as_deref().map(programs).unwrap_or_default();
        let found = git::search(
            &self.places(mounts),
            &self.configurations(),
            (&self.caller.home, self.caller.uid),
        );
        self.redacted = found.redacted;
        self.secrets = found.secrets;
        self.secrets.extend(named(&self.caller.env, gave));
        self.notices.extend(found.notices);
    }

    fn become_identity(&mut self, said: &Identity) {
        let agent = &mut self.agent;
        if let Some(uid) = said.uid {
            agent.uid = uid;
            let known = passwd::by_uid(&self.accounts, uid);
            agent.user = known.map_or_else(|| "runner".to_owned(), |entry| entry.name);
        }
        agent.gid = said.gid.unwrap_or(agent.gid);
        if let Some(user) = &said.user {
            agent.user.clone_from(user);
        }
        if let Some(home) = &said.home {
            agent.home.clone_from(home);
        }
    }

    /// Directories of the host that become visible and may hold repositories. What others put into /tmp is
    /// not the agent's to read, and where root calls, its own neither.
    fn places(&self, mounts: &[Mount]) -> Vec<Place> {
        let workspace = Place { path: self.workspace.clone(), depth: DEPTH, own: true };
        let tmp = Place { path: "/tmp".into(), depth: TMP_DEPTH, own: self.caller.uid != 0 };
        let mounts =
            mounts.iter().map(|mount| Place { path: real(&mount.source), depth: DEPTH, own: true });
        [workspace].into_iter().chain(mounts).chain([tmp]).collect()
    }

    fn configurations(&self) -> Vec<PathBuf> {
        let home = &self.caller.home;
        vec![
            home.join(".gitconfig"),
            home.join(".config/git/config"),
            PathBuf::from("/etc/gitconfig"),
        ]
    }
}

/// The credentials that the caller's variables name, as far as they exist.
fn named(env: &Variables, gave: &Variables) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for (variable, names) in NAMED.iter().filter(|(variable, _names)| !gave.contains_key(*variable))
    {
        let values = env.get(*variable).map(String::as_str).unwrap_or_default();
        for value in values.split(':').filter(|value| value.starts_with('/')) {
            let path = |name: &&str| Path::new(value).join(name).components().collect::<PathBuf>();
            paths.extend(names.iter().map(path).filter(|path| path.exists()));
        }
    }
    // A daemon's socket, where it lies in a directory that is shown.
    let socket = env.get("DOCKER_HOST").and_then(|address| address.strip_prefix("unix://"));
    paths.extend(socket.map(PathBuf::from).filter(|path| path.is_absolute() && path.exists()));
    paths
}

/// The directories of programs in a tool cache: `TOOL/VERSION/ARCHITECTURE/bin`.
fn programs(cache: &Path) -> Vec<PathBuf> {
    let below = |directories: Vec<PathBuf>| -> Vec<PathBuf> {
        let entries = directories.iter().filter_map(|path| fs::read_dir(path).ok()).flatten();
        entries.flatten().map(|entry| entry.path()).collect()
    };
    let kinds = below(below(below(vec![cache.to_owned()])));
    let mut found: Vec<PathBuf> = kinds.iter().map(|path| path.join("bin")).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stated_identity_is_taken_field_by_field() {
        let fitted = |identity: Identity| {
            let mut host = Host::sample();
            host.accounts = "ci:x:2000:2000::/home/ci:/bin/sh\n".to_owned();
            host.fit(&Files { identity, ..Files::default() }, &[], &Variables::new());
            host.agent
        };
        let none = Identity::default;
        let agent = fitted(none());
        assert_eq!((agent.uid, agent.user.as_str()), (1001, "ada"));
        let agent = fitted(Identity { uid: Some(2000), ..none() });
        assert_eq!((agent.uid, agent.gid, agent.user.as_str()), (2000, 1002, "ci"));
        let agent = fitted(Identity { uid: Some(7), gid: Some(8), ..none() });
        assert_eq!((agent.uid, agent.gid, agent.user.as_str()), (7, 8, "runner"));
        let agent = fitted(Identity { user: Some("me".into()), home: Some("/h".into()), ..none() });
        assert_eq!((agent.user.as_str(), agent.home), ("me", "/h".into()));
    }

    #[test]
    fn credentials_are_named_by_variables_unless_they_are_meant_for_the_command() {
        let scratch = std::env::temp_dir().join(format!("awf-fit-{}", std::process::id()));
        fs::create_dir_all(scratch.join("docker")).unwrap();
        fs::write(scratch.join("docker/config.json"), "").unwrap();
        fs::write(scratch.join("key"), "").unwrap();
        let path = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
        let env = Variables::from([
            ("DOCKER_CONFIG".to_owned(), path("docker")),
            ("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), path("key")),
            ("KUBECONFIG".to_owned(), format!("{}:relative:{}", path("missing"), path("key"))),
            ("NETRC".to_owned(), "relative".to_owned()),
        ]);
        let found = named(&env, &Variables::new());
        assert_eq!(found, ["key", "key", "docker/config.json"].map(|name| scratch.join(name)));
        let gave = Variables::from([("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), String::new())]);
        assert_eq!(named(&env, &gave).len(), 2);
        fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn programs_of_a_tool_cache_lie_below_tool_version_and_architecture() {
        let scratch = std::env::temp_dir().join(format!("awf-cache-{}", std::process::id()));
        for directory in ["node/22.1.0/x64/bin", "go/1.24.0/x64/bin", "odd/bin", "ruby/3/x64/lib"] {
            fs::create_dir_all(scratch.join(directory)).unwrap();
        }
        let expected = ["go/1.24.0/x64/bin", "node/22.1.0/x64/bin"].map(|path| scratch.join(path));
        assert_eq!(programs(&scratch), expected);
        fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn a_path_is_made_real_as_far_as_it_exists() {
        assert_eq!(real(Path::new("/proc/self/root/no/such")), Path::new("/no/such"));
        assert_eq!(real(Path::new("/tmp")), Path::new("/tmp"));
    }
}
