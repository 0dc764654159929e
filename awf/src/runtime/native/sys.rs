//! The system calls of the sandbox that no crate wraps: the only unsafe code of the awf binary.
//!
//! Takes and gives owned descriptors and `io::Result`. Must never decide anything: which mount,
//! which filter, which moment is the caller's business.
//! Sources: Linux uapi headers `linux/mount.h`, `linux/sched.h`, `linux/seccomp.h`; man pages
//! `fsopen(2)`, `move_mount(2)`, `mount_setattr(2)`, `clone(2)`, `seccomp(2)`, `ioctl_tty(2)`.
#![expect(unsafe_code, reason = "system calls without a safe wrapper; see the module text")]

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{ControlMessageOwned, RecvMsg};
use nix::unistd::{ForkResult, Pid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::spec::Window;

/// Descriptor number of the control socket in `awf init`.
pub(super) const CONTROL: RawFd = 3;

// linux/mount.h
const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_CLOEXEC: u32 = 0o2_000_000;
const MOVE_MOUNT_FROM_EMPTY: u32 = 0x4;
const MOVE_MOUNT_TO_EMPTY: u32 = 0x40;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSPICK_CLOEXEC: u32 = 1;
const FSPICK_EMPTY_PATH: u32 = 8;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// Attributes of a mount (`MOUNT_ATTR_*` of linux/mount.h).
pub(super) mod attr {
    pub(in super::super) const RDONLY: u64 = 0x1;
    pub(in super::super) const NOSUID: u64 = 0x2;
    pub(in super::super) const NODEV: u64 = 0x4;
    pub(in super::super) const NOEXEC: u64 = 0x8;
}

/// `struct mount_attr` of linux/mount.h, version 0 (32 bytes).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `struct clone_args` of linux/sched.h, version 2 (88 bytes, the first with `cgroup`).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

fn cstring(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn done(result: c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn new_fd(result: c_long) -> io::Result<OwnedFd> {
    done(result)?;
    let raw = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: every caller passes the result of a system call that returns a new descriptor, and
    // the sign was checked above, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A detached copy of the mount that holds `source`, with `source` as its root.
/// Mounts below `source` are not part of it.
pub(super) fn open_tree(source: &Path) -> io::Result<OwnedFd> {
    let path = cstring(source)?;
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    new_fd(result)
}

/// Attach the detached `mount` on the place that `target` refers to.
pub(super) fn move_mount(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let (from, to) = (mount.as_raw_fd(), target.as_raw_fd());
    let flags = MOVE_MOUNT_FROM_EMPTY | MOVE_MOUNT_TO_EMPTY;
    let empty = c"".as_ptr();
    // SAFETY: both paths are the static empty string, both descriptors are borrowed for the call.
    done(unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, flags) })
}

/// Add attributes to a mount; others stay. With `idmap`, translate owners by that user namespace.
pub(super) fn mount_setattr(
    mount: BorrowedFd<'_>,
    attributes: u64,
    idmap: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let flag = if idmap.is_some() { MOUNT_ATTR_IDMAP } else { 0 };
    let userns = idmap.map_or(Ok(0), |fd| u64::try_from(fd.as_raw_fd()));
    let wish = MountAttr {
        attr_set: attributes | flag,
        attr_clr: 0,
        propagation: 0,
        userns_fd: userns.map_err(io::Error::other)?,
    };
    // SAFETY: `wish` has the layout of `struct mount_attr`, its size is passed, and the path is
    // the static empty string (AT_EMPTY_PATH: the mount is `mount` itself).
    done(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const wish,
            size_of::<MountAttr>(),
        )
    })
}

/// Begin a new instance of a file system type.
pub(super) fn fsopen(kind: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: `kind` is NUL-terminated by its type.
    new_fd(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })
}

fn fsconfig(fs: BorrowedFd<'_>, command: u32, key: *const c_char, value: *const c_char) -> c_long {
    // SAFETY: the callers below pass null where fsconfig(2) wants null for `command`, and
    // otherwise pointers into NUL-terminated strings that they hold over this call.
    unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key, value, 0) }
}

/// Set an option with a value.
pub(super) fn fsconfig_set(fs: BorrowedFd<'_>, key: &CStr, value: &[u8]) -> io::Result<()> {
    let value = CString::new(value)?;
    done(fsconfig(fs, FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr()))
}

