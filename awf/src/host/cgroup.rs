//! The cgroup v2 hierarchy.
//!
//! Owns the search for it and for this process's place in it, from procfs and never from habit: it
//! may be at `/sys/fs/cgroup`, beside v1 at `/sys/fs/cgroup/unified`, or anywhere. Takes nothing,
//! gives a [`CgroupMount`]. Must never create a cgroup.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::HostError;

/// A mounted cgroup v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupMount {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The directory of this process's own cgroup, under the mount point.
    pub own: PathBuf,
    /// Where the cgroups of a run go: beside this process's own, so that the limits and programs of
    /// its ancestors hold there too, and their controllers can be used (a cgroup with processes of
    /// its own cannot give controllers to children). The root has nothing beside it.
    pub base: PathBuf,
    /// Controllers that children of `base` may use (`cgroup.subtree_control`). Empty where v1 has
    /// taken them all.
    pub controllers: Vec<String>,
    /// Whether the mount admits changes.
    pub writable: bool,
}

/// Finds the hierarchy; a writable mount is preferred.
pub(super) fn inspect() -> Result<Option<CgroupMount>, HostError> {
    let mountinfo = read("/proc/self/mountinfo")?;
    let membership = read("/proc/self/cgroup")?;
    let mut mounts: Vec<CgroupMount> = candidates(&mountinfo, &membership)
        .into_iter()
        .filter(|mount| is_cgroup2(&mount.own))
        .collect();
    // Later mounts cover earlier ones, hence the last; the sort is stable.
    mounts.sort_by_key(|mount| mount.writable);
    let Some(mut mount) = mounts.pop() else { return Ok(None) };
    let controllers =
        fs::read_to_string(mount.base.join("cgroup.subtree_control")).unwrap_or_default();
    mount.controllers = controllers.split_whitespace().map(str::to_owned).collect();
    Ok(Some(mount))
}

fn read(path: &str) -> Result<String, HostError> {
    fs::read_to_string(path).map_err(|source| HostError::Read { path: path.into(), source })
}

/// Whether a directory exists and really is in a cgroup v2: another mount may cover it.
fn is_cgroup2(path: &Path) -> bool {
    statfs(path).is_ok_and(|facts| facts.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// The mounts of proc(5) mountinfo that show this process's own cgroup.
fn candidates(mountinfo: &str, membership: &str) -> Vec<CgroupMount> {
    // The v2 line is `0::PATH`, cgroups(7).
    let Some(own) = membership.lines().find_map(|line| line.strip_prefix("0::")) else {
        return Vec::new();
    };
    mountinfo.lines().filter_map(|line| candidate(line, Path::new(own))).collect()
}

/// `ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAG...] - TYPE SOURCE SUPER-OPTIONS`
fn candidate(line: &str, own: &Path) -> Option<CgroupMount> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    if after.next()? != "cgroup2" {
        return None;
    }
    let super_options = after.nth(1)?;
    let mut before = before.split(' ').skip(3);
    let root = PathBuf::from(unescape(before.next()?));
    let mount_point = PathBuf::from(unescape(before.next()?));
    let options = before.next()?;
    // A mount that starts at another cgroup does not show ours; `..` means outside the namespace.
    let below = own.strip_prefix(&root).ok()?;
    if below.components().any(|part| part.as_os_str() == "..") {
        return None;
    }
    let read_only = |list: &str| list.split(',').any(|option| option == "ro");
    // Collecting drops the final slash that joining with nothing leaves.
    let own: PathBuf = mount_point.join(below).components().collect();
    Some(CgroupMount {
        base: beside(&own, &mount_point),
        own,
        mount_point,
        controllers: Vec::new(),
        writable: !read_only(options) && !read_only(super_options),
    })
}

fn beside(own: &Path, mount_point: &Path) -> PathBuf {
    match own.parent() {
        Some(parent) if own != mount_point => parent.to_owned(),
        _ => own.to_owned(),
    }
}

/// Undoes the octal escapes of space, tab, newline and backslash in mountinfo.
pub(super) fn unescape(field: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(point: &str, own: &str, writable: bool) -> CgroupMount {
        let controllers = Vec::new();
        let base = beside(Path::new(own), Path::new(point));
        CgroupMount { mount_point: point.into(), own: own.into(), base, controllers, writable }
    }

    #[track_caller]
    fn check(mountinfo: &str, membership: &str, expected: &[CgroupMount]) {
        assert_eq!(candidates(mountinfo, membership), expected);
    }

    #[test]
    fn the_hierarchy_is_found_wherever_it_is_mounted() {
        check(
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
            "0::/user.slice/session-1.scope\n",
            &[mount("/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/session-1.scope", true)],
        );
        check(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
             38 31 0:38 / /sys/fs/cgroup/unified rw shared:1 master:2 - cgroup2 cgroup2 rw\n",
            "4:memory:/job\n0::/\n",
            &[mount("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified", true)],
        );
        check(
            "30 23 0:26 / /my\\040place rw - cgroup2 none rw\n",
            "0::/\n",
            &[mount("/my place", "/my place", true)],
        );
    }

    #[test]
    fn a_bound_subtree_counts_only_if_it_holds_us() {
        let subtree = "30 23 0:26 /docker/ab /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n";
        check(
            subtree,
            "0::/docker/ab/job\n",
            &[mount("/sys/fs/cgroup", "/sys/fs/cgroup/job", false)],
        );
        check(subtree, "0::/docker/other\n", &[]);
        check("30 23 0:26 / /c rw - cgroup2 cgroup rw\n", "0::/../outside\n", &[]);
    }

    #[test]
    fn a_machine_with_v1_alone_has_none() {
        check("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "1:cpu:/\n", &[]);
        check("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "1:cpu:/\n", &[]);
        check("nonsense\n - cgroup2\n", "0::/\n", &[]);
    }
}
