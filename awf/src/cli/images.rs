//! Which daemon and which images: the options of the Docker runtime.
//!
//! Takes the options' text and the caller's `DOCKER_HOST`, gives typed choices. Must never ask a daemon or a registry.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::options::Args;
use super::usage::UsageError;
use crate::host::Caller;

/// The roles that `--image-tag` may pin, the original's.
const ROLES: [&str; 9] = [
    "squid",
    "agent",
    "agent-act",
    "api-proxy",
    "cli-proxy",
    "build-tools",
    "enclave-script",
    "enclave-agent",
    "enclave-mcp-server",
];

/// Where Docker's daemon listens unless told otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// Everything the user said about containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// The daemon.
    pub daemon: DaemonAddress,
    /// What the agent's container is made of.
    pub agent: AgentImage,
    /// Where images come from; `None` means that they are made on this machine.
    pub registry: Option<String>,
    /// Tag of the images; `None` means the version of awf.
    pub tag: Option<String>,
    /// Digests by role, `sha256:` and 64 digits.
    pub digests: BTreeMap<String, String>,
    /// References by role that were given whole, instead of registry and tag.
    pub whole: BTreeMap<&'static str, String>,
    /// How a missing image is obtained.
    pub supply: Supply,
}

/// A daemon on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DaemonAddress {
    /// Path of its Unix socket.
    Unix(PathBuf),
    /// Its port on loopback.
    Loopback(u16),
}

/// The agent's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentImage {
    /// awf's own.
    Default,
    /// awf's own on the base that `act` runs workflows in.
    Act,
    /// Any other, by reference.
    Reference(String),
}

/// How a missing image is obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Supply {
    /// From its registry.
    Pull,
    /// From awf's own build files.
    Build,
    /// Not at all.
    Present,
}

impl Images {
    /// Reads the options.
    pub(super) fn of(
        args: &Args,
        caller: &Caller,
        notices: &mut Vec<String>,
    ) -> Result<Self, UsageError> {
        let supply = match (args.build_local, args.skip_pull) {
            (true, true) => {
                let remedy = "give one of them: --build-local makes the images, --skip-pull takes \
                              those that are there";
                return Err(UsageError::value(
                    "--skip-pull",
                    "--build-local",
                    "the two contradict each other",
                    remedy,
                ));
            }
            (true, false) => Supply::Build,
            (false, true) => Supply::Present,
            (false, false) => Supply::Pull,
        };
        let (tag, digests) = match &args.image_tag {
            Some(text) => tag(text)?,
            None => (None, BTreeMap::new()),
        };
        let registry = args.image_registry.as_deref().map(registry).transpose()?;
        let agent = agent(args.agent_image.as_deref())?;
        let whole = whole(args)?;
        let daemon = daemon(args, caller, notices)?;
        Ok(Self { daemon, agent, registry, tag, digests, whole, supply })
    }

    /// The reference of an image by role, as the daemon is asked for it.
    pub fn reference(&self, role: &str) -> String {
        if let Some(reference) = self.whole.get(role) {
            return reference.clone();
        }
        let tag = self.tag.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
        let name = match &self.registry {
            Some(registry) => format!("{registry}/{role}:{tag}"),
            None => format!("awf-{role}:{tag}"),
        };
        match self.digests.get(role) {
            Some(digest) => format!("{name}@{digest}"),
            None => name,
        }
    }

    /// The reference of the agent's image.
    pub fn agent_reference(&self) -> String {
        match &self.agent {
            AgentImage::Default => self.reference("agent"),
            AgentImage::Act => self.reference("agent-act"),
            AgentImage::Reference(reference) => reference.clone(),
        }
    }

    /// The references of the images that a run needs.
    pub fn wanted(&self) -> Vec<String> {
        vec![self.agent_reference(), self.reference("squid")]
    }

    /// Whether awf has the build file of an image: the base that `act` uses is somebody else's.
    pub fn is_own(&self, reference: &str) -> bool {
        let own = [self.reference("agent"), self.reference("squid")];
        self.whole.is_empty() && own.iter().any(|own| own == reference)
    }

    /// Whether an image of that reference can be asked of a registry.
    pub fn has_registry(&self, reference: &str) -> bool {
        let named = self.agent == AgentImage::Reference(reference.to_owned());
        self.registry.is_some() || named || self.whole.values().any(|whole| whole == reference)
    }
}

