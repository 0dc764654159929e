//! Single facts of the machine: kernel, programs, directories.
//!
//! Owns one small question each. Takes paths and variables, gives facts. Must never judge them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use super::HostError;
use super::caller::{Caller, Variables};

/// Where distributions put a Squid that is not on an ordinary user's PATH; the last is the default
/// prefix of Squid's own build.
const SQUID_DIRS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/squid/sbin"];

/// The CA bundle of Debian, Fedora, openSUSE and Alpine, in order of likelihood.
const CA_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The directories that hold a distribution's programs and libraries.
const SYSTEM_DIRS: [&str; 8] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32", "/opt"];

/// The running kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// As uname(2) says it, such as `6.1.0-18-amd64`.
    pub release: String,
    /// Major and minor version, (0, 0) if the release does not begin with them.
    pub version: (u32, u32),
}

/// One directory of the distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemDir {
    /// Its path.
    pub path: PathBuf,
    /// What is there.
    pub kind: SystemDirKind,
}

/// What is at the path of a system directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemDirKind {
    /// A directory.
    Directory,
    /// A symbolic link, as on every system with a merged `/usr`, with its text.
    Link(PathBuf),
    /// Nothing, or something else.
    Missing,
}

/// How many files a process may open, soft and hard limit; both as good as endless where the kernel does not tell.
pub(super) fn open_files() -> (u64, u64) {
    getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX))
}

/// The text of `/etc/group`, empty if unreadable.
pub(super) fn groups() -> String {
    String::from_utf8_lossy(&fs::read("/etc/group").unwrap_or_default()).into_owned()
}

/// Every mount point of this process (fifth column of mountinfo, proc(5)).
pub(super) fn mount_points() -> Result<Vec<PathBuf>, HostError> {
    let path = "/proc/self/mountinfo";
    let text =
        fs::read_to_string(path).map_err(|source| HostError::Read { path: path.into(), source })?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.map(|point| PathBuf::from(super::cgroup::unescape(point))).collect())
}

/// Reads the kernel's release.
pub(super) fn kernel() -> Result<Kernel, HostError> {
    let path = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(path)
        .map_err(|source| HostError::Read { path: path.into(), source })?
        .trim()
        .to_owned();
    let version = version(&release);
    Ok(Kernel { release, version })
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    }
}

/// The active security modules, as securityfs lists them. It is not mounted in most containers.
pub(super) fn security_modules() -> Option<Vec<String>> {
    let list = fs::read_to_string("/sys/kernel/security/lsm").ok()?;
    Some(list.trim().split(',').map(str::to_owned).collect())
}

/// The Squid binary.
pub(super) fn squid(search_path: &str) -> Option<PathBuf> {
    find_program("squid", search_path, &SQUID_DIRS)
}

/// Whether there is a /bin/bash.
pub(super) fn bash() -> bool {
    is_executable(Path::new("/bin/bash"))
}

/// The first executable file of that name on `search_path`, then in `more`. Relative directories on
/// the path are skipped: what they hold depends on where awf was called.
pub(super) fn find_program(name: &str, search_path: &str, more: &[&str]) -> Option<PathBuf> {
    let dirs = search_path.split(':').chain(more.iter().copied());
    dirs.filter(|dir| dir.starts_with('/'))
        .map(|dir| Path::new(dir).join(name))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

/// This very program.
pub(super) fn program() -> Result<PathBuf, HostError> {
    let path = "/proc/self/exe";
    fs::read_link(path).map_err(|source| HostError::Read { path: path.into(), source })
}

/// A variable that holds an absolute path.
pub(super) fn absolute_variable(env: &Variables, name: &str) -> Option<PathBuf> {
    env.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Whether the kernel offers overlayfs now.
pub(super) fn overlay() -> bool {
    let text = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    text.lines().any(|line| line.split_whitespace().last() == Some("overlay"))
}

/// How the distribution's directories are laid out.
pub(super) fn system_dirs() -> Vec<SystemDir> {
    SYSTEM_DIRS.iter().map(|path| SystemDir { path: path.into(), kind: kind(path) }).collect()
}

fn kind(path: &str) -> SystemDirKind {
    match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => SystemDirKind::Directory,
        Ok(facts) if facts.is_symlink() => {
            fs::read_link(path).map_or(SystemDirKind::Missing, SystemDirKind::Link)
        }
        _ => SystemDirKind::Missing,
    }
}

/// The lines of the file in which a GitHub runner collects additions to PATH. Entries that are not
/// absolute, or that would split into two, are none.
pub(super) fn path_entries(env: &Variables) -> Vec<String> {
    let text = env.get("GITHUB_PATH").and_then(|path| fs::read_to_string(path).ok());
    let text = text.unwrap_or_default();
    let entries = text.lines().map(str::trim);
    entries.filter(|dir| dir.starts_with('/') && !dir.contains(':')).map(str::to_owned).collect()
}

/// The machine's CA bundle.
pub(super) fn ca_bundle() -> Option<PathBuf> {
    CA_BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// The runner's tool cache. A link does not count: it could lead anywhere.
pub(super) fn tool_cache(caller: &Caller) -> Option<PathBuf> {
    let named = absolute_variable(&caller.env, "RUNNER_TOOL_CACHE");
    let usual = caller.home.join("work/_tool");
    named
        .into_iter()
        .chain([usual])
        .find(|path| fs::symlink_metadata(path).is_ok_and(|facts| facts.is_dir()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_read_from_any_release() {
        let table = [
            ("6.1.0-18-amd64", (6, 1)),
            ("5.15.153.1-microsoft-standard-WSL2", (5, 15)),
            ("6.12-rc3", (6, 12)),
            ("nonsense", (0, 0)),
            ("", (0, 0)),
        ];
        for (release, expected) in table {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn programs_are_found_on_absolute_directories_only() {
        assert_eq!(find_program("sh", "/nowhere:/bin", &[]), Some("/bin/sh".into()));
        assert_eq!(find_program("sh", "", &["/bin"]), Some("/bin/sh".into()));
        assert_eq!(find_program("sh", ".:bin:", &[]), None);
        assert_eq!(find_program("passwd", "/etc", &[]), None, "not executable");
        assert_eq!(find_program("apt", "/etc", &[]), None, "a directory");
    }

    #[test]
    fn relative_variables_are_no_paths() {
        let env = Variables::from([("TMPDIR".to_owned(), "tmp".to_owned())]);
        assert_eq!(absolute_variable(&env, "TMPDIR"), None);
        assert_eq!(absolute_variable(&env, "MISSING"), None);
    }
}
