//! Rights and system calls that could undo the sandbox. Each affects at most the attempt's own process.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use libc::{CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER};
use nix::errno::Errno;
use nix::unistd::{ForkResult, fork};

use crate::sys::call;
use crate::{Attempted, Vector, vector};

pub const VECTORS: &[Vector] = &[
    vector("unshare-user", |_, _| unshare(CLONE_NEWUSER)),
    vector("unshare-net", |_, _| unshare(CLONE_NEWNET)),
    vector("unshare-mount", |_, _| unshare(CLONE_NEWNS)),
    vector("unshare-cgroup", |_, _| unshare(CLONE_NEWCGROUP)),
    vector("unshare-ipc", |_, _| unshare(CLONE_NEWIPC)),
    vector("clone-user", |_, _| clone(CLONE_NEWUSER)),
    vector("clone-net", |_, _| clone(CLONE_NEWNET)),
    vector("clone-pid", |_, _| clone(CLONE_NEWPID)),
    vector("clone3-user", clone3),
    vector("setns", |_, _| {
        let own = std::fs::File::open("/proc/self/ns/net").map_err(|error| errno_of(&error))?;
        call(libc::SYS_setns, [descriptor(own.as_raw_fd()), 0, 0, 0, 0, 0]).map(drop)
    }),
    vector("mount", |_, _| {
        let what = c"tmpfs".as_ptr() as usize;
        let place = c"/mnt".as_ptr() as usize;
        call(libc::SYS_mount, [what, place, what, 0, 0, 0])?;
        call(libc::SYS_umount2, [place, 0, 0, 0, 0, 0]).map(drop)
    }),
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
    vector("chroot", |_, _| {
        call(libc::SYS_chroot, [c"/".as_ptr() as usize, 0, 0, 0, 0, 0]).map(drop)
    }),
    vector("mknod", |_, name| {
        // Memory of the machine, by number: character device 1, 1.
        let path = std::ffi::CString::new(format!("/tmp/{name}-{}", std::process::id()))
            .expect("no zero byte");
        let address = path.as_ptr() as usize;
        call(libc::SYS_mknodat, [at_here(), address, 0o020_600, 0x101, 0, 0])?;
        call(libc::SYS_unlinkat, [at_here(), address, 0, 0, 0, 0]).map(drop)
    }),
    vector("setuid", |_, _| call(libc::SYS_setresuid, [0; 6]).map(drop)),
    vector("ptrace-me", |_, _| call(libc::SYS_ptrace, [0; 6]).map(drop)),
    vector("ptrace-parent", |_, _| {
        let parent = descriptor(nix::unistd::getppid().as_raw());
        call(libc::SYS_ptrace, [0x4206, parent, 0, 0, 0, 0])?; // PTRACE_SEIZE
        Ok(())
    }),
    vector("vm-read", |_, _| {
        let own = descriptor(nix::unistd::getpid().as_raw());
        call(libc::SYS_process_vm_readv, [own, 0, 0, 0, 0, 0]).map(drop)
    }),
    vector("pidfd-getfd", pidfd_getfd),
    vector("bpf-next", |_, _| {
        let mut attribute = [0_u64; 2];
        match call(libc::SYS_bpf, [11, attribute.as_mut_ptr() as usize, 16, 0, 0, 0]) {
            // There may be no program: that is an answer to somebody who may ask.
            Err(Errno::ENOENT) => Ok(()),
            other => other.map(drop),
        }
    }),
    vector("bpf-map", |_, _| {
        // BPF_MAP_CREATE of an array: type, key size, value size, entries.
        let mut attribute = [2_u32, 4, 4, 1, 0, 0, 0, 0];
        call(libc::SYS_bpf, [0, attribute.as_mut_ptr() as usize, 32, 0, 0, 0]).map(drop)
    }),
    vector("perf", |_, _| {
        // struct perf_event_attr, first version: software event, CPU clock.
        let mut attribute = [0_u64; 8];
        attribute[0] = 64 << 32 | 1;
        let everyone = usize::MAX;
        let address = attribute.as_mut_ptr() as usize;
        call(libc::SYS_perf_event_open, [address, 0, everyone, everyone, 0, 0]).map(drop)
    }),
    vector("keyctl", |_, _| {
        call(libc::SYS_keyctl, [0, (-2_isize).cast_unsigned(), 1, 0, 0, 0]).map(drop)
    }),
    vector("add-key", |_, _| {
        let (kind, name) = (c"user".as_ptr() as usize, c"awf-probe".as_ptr() as usize);
        call(libc::SYS_add_key, [kind, name, name, 1, (-2_isize).cast_unsigned(), 0]).map(drop)
    }),
    vector("request-key", |_, _| {
        // Without call-out information the kernel starts no helper: "no such key" is its answer to those who may ask.
        let (kind, name) =
            (c"dns_resolver".as_ptr() as usize, c"leak.attacker.test".as_ptr() as usize);
        match call(libc::SYS_request_key, [kind, name, 0, 0, 0, 0]) {
            Err(Errno::ENOKEY) => Ok(()),
            other => other.map(drop),
        }
    }),
    vector("io-uring", |_, _| {
        let mut parameters = [0_u64; 15];
        call(libc::SYS_io_uring_setup, [1, parameters.as_mut_ptr() as usize, 0, 0, 0, 0]).map(drop)
    }),
    vector("userfaultfd", |_, _| call(libc::SYS_userfaultfd, [0; 6]).map(drop)),
    vector("file-handle", |_, _| {
        let mut handle = [128_u32; 40];
        let mut mount = 0_i32;
        let (path, out) = (c"/".as_ptr() as usize, handle.as_mut_ptr() as usize);
        call(libc::SYS_name_to_handle_at, [at_here(), path, out, (&raw mut mount) as usize, 0, 0])
            .map(drop)
    }),
    vector("personality", |_, _| {
        // READ_IMPLIES_EXEC.
        call(libc::SYS_personality, [0x0040_0000, 0, 0, 0, 0, 0]).map(drop)
    }),
    vector("reboot", |_, _| {
        // Wrong magic numbers: whoever may call it is told so.
        match call(libc::SYS_reboot, [0; 6]) {
            Err(Errno::EINVAL) => Ok(()),
            other => other.map(drop),
        }
    }),
    vector("init-module", |_, _| match call(libc::SYS_init_module, [0; 6]) {
        Err(Errno::ENOEXEC | Errno::EFAULT) => Ok(()),
        other => other.map(drop),
    }),
    vector("iopl", |_, _| legacy_port_access()),
    vector("call-32", |_, _| call_32()),
    vector("call-x32", |_, _| call(0x4000_0000 + libc::SYS_getpid, [0; 6]).map(drop)),
    vector("call-unknown", |_, _| call(0x3fff_0000, [0; 6]).map(drop)),
];