impl fmt::Display for DaemonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Loopback(port) => write!(f, "tcp://127.0.0.1:{port}"),
        }
    }
}

/// The option, else the variable, else the usual socket. A variable that names another machine's daemon does not count: the
/// programs govern this machine.
fn daemon(
    args: &Args,
    caller: &Caller,
    notices: &mut Vec<String>,
) -> Result<DaemonAddress, UsageError> {
    const REMEDY: &str =
        "name a daemon on this machine: unix:///path/to/docker.sock or tcp://127.0.0.1:PORT";
    if let Some(text) = &args.docker_host {
        let why = "not the address of a daemon on this machine";
        return address(text).ok_or_else(|| UsageError::value("--docker-host", text, why, REMEDY));
    }
    let usual = || DaemonAddress::Unix(SOCKET.into());
    let Some(text) = caller.env.get("DOCKER_HOST").filter(|text| !text.is_empty()) else {
        return Ok(usual());
    };
    Ok(address(text).unwrap_or_else(|| {
        notices.push(format!(
            "DOCKER_HOST names a daemon that is not on this machine; awf uses {SOCKET}, and the command keeps the variable"
        ));
        usual()
    }))
}

fn address(text: &str) -> Option<DaemonAddress> {
    if let Some(path) = text.strip_prefix("unix://") {
        return Path::new(path).is_absolute().then(|| DaemonAddress::Unix(path.into()));
    }
    let (host, port) = text.strip_prefix("tcp://")?.split_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    matches!(host, "localhost" | "127.0.0.1").then_some(DaemonAddress::Loopback(port))
}

fn agent(text: Option<&str>) -> Result<AgentImage, UsageError> {
    Ok(match text {
        None | Some("default") => AgentImage::Default,
        Some("act") => AgentImage::Act,
        Some(text) => AgentImage::Reference(reference("--agent-image", text)?),
    })
}

/// Something that can be an image's reference: the daemon knows the whole grammar.
fn reference(flag: &'static str, text: &str) -> Result<String, UsageError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let remedy = "give default, act, or a reference such as ubuntu:24.04";
    Err(UsageError::value(flag, text, "not the reference of an image", remedy))
}

/// `container.images`: the images themselves, so that nothing else may name them.
fn whole(args: &Args) -> Result<BTreeMap<&'static str, String>, UsageError> {
    const KEY: &str = "container.images";
    let Some(images) = &args.file.images else { return Ok(BTreeMap::new()) };
    let others = [
        ("--image-registry", args.image_registry.is_some()),
        ("--image-tag", args.image_tag.is_some()),
        ("--agent-image", args.agent_image.is_some()),
        ("--build-local", args.build_local),
    ];
    if let Some((other, _said)) = others.into_iter().find(|(_name, said)| *said) {
        let why = "the two say which images to take";
        return Err(UsageError::value(KEY, other, why, "give one of them"));
    }
    let roles = [
        ("squid", "container.images.squid", &images.squid),
        ("agent", "container.images.agent", &images.agent),
    ];
    let mut whole = BTreeMap::new();
    for (role, key, reference) in roles {
        let remedy = "write REGISTRY/NAME:TAG@sha256:DIGEST with 64 lower-case hexadecimal digits";
        let Some(reference) = reference else {
            return Err(UsageError::value(KEY, role, "the image of this role is missing", remedy));
        };
        if !is_literal(reference) {
            let why = "not the full reference of one image";
            return Err(UsageError::value(key, reference, why, remedy));
        }
        whole.insert(role, reference.clone());
    }
    Ok(whole)
}

/// Whether a reference names one image of one registry for good.
fn is_literal(reference: &str) -> bool {
    let Some((name, digest)) = reference.split_once('@') else { return false };
    let Some((path, tag)) = name.rsplit_once(':').filter(|(_path, tag)| !tag.contains('/')) else {
        return false;
    };
    let Some((registry, path)) = path.split_once('/') else { return false };
    let plain = |text: &str, more: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed)
    };
    let named = registry.contains(['.', ':']) || registry == "localhost";
    let lower = !path.contains(|c: char| c.is_ascii_uppercase());
    named
        && plain(registry, ".-:")
        && lower
        && path.split('/').all(|part| plain(part, "._-"))
        && is_tag(tag)
        && is_digest(digest)
}

/// `[\\w][\\w.-]{0,127}`, the grammar of tags.
fn is_tag(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with(['.', '-'])
        && text.chars().all(plain)
}

