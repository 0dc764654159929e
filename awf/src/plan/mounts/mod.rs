//! What the agent sees of the host's files: one ordered list of [`MountOp`]s.
//!
//! Takes facts about the host and a way to look at its paths, gives plain data that `awf plan` can
//! print and `awf init` carries out. Selective: what is not listed does not exist in the sandbox.
//! The user's home is replaced by an empty one in which only tool directories that exist appear,
//! and known credential files are covered. Must never touch a file itself.

mod finish;
mod lists;
mod op;

use std::path::{Path, PathBuf};

use crate::cli::files::IDENTITY_HOME;
use crate::cli::{self, UsageError};
use crate::host::git::Redacted;
pub use op::{Access, Fallback, MountOp, Sharing};

/// What is known about the host and the run. All paths are absolute and without symlinks.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Home of the caller.
    pub home: &'a Path,
    /// What the command is told to be its home.
    pub told_home: &'a Path,
    /// Its name, for a made-up account.
    pub user: &'a str,
    /// The directory to work in.
    pub workspace: &'a Path,
    /// User the agent runs as.
    pub uid: u32,
    /// User who called.
    pub caller_uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Host name in the sandbox.
    pub hostname: &'a str,
    /// Generated `/etc/hosts`.
    pub hosts: &'a str,
    /// Generated `/etc/resolv.conf`.
    pub resolv_conf: &'a str,
    /// Content of the host's `/etc/passwd`.
    pub passwd: &'a str,
    /// Content of the host's `/etc/group`.
    pub group: &'a str,
    /// Where a workflow runner keeps its tools.
    pub tool_cache: Option<&'a Path>,
    /// Programs that are found first.
    pub binaries: Option<&'a Path>,
    /// Where the state of the agent's session is kept.
    pub session: Option<&'a Path>,
    /// The user's own wishes, in order.
    pub custom: &'a [Custom],
    /// What stays writable; `None` means all that is.
    pub allow_write: Option<&'a [PathBuf]>,
    /// Files of the host that hold credentials beside other things.
    pub redacted: &'a [Redacted],
    /// Files of the host that are credentials, besides those known by name.
    pub secrets: &'a [PathBuf],
    /// Directories of awf itself that lie in shared places.
    pub hide: &'a [PathBuf],
    /// The run's directory for work directories.
    pub scratch: &'a Path,
    /// Name of the run, for work directories on other file systems.
    pub run: &'a str,
    /// Fifth column of `/proc/self/mountinfo`.
    pub mount_points: &'a [PathBuf],
    /// The kernel refuses connections to sockets of other cgroups, so nothing has to be hidden.
    pub sockets_guarded: bool,
    /// A Gemini or Google key is in use.
    pub gemini: bool,
}

/// A `--mount` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custom {
    /// Path on the host.
    pub source: PathBuf,
    /// Path in the sandbox.
    pub target: PathBuf,
    /// `ro` or `rw`.
    pub access: Access,
}

impl Custom {
    /// As the user said it.
    pub fn of(mount: &cli::Mount) -> Self {
        let access = match mount.access {
            cli::Access::ReadOnly => Access::ReadOnly,
            cli::Access::ReadWrite => Access::ReadWrite,
        };
        Self { source: mount.source.clone(), target: mount.target.clone(), access }
    }
}

/// What lies at a path of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The link's text, if the path itself is a symbolic link.
    pub link: Option<PathBuf>,
    /// Where it really is.
    pub real: PathBuf,
    /// Whether a directory is there.
    pub directory: bool,
}