/// The errno of an I/O error.
pub fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn unshare(flags: i32) -> Attempted {
    call(libc::SYS_unshare, [descriptor(flags), 0, 0, 0, 0, 0]).map(drop)
}

/// clone(2) as fork(2), with a new namespace; the child ends at once.
fn clone(flags: i32) -> Attempted {
    let flags = descriptor(flags | libc::SIGCHLD);
    if call(libc::SYS_clone, [flags, 0, 0, 0, 0, 0])? == 0 {
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) }
    }
    Ok(())
}

fn clone3(_: &crate::target::Target, _: &str) -> Attempted {
    // struct clone_args, first version: flags, then the exit signal as the fifth word.
    let mut arguments = [0_u64; 8];
    arguments[0] = u64::from(CLONE_NEWUSER.cast_unsigned());
    arguments[4] = 17;
    if call(libc::SYS_clone3, [arguments.as_mut_ptr() as usize, 64, 0, 0, 0, 0])? == 0 {
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) }
    }
    Ok(())
}

/// Takes a descriptor out of a child of our own.
fn pidfd_getfd(_: &crate::target::Target, _: &str) -> Attempted {
    let (_reader, writer) = std::io::pipe().map_err(|error| errno_of(&error))?;
    // SAFETY: the attempt's process has no other thread.
    let ForkResult::Parent { child } = (unsafe { fork() })? else {
        // SAFETY: waits for the signal that ends it.
        unsafe { libc::pause() };
        unreachable!("the child is killed");
    };
    let process = call(libc::SYS_pidfd_open, [descriptor(child.as_raw()), 0, 0, 0, 0, 0])?;
    let process = i32::try_from(process).expect("a descriptor");
    // SAFETY: the kernel has just made it for us.
    let process = unsafe { OwnedFd::from_raw_fd(process) };
    let wanted = [descriptor(process.as_raw_fd()), descriptor(writer.as_raw_fd()), 0, 0, 0, 0];
    let taken = call(libc::SYS_pidfd_getfd, wanted);
    nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL)?;
    taken.map(drop)
}

/// `AT_FDCWD` as an argument.
fn at_here() -> usize {
    isize::try_from(libc::AT_FDCWD).expect("fits").cast_unsigned()
}

/// A non-negative number as an argument.
fn descriptor(number: i32) -> usize {
    usize::try_from(number).expect("not negative")
}

#[cfg(target_arch = "x86_64")]
fn legacy_port_access() -> Attempted {
    call(libc::SYS_iopl, [3, 0, 0, 0, 0, 0]).map(drop)
}

#[cfg(not(target_arch = "x86_64"))]
fn legacy_port_access() -> Attempted {
    Err(Errno::EPERM)
}

/// socket(2) by the calling convention of i386, where it has number 359: the filter knows other numbers.
#[cfg(target_arch = "x86_64")]
fn call_32() -> Attempted {
    let mut result: i64 = 359;
    // SAFETY: three numbers go in, one comes out; rbx belongs to the compiler and is put back.
    unsafe {
        std::arch::asm!(
            "xchg {family}, rbx",
            "int 0x80",
            "xchg {family}, rbx",
            family = inout(reg) 2_i64 => _,
            inout("rax") result,
            in("rcx") 1_i64,
            in("rdx") 0_i64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // The kernel gives 32 bits.
    let result = i32::try_from(result << 32 >> 32).expect("32 bits");
    if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn call_32() -> Attempted {
    Err(Errno::ENOSYS)
}