/// Set an option that has no value.
pub(super) fn fsconfig_flag(fs: BorrowedFd<'_>, key: &CStr) -> io::Result<()> {
    done(fsconfig(fs, FSCONFIG_SET_FLAG, key.as_ptr(), ptr::null()))
}

/// Create the file system from the options set so far, and give it as a detached mount.
pub(super) fn fsmount(fs: BorrowedFd<'_>, attributes: u64) -> io::Result<OwnedFd> {
    done(fsconfig(fs, FSCONFIG_CMD_CREATE, ptr::null(), ptr::null()))?;
    // SAFETY: fsmount(2) takes no pointers.
    let result =
        unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) };
    new_fd(result)
}

/// Reconfigure the file system of `mount` without changing anything. The kernel then drops every
/// name it has cached for it (`shrink_dcache_sb` in fs/super.c, `reconfigure_super`).
pub(super) fn forget_names(mount: BorrowedFd<'_>) -> io::Result<()> {
    let flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
    // SAFETY: the path is the static empty string; the descriptor is borrowed for the call.
    let picked = unsafe { libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), flags) };
    let fs = new_fd(picked)?;
    let fs = std::os::fd::AsFd::as_fd(&fs);
    done(fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, ptr::null(), ptr::null()))
}

/// A child process that was in its cgroup before its first instruction.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

/// Execute `/proc/self/exe init` in `cgroup`, with `control` as descriptor 3, an empty environment
/// and the order to die with the calling thread.
///
/// `CLONE_INTO_CGROUP` instead of writing to `cgroup.procs`: a move takes a global lock and waits
/// for an RCU grace period (17 ms measured here on 6.18), a birth does not.
pub(super) fn spawn_init(control: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<Spawned> {
    let mut pidfd: c_int = -1;
    let args = CloneArgs {
        flags: CLONE_PIDFD | CLONE_INTO_CGROUP,
        pidfd: ptr::from_mut(&mut pidfd).addr() as u64,
        exit_signal: libc::SIGCHLD.cast_unsigned().into(),
        cgroup: cgroup.as_raw_fd().cast_unsigned().into(),
        ..CloneArgs::default()
    };
    let argv = [c"awf".as_ptr(), c"init".as_ptr(), ptr::null()];
    let control = control.as_raw_fd();
    // SAFETY: `args` is a complete clone_args of the size passed; without CLONE_VM the child runs
    // on a copy of this stack. Until it executes or exits it only calls `become_init`.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    if pid == 0 {
        become_init(control, &argv);
    }
    done(pid)?;
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(Spawned { pid: Pid::from_raw(pid), pidfd: new_fd(pidfd.into())? })
}

/// The child's half of [`spawn_init`]. Other threads' locks are frozen in the copied memory, so
/// this may only make system calls: no allocation, no panic.
fn become_init(control: RawFd, argv: &[*const c_char; 3]) -> ! {
    // SAFETY: prctl(PR_SET_PDEATHSIG) takes an integer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if control == CONTROL {
        // SAFETY: fcntl(F_SETFD) takes an integer; 0 removes FD_CLOEXEC.
        unsafe { libc::fcntl(control, libc::F_SETFD, 0) };
    } else {
        // SAFETY: dup2 takes integers; the copy has no FD_CLOEXEC. Whatever was number 3 in the
        // parent is only closed in this copy of its table.
        unsafe { libc::dup2(control, CONTROL) };
    }
    let environment = [ptr::null()];
    // SAFETY: path and arguments are static NUL-terminated strings, both arrays end with null.
    unsafe { libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    // SAFETY: _exit never returns and runs no handlers of the copied parent.
    unsafe { libc::_exit(127) }
}

/// Let tokio watch a descriptor.
pub(super) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, and `AsyncFd`
    // deregisters it before.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}