/// The complete list, in the order in which it must be carried out. `look` tells what lies at a
/// path of the host.
pub fn mounts(
    facts: &Facts<'_>,
    look: &dyn Fn(&Path) -> Option<Found>,
) -> Result<Vec<MountOp>, UsageError> {
    let mut list = List { facts, look, ops: Vec::new() };
    for path in lists::SYSTEM.split_whitespace() {
        list.system(Path::new(path));
    }
    list.ops.extend([MountOp::Proc, MountOp::Sysfs, MountOp::Cgroup2, MountOp::Devices]);
    let tmp = Path::new("/tmp");
    list.share_at(tmp, tmp, Access::ReadWrite);
    list.scaffold();
    list.etc();
    list.home();
    list.told_home()?;
    list.workspace();
    if let Some(cache) = facts.tool_cache {
        list.bind(cache, cache, Access::ReadOnly);
    }
    for Custom { source, target, access } in facts.custom {
        match (access, look(source)) {
            (Access::ReadOnly, Some(found)) if found.directory && !facts.sockets_guarded => {
                list.show_at(&found.real, target);
            }
            (Access::ReadWrite | Access::Own, Some(found)) => {
                list.share_at(&found.real, target, Access::Own);
            }
            _ => list.bind(source, target, *access),
        }
    }
    if let Some(binaries) = facts.binaries {
        list.show_at(binaries, Path::new(BINARIES));
    }
    if let Some(session) = facts.session {
        list.share_at(session, &facts.told_home.join(SESSION), Access::Own);
    }
    if let Some(allowed) = facts.allow_write {
        list.ops = finish::freeze(list.ops, facts, allowed, look)?;
    }
    finish::hide(&mut list.ops, facts, look);
    Ok(list.ops)
}

/// Where programs that are found first are shown, the original's place.
pub const BINARIES: &str = "/tmp/awf-runner-bin";
/// Where the state of a session is shown, below the home.
const SESSION: &str = ".copilot/session-state";

struct List<'a> {
    facts: &'a Facts<'a>,
    look: &'a dyn Fn(&Path) -> Option<Found>,
    ops: Vec<MountOp>,
}

