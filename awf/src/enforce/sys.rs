//! The raw bpf(2) commands that aya does not offer: a pinnable link for every program type, and freezing a map.
//!
//! Takes borrowed descriptors, gives owned ones. Source: `include/uapi/linux/bpf.h`, `kernel/bpf/syscall.c`.
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const OBJ_PIN: libc::c_long = 6;
const MAP_FREEZE: libc::c_long = 22;
const LINK_CREATE: libc::c_long = 28;

/// The head of `union bpf_attr` for `BPF_LINK_CREATE` (since 5.7).
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}

/// The head of `union bpf_attr` for `BPF_OBJ_PIN` (since 4.4).
#[repr(C)]
struct ObjPin {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Attaches a program to a cgroup by a link. The attachment lives as long as the descriptor or a pin of it.
pub(super) fn create_link(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let attributes = LinkCreate {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_type,
        flags: 0,
    };
    let descriptor = bpf(LINK_CREATE, &attributes)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Pins an object in a bpffs.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = ObjPin {
        pathname: path.as_ptr().expose_provenance() as u64,
        bpf_fd: object.as_raw_fd().cast_unsigned(),
        file_flags: 0,
    };
    bpf(OBJ_PIN, &attributes).map(drop)
}

/// Forbids user space to write a map from now on (since 5.2).
pub(super) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    bpf(MAP_FREEZE, &map.as_raw_fd().cast_unsigned()).map(drop)
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a value that outlives the call and treats the rest of its
    // union as zero; every command used here only reads it. Pointers inside it are to strings of the caller's frame.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