fn is_digest(text: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let number = text.strip_prefix("sha256:").unwrap_or_default();
    number.len() == 64 && number.chars().all(hex)
}

fn registry(text: &str) -> Result<String, UsageError> {
    let trimmed = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if trimmed.starts_with(|c: char| c.is_ascii_alphanumeric()) && trimmed.chars().all(plain) {
        return Ok(trimmed.to_owned());
    }
    let remedy = "give what stands before the image's name, such as registry.example/team";
    Err(UsageError::value("--image-registry", text, "not the name of a registry", remedy))
}

/// `TAG[,ROLE=sha256:DIGEST]...`
fn tag(text: &str) -> Result<(Option<String>, BTreeMap<String, String>), UsageError> {
    let wrong = |part: &str, why: &str| {
        let remedy =
            format!("write TAG,ROLE=sha256:DIGEST with one of the roles {}", ROLES.join(", "));
        UsageError::value("--image-tag", part, why, &remedy)
    };
    let mut parts = text.split(',').map(str::trim);
    let tag = parts.next().unwrap_or_default();
    if !is_tag(tag) {
        return Err(wrong(tag, "not a tag"));
    }
    let mut digests = BTreeMap::new();
    for part in parts {
        let (role, digest) = part.split_once('=').ok_or_else(|| wrong(part, "it has no '='"))?;
        if !ROLES.contains(&role) {
            return Err(wrong(role, "no such role"));
        }
        if !is_digest(digest) {
            return Err(wrong(digest, "not a digest of 64 lower-case hexadecimal digits"));
        }
        digests.insert(role.to_owned(), digest.to_owned());
    }
    Ok((Some(tag.to_owned()), digests))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(change: impl FnOnce(&mut Args)) -> Result<Images, String> {
        of_caller(&Caller::sample(), change).map(|(images, _notices)| images)
    }

    fn of_caller(
        caller: &Caller,
        change: impl FnOnce(&mut Args),
    ) -> Result<(Images, Vec<String>), String> {
        let mut args = Args::default();
        change(&mut args);
        let mut notices = Vec::new();
        let images = Images::of(&args, caller, &mut notices).map_err(|error| error.to_string())?;
        Ok((images, notices))
    }

    #[test]
    fn without_options_images_are_this_versions_own() {
        let images = of(|_args| ()).unwrap();
        assert_eq!(images.agent_reference(), concat!("awf-agent:", env!("CARGO_PKG_VERSION")));
        assert_eq!(images.reference("squid"), concat!("awf-squid:", env!("CARGO_PKG_VERSION")));
        assert_eq!((images.supply, images.has_registry("awf-agent:x")), (Supply::Pull, false));
        assert_eq!(images.daemon.to_string(), "unix:///var/run/docker.sock");
    }

    #[test]
    fn a_registry_a_tag_and_digests_make_the_reference() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let images = of(|args| {
            args.image_registry = Some("registry.test/team/".into());
            args.image_tag = Some(format!("1.2,agent={digest}"));
        });
        let images = images.unwrap();
        assert_eq!(images.agent_reference(), format!("registry.test/team/agent:1.2@{digest}"));
        assert_eq!(images.reference("squid"), "registry.test/team/squid:1.2");
        assert!(images.has_registry(&images.reference("squid")));
    }

    #[test]
    fn the_agents_image_is_a_preset_or_any_reference() {
        let agent = |text: &str| of(|args| args.agent_image = Some(text.into()));
        assert_eq!(agent("act").unwrap().agent, AgentImage::Act);
        let custom = agent("ubuntu:24.04").unwrap();
        assert_eq!(custom.agent_reference(), "ubuntu:24.04");
        assert!(custom.has_registry("ubuntu:24.04") && !custom.has_registry("awf-squid:1"));
        for text in ["", "-x", "a b", "a;b", "$(x)"] {
            let error = agent(text).unwrap_err();
            assert!(error.contains("--agent-image") && error.contains("ubuntu:24.04"), "{error}");
        }
    }

    #[test]
    fn tags_and_digests_are_checked() {
        let refused = |text: &str| of(|args| args.image_tag = Some(text.into())).unwrap_err();
        assert!(refused("").contains("not a tag"));
        assert!(refused("a b").contains("not a tag"));
        assert!(refused("1,agent").contains("no '='"));
        assert!(refused("1,other=sha256:00").contains("no such role"));
        assert!(refused("1,agent=sha256:00").contains("64 lower-case"));
        assert!(refused(&format!("1,agent=sha256:{}", "0A".repeat(32))).contains("64 lower-case"));
    }

    #[test]
    fn the_file_may_give_both_images_whole_and_nothing_beside() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let of = |squid: Option<String>, agent: Option<String>, change: fn(&mut Args)| {
            of(|args| {
                let images =
                    crate::cli::config::schema::Images { squid, agent, ..Default::default() };
                args.file.images = Some(images);
                change(args);
            })
        };
        let image = |name: &str| Some(format!("{name}@{digest}"));
        let [squid, agent] = ["ghcr.test/x/squid:1", "localhost/agent:v2"].map(image);
        let found = of(squid.clone(), agent.clone(), |_args| ()).unwrap();
        assert_eq!(found.wanted(), [agent.clone().unwrap(), squid.clone().unwrap()]);
        assert!(
            found.has_registry(squid.as_ref().unwrap()) && !found.is_own(squid.as_ref().unwrap())
        );
        let missing = of(squid.clone(), None, |_args| ()).unwrap_err();
        assert!(missing.starts_with("container.images 'agent': "), "{missing}");
        let others: [fn(&mut Args); 4] = [
            |args| args.image_registry = Some("r.test".into()),
            |args| args.image_tag = Some("1".into()),
            |args| args.agent_image = Some("act".into()),
            |args| args.build_local = true,
        ];
        for other in others {
            let sentence = of(squid.clone(), agent.clone(), other).unwrap_err();
            assert!(sentence.starts_with("container.images '--"), "{sentence}");
        }
        for wrong in [
            String::new(),
            "ghcr.test/x/agent:1".to_owned(),
            format!("agent:1@{digest}"),
            format!("x/agent:1@{digest}"),
            format!("ghcr.test/agent@{digest}"),
            format!("ghcr.test/a${{X}}:1@{digest}"),
            format!("ghcr.test/Agent:1@{digest}"),
            format!("ghcr.test/agent:1@{}", digest.to_uppercase()),
            format!("ghcr.test/agent:1@{digest}0"),
        ] {
            let sentence = of(squid.clone(), Some(wrong.clone()), |_args| ()).unwrap_err();
            let begin = format!("container.images.agent '{wrong}': ");
            assert!(sentence.starts_with(&begin), "{sentence}");
        }
    }

    #[test]
    fn building_and_not_pulling_exclude_each_other() {
        let both = of(|args| (args.build_local, args.skip_pull) = (true, true));
        assert!(both.unwrap_err().contains("contradict"));
        let supply = |build, skip| of(|args| (args.build_local, args.skip_pull) = (build, skip));
        assert_eq!(supply(true, false).unwrap().supply, Supply::Build);
        assert_eq!(supply(false, true).unwrap().supply, Supply::Present);
    }

    #[test]
    fn only_a_daemon_of_this_machine_can_be_named() {
        let named = |text: &str| of(|args| args.docker_host = Some(text.into()));
        assert_eq!(
            named("unix:///x/y.sock").unwrap().daemon,
            DaemonAddress::Unix("/x/y.sock".into())
        );
        assert_eq!(named("tcp://localhost:2375").unwrap().daemon, DaemonAddress::Loopback(2375));
        for text in [
            "",
            "tcp://10.0.0.1:2375",
            "tcp://localhost",
            "tcp://localhost:0",
            "ssh://h",
            "unix://x",
            "tcp://127.0.0.1:1/path",
            "http://127.0.0.1:1",
            "tcp://u@127.0.0.1:1",
        ] {
            assert!(named(text).unwrap_err().contains("--docker-host"), "{text}");
        }
    }

    #[test]
    fn the_variable_counts_unless_it_names_another_machine() {
        let with = |value: &str| {
            let mut caller = Caller::sample();
            caller.env.insert("DOCKER_HOST".into(), value.into());
            of_caller(&caller, |_args| ()).unwrap()
        };
        assert_eq!(with("unix:///a").0.daemon, DaemonAddress::Unix("/a".into()));
        assert_eq!(with("").1, Vec::<String>::new());
        let (images, notices) = with("tcp://build.example:2376");
        assert_eq!(images.daemon, DaemonAddress::Unix(SOCKET.into()));
        assert!(notices[0].contains("not on this machine"), "{notices:?}");
    }
}