impl List<'_> {
    fn found(&self, path: &Path) -> Option<Found> {
        (self.look)(path)
    }

    /// Read-only, or the same link as on the host.
    fn system(&mut self, path: &Path) {
        match self.found(path) {
            None => {}
            Some(Found { link: Some(target), .. }) => {
                self.ops.push(MountOp::Symlink { link: path.to_owned(), target });
            }
            Some(_) => self.bind(path, path, Access::ReadOnly),
        }
    }

    /// A bind takes one mount, so those below it are listed, too; but whoever asks for `/` does
    /// not get the host's processes, devices and sockets with it.
    fn bind(&mut self, source: &Path, target: &Path, access: Access) {
        let bind = |source: &Path, target| MountOp::Bind { source: source.into(), target, access };
        self.ops.push(bind(source, target.to_owned()));
        for point in self.facts.mount_points {
            if let Ok(below) = point.strip_prefix(source)
                && below != Path::new("")
                && !lists::LIVE.split_whitespace().any(|dir| point.starts_with(dir))
                && self.found(point).is_some()
            {
                self.ops.push(bind(point, target.join(below)));
            }
        }
    }

    fn scaffold(&mut self) {
        let world = 0o1777;
        self.ops.extend([
            MountOp::Tmpfs { target: "/var/tmp".into(), mode: world, agent: false },
            MountOp::Directory { target: "/run".into() },
            MountOp::Symlink { link: "/var/run".into(), target: "/run".into() },
        ]);
    }

    fn etc(&mut self) {
        for name in lists::ETC.split_whitespace() {
            self.system(&Path::new("/etc").join(name));
        }
        for private in lists::PRIVATE.split_whitespace() {
            self.ops.push(MountOp::Hide { target: private.into() });
        }
        let Facts { uid, gid, told_home: home, .. } = *self.facts;
        let user = |name: &str| format!("{name}:x:{uid}:{gid}::{}:/bin/bash\n", home.display());
        self.accounts("/etc/passwd", (self.facts.passwd, uid), user);
        self.accounts("/etc/group", (self.facts.group, gid), |name| format!("{name}:x:{gid}:\n"));
        let mtab =
            MountOp::Symlink { link: "/etc/mtab".into(), target: "/proc/self/mounts".into() };
        self.ops.push(mtab);
        for (target, content) in [
            ("/etc/hosts", self.facts.hosts.to_owned()),
            ("/etc/resolv.conf", self.facts.resolv_conf.to_owned()),
            ("/etc/hostname", format!("{}\n", self.facts.hostname)),
        ] {
            self.ops.push(MountOp::File { target: target.into(), content });
        }
    }

    /// The host's accounts; with a made-up one if the agent's number has none, because whoami,
    /// ssh, git and node's `os.userInfo()` fail without.
    fn accounts(&mut self, path: &str, of: (&str, u32), line: impl Fn(&str) -> String) {
        let (accounts, id) = of;
        let field = |at| accounts.lines().filter_map(move |line| line.split(':').nth(at));
        if field(2).any(|number| number.parse() == Ok(id)) {
            return self.bind(Path::new(path), Path::new(path), Access::ReadOnly);
        }
        let user = self.facts.user;
        let taken = field(0).any(|name| name == user);
        let name = if taken { format!("{user}-{id}") } else { user.to_owned() };
        let end = if accounts.is_empty() || accounts.ends_with('\n') { "" } else { "\n" };
        let content = format!("{accounts}{end}{}", line(&name));
        self.ops.push(MountOp::File { target: path.into(), content });
    }

    fn home(&mut self) {
        let home = self.facts.home;
        // Who works in the home directory itself, or above it, has asked for all of it.
        if home.starts_with(self.facts.workspace) && self.has_workspace() {
            return;
        }
        let target = home.to_owned();
        self.ops.push(MountOp::Tmpfs { target, mode: 0o700, agent: true });
        for tool in lists::TOOLS.split_whitespace() {
            if tool == ".gemini" && !self.facts.gemini {
                continue;
            }
            let target = home.join(tool);
            if let Some(found) = self.found(&target) {
                self.share_at(&found.real, &target, Access::Own);
            }
        }
    }

    /// Somewhere else than the caller's, it is what the sandbox shows there anyway; else it is empty,
    /// in memory.
    fn told_home(&mut self) -> Result<(), UsageError> {
        let Facts { told_home, home, workspace, custom, .. } = *self.facts;
        let later = custom.iter().any(|mount| told_home.starts_with(&mount.target))
            || (self.has_workspace() && told_home.starts_with(workspace));
        if told_home == home || later {
            return Ok(());
        }
        let shown =
            self.ops.iter().rev().find(|op| op.place().is_some_and(|at| told_home.starts_with(at)));
        let is_there = |(source, target): (&Path, &Path)| {
            let rest = told_home.strip_prefix(target).ok()?;
            (self.look)(&source.join(rest)).filter(|found| found.directory)
        };
        if shown.and_then(MountOp::shown).and_then(is_there).is_some() {
            return Ok(());
        }
        let system =
            lists::NEVER_WORKSPACE.split_whitespace().any(|dir| told_home.starts_with(dir));
        if system || matches!(shown, Some(MountOp::Bind { access: Access::ReadOnly, .. })) {
            let remedy = "name a directory that is there, or one outside of the system's";
            let text = told_home.to_string_lossy();
            let problem = "there is no such directory, and none can be made there";
            return Err(UsageError::value(IDENTITY_HOME, &text, problem, remedy));
        }
        let target = told_home.to_owned();
        self.ops.push(MountOp::Tmpfs { target, mode: 0o700, agent: true });
        Ok(())
    }

    fn has_workspace(&self) -> bool {
        let workspace = self.facts.workspace;
        workspace != Path::new("/")
            && !lists::NEVER_WORKSPACE.split_whitespace().any(|dir| workspace.starts_with(dir))
    }

    fn workspace(&mut self) {
        if self.has_workspace() {
            let workspace = self.facts.workspace;
            self.share_at(workspace, workspace, Access::Own);
            for point in self.facts.mount_points {
                if point.starts_with(workspace) && point != workspace {
                    self.share_at(point, point, Access::Own);
                }
            }
        }
    }

    fn share_at(&mut self, source: &Path, target: &Path, access: Access) {
        if self.is_shared(source, target) {
            return;
        }
        let (source, target) = (source.to_owned(), target.to_owned());
        // An overlay is made of directories.
        let file = self.found(&source).is_some_and(|found| !found.directory);
        self.ops.push(if self.facts.sockets_guarded || file {
            MountOp::Bind { source, target, access }
        } else {
            // A directory of the machine must be shut before it may leak; the user's own must work.
            let fallback = match access {
                Access::Own => Fallback::Direct,
                Access::ReadOnly | Access::ReadWrite => Fallback::Private,
            };
            let sharing = self.sharing(&source, fallback);
            MountOp::Shared { source, target, access, sharing, fallback }
        });
    }

    /// Read-only as an overlay: a plain bind would show the host's sockets.
    fn show_at(&mut self, source: &Path, target: &Path) {
        self.ops.push(MountOp::Shared {
            source: source.to_owned(),
            target: target.to_owned(),
            access: Access::ReadOnly,
            sharing: Sharing::Onto,
            fallback: Fallback::Direct,
        });
    }

    /// A second overlay over a part of a shared tree would only confuse: each has its own inodes.
    fn is_shared(&self, source: &Path, target: &Path) -> bool {
        let below = |a: &Path, b: &Path| Some(a.strip_prefix(b).ok()?.to_owned());
        if self.facts.mount_points.iter().any(|point| point == source) {
            return false;
        }
        self.ops.iter().any(|op| match op {
            MountOp::Bind { source: s, target: t, access: Access::Own }
            | MountOp::Shared {
                source: s,
                target: t,
                access: Access::Own,
                sharing: Sharing::Through { .. } | Sharing::Direct,
                ..
            } => below(source, s).is_some() && below(source, s) == below(target, t),
            _ => false,
        })
    }

    /// Find a work directory in the same mount as `source`, but outside of it.
    fn sharing(&self, source: &Path, fallback: Fallback) -> Sharing {
        let mount_point = mount_of(source, self.facts.mount_points);
        let number = self.ops.len();
        let Facts { scratch, run, .. } = *self.facts;
        let work = if mount_of(scratch, self.facts.mount_points) == mount_point
            && !scratch.starts_with(source)
        {
            scratch.join(format!("work-{number}"))
        } else if mount_point != source {
            mount_point.join(format!(".awf-{run}-work")).join(number.to_string())
        } else if fallback == Fallback::Private {
            return Sharing::Onto;
        } else {
            return Sharing::Direct;
        };
        Sharing::Through { mount_point: mount_point.to_owned(), work }
    }
}