/// fork(2), for `awf init`.
pub(super) fn fork() -> io::Result<ForkResult> {
    // SAFETY: `awf init` has one thread from its start on, so the child inherits no lock that
    // nobody will release.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// The control socket that [`spawn_init`] left at descriptor 3; once.
pub(super) fn take_control() -> io::Result<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // SAFETY: fcntl(F_SETFD) takes integers and reports a descriptor that is not open.
    done(unsafe { libc::fcntl(CONTROL, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    // SAFETY: it is open (checked above) and no one else owns it: `awf init` opens nothing before
    // this call, and `TAKEN` refuses a second one.
    Ok(unsafe { OwnedFd::from_raw_fd(CONTROL) })
}

/// The descriptors that came with a message.
pub(super) fn take_rights<S>(message: &mut RecvMsg<'_, '_, S>) -> nix::Result<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    for item in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = item {
            // SAFETY: the kernel has just installed these for us; this function is the only
            // reader of control messages and is called once for each message.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(fds)
}

/// Let execve(2) close every descriptor but the standard streams, whoever forgot to say so.
pub(super) fn close_at_exec() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: with CLOSE_RANGE_CLOEXEC nothing is closed here, so every owner stays right.
    match done(unsafe { libc::close_range(3, u32::MAX, flags) }.into()) {
        // The flag is of 5.11.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => close_each_at_exec(),
        marked => marked,
    }
}

fn close_each_at_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let fd = entry?.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
        // SAFETY: takes numbers, closes nothing. 1 is FD_CLOEXEC.
        done(unsafe { libc::fcntl(fd, libc::F_SETFD, c_int::from(fd > 2)) }.into())?;
    }
    Ok(())
}

/// Make the pseudo-terminal of `master` usable and open its other end.
pub(super) fn open_terminal(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let locked: c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int through the pointer.
    done(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) }.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open(2) flags by value and returns a new descriptor.
    new_fd(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// Make `terminal` the controlling terminal of the calling session leader.
pub(super) fn control_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer; 0 never steals a terminal.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into())
}

/// Tell a terminal its size.
pub(super) fn set_window(terminal: BorrowedFd<'_>, window: Window) -> io::Result<()> {
    let size =
        libc::winsize { ws_row: window.rows, ws_col: window.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize through the pointer.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
}

/// The size of a terminal; `None` if it is none.
pub(super) fn window_of(terminal: BorrowedFd<'_>) -> Option<Window> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize through the pointer.
    let asked = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (asked == 0).then_some(Window { rows: size.ws_row, columns: size.ws_col })
}

/// Install a seccomp filter for this process and everything it starts. Needs `no_new_privs`. Gives
/// the descriptor on which the filter asks.
pub(super) fn install_filter(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `filter` names `length` instructions that outlive the call; the kernel copies and
    // checks them and never writes through the pointer.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            mode,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    done(listener)?;
    let listener = RawFd::try_from(listener).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

nix::ioctl_readwrite!(receive_question, b'!', 0, libc::seccomp_notif);
nix::ioctl_readwrite!(send_answer, b'!', 1, libc::seccomp_notif_resp);

/// Wait for the next call that a filter asks about (`seccomp_unotify(2)`).
pub(super) fn question(listener: BorrowedFd<'_>) -> nix::Result<libc::seccomp_notif> {
    // SAFETY: plain data for which all zero is a value, and which the kernel wants zeroed.
    let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `seccomp_notif` through the pointer.
    unsafe { receive_question(listener.as_raw_fd(), &raw mut question) }?;
    Ok(question)
}

/// Let the call that was asked about fail.
pub(super) fn refuse(listener: BorrowedFd<'_>, question: u64, errno: i32) -> nix::Result<()> {
    let mut answer = libc::seccomp_notif_resp { id: question, val: 0, error: -errno, flags: 0 };
    // SAFETY: the kernel reads one `seccomp_notif_resp` through the pointer.
    unsafe { send_answer(listener.as_raw_fd(), &raw mut answer) }.map(drop)
}

/// Empty the bounding set: of capabilities too that no crate knows yet.
pub(super) fn empty_bounding_set() -> io::Result<()> {
    for capability in 0..64_u64 {
        // SAFETY: PR_CAPBSET_DROP takes a number.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability) };
        match done(result.into()) {
            // Past the kernel's last one.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && capability > 0 => break,
            dropped => dropped?,
        }
    }
    Ok(())
}

/// Give a signal its default action again.
pub(super) fn default_action(signal: Signal) -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_DFL runs no code of ours.
    unsafe { sigaction(signal, &default) }.map(drop)
}
