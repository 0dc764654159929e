//! Mounts, and what the cgroup tree offers.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::privilege::{at_here, errno_of};
use crate::sys::call;
use crate::{Attempted, Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("mount", |_, _| mount(c"tmpfs")),
    vector("mount-cgroup", |_, _| mount(c"cgroup2")),
    vector("mount-bpffs", |_, _| mount(c"bpf")),
    vector("mount-debugfs", |_, _| mount(c"debugfs")),
    vector("mount-proc", |_, _| mount(c"proc")),
    vector("umount", |_, _| {
        // Wrong flags: whoever may call it at all is told so.
        match call(libc::SYS_umount2, [c"/proc".as_ptr() as usize, 0x8000, 0, 0, 0, 0]) {
            Err(Errno::EINVAL) => Ok(()),
            other => other.map(drop),
        }
    }),
    vector("fsopen", |_, _| {
        call(libc::SYS_fsopen, [c"tmpfs".as_ptr() as usize, 0, 0, 0, 0, 0]).map(drop)
    }),
    vector("open-tree", |_, _| {
        let (here, clone) = (at_here(), 1);
        call(libc::SYS_open_tree, [here, c"/".as_ptr() as usize, clone, 0, 0, 0]).map(drop)
    }),
    vector("cgroup-leave", |_, _| {
        // Into the directory where it is already: nothing changes, but the right shows.
        write_file(&own_cgroup().join("cgroup.procs"), "0")
    }),
    vector("cgroup-mkdir", |_, name| {
        let place = own_cgroup().join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&place).map_err(|error| errno_of(&error))?;
        fs::remove_dir(&place).map_err(|error| errno_of(&error))
    }),
    vector("clone3-cgroup", |_, _| {
        let place = File::open(own_cgroup()).map_err(|error| errno_of(&error))?;
        // struct clone_args, third version: CLONE_INTO_CGROUP, SIGCHLD, and the directory as the eleventh word.
        let mut arguments = [0_u64; 11];
        arguments[0] = 0x2_0000_0000;
        arguments[4] = 17;
        arguments[10] = u64::from(place.as_raw_fd().cast_unsigned());
        if call(libc::SYS_clone3, [arguments.as_mut_ptr() as usize, 88, 0, 0, 0, 0])? == 0 {
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        Ok(())
    }),
    vector("release-agent", |_, _| {
        let table = fs::read_to_string("/proc/self/mountinfo").map_err(|error| errno_of(&error))?;
        let mount = table.lines().find_map(|line| {
            let (fields, kind) = line.split_once(" - ")?;
            kind.starts_with("cgroup ").then(|| fields.split(' ').nth(4))?
        });
        let agent = Path::new(mount.ok_or(Errno::ENOENT)?).join("release_agent");
        File::options().write(true).open(agent).map(drop).map_err(|error| errno_of(&error))
    }),
];

/// Mounts a file system and, where that works, removes it again.
fn mount(kind: &std::ffi::CStr) -> Attempted {
    let (kind, place) = (kind.as_ptr() as usize, c"/mnt".as_ptr() as usize);
    call(libc::SYS_mount, [kind, place, kind, 0, 0, 0])?;
    call(libc::SYS_umount2, [place, 0, 0, 0, 0, 0]).map(drop)
}

pub fn write_file(path: &Path, text: &str) -> Attempted {
    let mut file = File::options().write(true).open(path).map_err(|error| errno_of(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| errno_of(&error))
}

/// The cgroup2 directory this process is in, as far as it sees one.
fn own_cgroup() -> PathBuf {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = table.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| fields.split(' ').nth(4))?
    });
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    PathBuf::from(mount.unwrap_or("/sys/fs/cgroup")).join(own)
}