/// The mount that holds `path`.
fn mount_of<'p>(path: &Path, points: &'p [PathBuf]) -> &'p Path {
    let holding = points.iter().filter(|point| path.starts_with(point));
    holding
        .max_by_key(|point| point.components().count())
        .map_or_else(|| Path::new("/"), PathBuf::as_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/bash\nme:x:1000:1000::/home/me:/bin/bash\n";

    impl Facts<'static> {
        /// Those of one user at work, for tests.
        pub(super) fn sample() -> Self {
            Self {
                home: Path::new("/home/me"),
                told_home: Path::new("/home/me"),
                user: "runner",
                workspace: Path::new("/home/me/project"),
                uid: 1000,
                caller_uid: 1000,
                gid: 1000,
                hostname: "agent",
                hosts: "127.0.0.1 localhost\n",
                resolv_conf: "nameserver 192.0.2.1\n",
                passwd: "",
                group: "me:x:1000:\n",
                tool_cache: None,
                binaries: None,
                session: None,
                custom: &[],
                allow_write: None,
                redacted: &[],
                secrets: &[],
                hide: &[],
                scratch: Path::new("/var/lib/awf/run"),
                run: "r1",
                mount_points: &[],
                sockets_guarded: false,
                gemini: false,
            }
        }
    }

    /// Plan for a merged-usr host on which exactly `there` exists besides the system.
    fn plan<'a>(change: impl FnOnce(&mut Facts<'a>), there: &[&str]) -> Vec<MountOp> {
        let points = ["/", "/proc", "/usr/local", "/data"].map(PathBuf::from).to_vec().leak();
        let mut facts = Facts { mount_points: points, passwd: PASSWD, ..Facts::sample() };
        change(&mut facts);
        let there: Vec<&Path> = there.iter().map(Path::new).collect();
        mounts(&facts, &|path| {
            let link = (path == Path::new("/bin")).then(|| PathBuf::from("usr/bin"));
            let exists = there.contains(&path)
                || ["/usr", "/usr/local", "/bin", "/etc/ssl"].iter().any(|p| path == Path::new(p));
            let directory = path.extension().is_none();
            exists.then(|| Found { link, real: path.to_owned(), directory })
        })
        .unwrap()
    }

    fn through(mount_point: &str, work: &str) -> Sharing {
        Sharing::Through { mount_point: mount_point.into(), work: work.into() }
    }

    fn shared<'a>(ops: &'a [MountOp], at: &str) -> Option<(&'a Path, &'a Sharing)> {
        ops.iter().find_map(|op| match op {
            MountOp::Shared { source, target, sharing, .. } if target == Path::new(at) => {
                Some((source.as_path(), sharing))
            }
            _ => None,
        })
    }

    fn hidden(ops: &[MountOp], path: &str) -> bool {
        ops.contains(&MountOp::Hide { target: path.into() })
    }

    #[test]
    fn system_directories_are_read_only_and_links_stay_links() {
        let ops = plan(|_| {}, &[]);
        let bind = |path: &str| MountOp::Bind {
            source: path.into(),
            target: path.into(),
            access: Access::ReadOnly,
        };
        let link = MountOp::Symlink { link: "/bin".into(), target: "usr/bin".into() };
        assert_eq!(ops[..3], [bind("/usr"), bind("/usr/local"), link]);
    }

    #[test]
    fn the_home_is_empty_but_for_tool_directories_that_exist() {
        let ops = plan(|_| {}, &["/home/me/.cargo", "/home/me/.ssh"]);
        let home = MountOp::Tmpfs { target: "/home/me".into(), mode: 0o700, agent: true };
        assert!(ops.contains(&home));
        assert!(shared(&ops, "/home/me/.cargo").is_some());
        assert!(shared(&ops, "/home/me/.npm").is_none());
        assert!(shared(&ops, "/home/me/.ssh").is_none());
    }

    #[test]
    fn credentials_are_covered_only_where_they_exist_and_after_all_other_mounts() {
        let ops = plan(|_| {}, &["/home/me/.cargo", "/home/me/.cargo/credentials.toml"]);
        assert_eq!(
            ops.last(),
            Some(&MountOp::Hide { target: "/home/me/.cargo/credentials.toml".into() })
        );
        assert!(!hidden(&ops, "/home/me/.npmrc"));
    }

    #[test]
    fn a_work_directory_lies_in_the_mount_of_what_is_shared() {
        let ops = plan(|f| f.workspace = Path::new("/data/project"), &[]);
        let (_, tmp) = shared(&ops, "/tmp").unwrap();
        assert_eq!(*tmp, through("/", "/var/lib/awf/run/work-7"));
        let (_, work) = shared(&ops, "/data/project").unwrap();
        let Sharing::Through { mount_point, work } = work else { panic!("{work:?}") };
        assert_eq!(mount_point, Path::new("/data"));
        assert!(work.starts_with("/data/.awf-r1-work"), "{work:?}");
    }

    #[test]
    fn a_shared_directory_that_is_a_mount_of_its_own_has_no_place_for_work() {
        let points = ["/", "/tmp", "/data"].map(PathBuf::from);
        let ops = plan(
            |f| {
                f.mount_points = &points;
                f.workspace = Path::new("/data");
            },
            &[],
        );
        assert_eq!(shared(&ops, "/tmp").unwrap().1, &Sharing::Onto);
        assert_eq!(shared(&ops, "/data").unwrap().1, &Sharing::Direct);
        assert_eq!(ops.iter().filter_map(MountOp::warning).count(), 2);
    }

    #[test]
    fn a_guarded_kernel_needs_no_overlays() {
        let ops = plan(|f| f.sockets_guarded = true, &["/home/me/.cargo"]);
        assert!(!ops.iter().any(|op| matches!(op, MountOp::Shared { .. })));
        assert_eq!(ops.iter().filter_map(MountOp::work_dir).count(), 0);
    }

    #[test]
    fn only_what_belongs_to_the_user_alone_may_change_owners() {
        let ops = plan(|_| {}, &[]);
        for op in ops {
            if let MountOp::Shared { target, access, .. } = op {
                assert_eq!(access == Access::Own, target != Path::new("/tmp"), "{target:?}");
            }
        }
    }

    #[test]
    fn a_system_directory_is_never_a_workspace() {
        for path in ["/", "/etc", "/usr/src", "/proc/1"] {
            let ops = plan(|f| f.workspace = Path::new(path), &[]);
            assert!(shared(&ops, path).is_none(), "{path}");
        }
    }

    #[test]
    fn who_works_in_the_home_sees_it_without_credentials() {
        let ops = plan(|f| f.workspace = Path::new("/home/me"), &["/home/me/.ssh"]);
        assert!(shared(&ops, "/home/me").is_some());
        assert!(hidden(&ops, "/home/me/.ssh"));
        assert!(!ops.iter().any(|op| matches!(op, MountOp::Tmpfs { agent: true, .. })));
    }

    #[test]
    fn an_unknown_user_gets_a_name_that_is_free() {
        let content = |passwd| {
            let ops = plan(|f| f.passwd = passwd, &[]);
            ops.into_iter().find_map(|op| match op {
                MountOp::File { target, content } if target == Path::new("/etc/passwd") => {
                    Some(content)
                }
                _ => None,
            })
        };
        assert_eq!(content(PASSWD), None);
        assert_eq!(
            content("root:x:0:0::/:/bin/sh").unwrap(),
            "root:x:0:0::/:/bin/sh\nrunner:x:1000:1000::/home/me:/bin/bash\n"
        );
        assert!(content("runner:x:5:5::/:/bin/sh\n").unwrap().contains("\nrunner-1000:x:1000:"));
    }

    #[test]
    fn a_writable_file_is_bound_and_the_whole_host_comes_without_its_live_parts() {
        let custom = [("/data/f.txt", Access::ReadWrite), ("/", Access::ReadOnly)].map(
            |(source, access)| Custom { source: source.into(), target: "/host".into(), access },
        );
        let ops = plan(|f| f.custom = &custom, &["/data/f.txt", "/data", "/proc"]);
        let bind = |source: &str, target: &str, access| MountOp::Bind {
            source: source.into(),
            target: target.into(),
            access,
        };
        assert!(ops.contains(&bind("/data/f.txt", "/host", Access::Own)));
        assert!(ops.contains(&bind("/data", "/host/data", Access::ReadOnly)));
        assert!(!ops.contains(&bind("/proc", "/host/proc", Access::ReadOnly)));
    }

    #[test]
    fn directories_of_awf_itself_are_hidden() {
        let own = [PathBuf::from("/tmp/awf-1")];
        assert!(hidden(&plan(|f| f.hide = &own, &[]), "/tmp/awf-1"));
    }

    #[test]
    fn no_secret_of_the_host_is_listed() {
        for name in lists::ETC.split_whitespace() {
            assert!(!["shadow", "gshadow", "machine-id", "sudoers", "ssh"].contains(&name));
        }
    }
}
