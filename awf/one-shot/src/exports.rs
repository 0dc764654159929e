//! The functions that programs call in place of the C library's.
//!
//! Owns their C side: pointers in, errno out. Each does what its manual page says, with the environment that `exec` allows.
#![expect(unsafe_code, reason = "these are C functions")]

use core::arch::naked_asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ops::ControlFlow;
use core::ptr;

use crate::sys::{self, AT_EMPTY_PATH, AT_FDCWD, At, Strings, errno};
use crate::{exec, image, next, path, tokens};

unsafe extern "C" {
    static environ: Strings;
    fn __errno_location() -> *mut c_int;
}

/// The list is read before the program can drop it: `env -u` removes variables before it calls anything here.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    tokens::begin();
}

/// What a failed function returns.
fn fail(reason: i32) -> c_int {
    // SAFETY: no arguments.
    let place = unsafe { __errno_location() };
    // SAFETY: the calling thread's errno.
    unsafe { place.write(reason) };
    -1
}

fn own_environment() -> Strings {
    // SAFETY: a pointer-sized variable of the C library's.
    unsafe { environ }
}

/// A string that may be missing.
///
/// # Safety
/// Null, or a string that outlives what is done with it.
unsafe fn text<'t>(text: *const c_char) -> Option<&'t CStr> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    Some(unsafe { CStr::from_ptr(text) })
}

/// getenv(3)
///
/// # Safety
/// As its manual page says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getenv(name: *const c_char) -> *const c_char {
    // SAFETY: as the caller says.
    unsafe { text(name) }.map_or(ptr::null(), tokens::get)
}

/// `secure_getenv(3)`. Where it would refuse, the loader ignores `LD_PRELOAD`, so that this is not it.
///
/// # Safety
/// As its manual page says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn secure_getenv(name: *const c_char) -> *const c_char {
    // SAFETY: as the caller says.
    unsafe { getenv(name) }
}

/// execve(2)
///
/// # Safety
/// As its manual page says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn execve(file: *const c_char, argv: Strings, envp: Strings) -> c_int {
    // SAFETY: as the caller says.
    fail(unsafe { attempt(file, argv, envp) })
}

/// execv(3)
///
/// # Safety
/// As its manual page says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn execv(file: *const c_char, argv: Strings) -> c_int {
    // SAFETY: as the caller says.
    unsafe { execve(file, argv, own_environment()) }
}

/// execvp(3)
///
/// # Safety
/// As its manual page says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn execvp(name: *const c_char, argv: Strings) -> c_int {
    // SAFETY: as the caller says.
    unsafe { execvpe(name, argv, own_environment()) }
}

/// execvpe(3)
///
/// # Safety
/// As its manual page says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn execvpe(
    name: *const c_char,
    argv: Strings,
    envp: Strings,
) -> c_int {
    // SAFETY: as the caller says.
    let Some(name) = (unsafe { text(name) }) else { return fail(errno::ENOENT) };
    // SAFETY: a variable's value.
    let path = unsafe { text(path::own()) };
    let searched = path::search(name, path, |candidate| {
        // SAFETY: as the caller says.
        let mut reason = unsafe { attempt(candidate.as_ptr(), argv, envp) };
        if reason == errno::ENOEXEC {
            // SAFETY: as the caller says.
            reason = unsafe { by_shell(candidate, argv, envp) };
        }
        if path::goes_on(reason) {
            ControlFlow::Continue(reason)
        } else {
            ControlFlow::Break(reason)
        }
    });
    fail(searched.unwrap_or_else(|reason| reason))
}

/// Executes a file; comes back with an errno.
///
/// # Safety
/// As execve(2).
unsafe fn attempt(file: *const c_char, argv: Strings, envp: Strings) -> i32 {
    // SAFETY: as the caller says.
    let name = unsafe { text(file) };
    let is_dynamic = || name.is_some_and(|name| image::is_dynamic(AT_FDCWD, name));
    // SAFETY: as the caller says.
    let run = |envp| unsafe { sys::execve(file, argv, envp) };
    // SAFETY: as the caller says.
    unsafe { exec::guarded(envp, is_dynamic, run) }.unwrap_or_else(|reason| reason)
}

/// A file without `#!` is a script of the shell's (execvp(3)).
///
/// # Safety
/// As execve(2).
unsafe fn by_shell(script: &CStr, argv: Strings, envp: Strings) -> i32 {
    /// As many arguments as such a script gets; the stack may be a small one.
    const ARGUMENTS: usize = 1024;
    let mut arguments = [ptr::null::<c_char>(); ARGUMENTS];
    let shell = c"/bin/sh";
    let mut place = argv;
    let mut count = 2;
    let next = |place: Strings| {
        if place.is_null() {
            return ptr::null();
        }
        // SAFETY: an array that ends with null; its first string, which is passed over, may be missing.
        unsafe { *place }
    };
    if !next(place).is_null() {
        place = place.wrapping_add(1);
        while !next(place).is_null() {
            let Some(argument) = arguments.get_mut(count).filter(|_| count < ARGUMENTS - 1) else {
                return errno::E2BIG;
            };
            *argument = next(place);
            place = place.wrapping_add(1);
            count += 1;
        }
    }
    arguments[0] = shell.as_ptr();
    arguments[1] = script.as_ptr();
    // SAFETY: as the caller says, and the arguments end with null.
    unsafe { attempt(shell.as_ptr(), arguments.as_ptr(), envp) }
}

/// fexecve(3)
///
/// # Safety
/// As its manual page says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fexecve(fd: c_int, argv: Strings, envp: Strings) -> c_int {
    let at = At { fd, path: c"".as_ptr(), flags: AT_EMPTY_PATH };
    // SAFETY: as the caller says.
    let run = |envp| unsafe { sys::execveat(at, argv, envp) };
    // SAFETY: as the caller says.
    let done = unsafe { exec::guarded(envp, || image::is_dynamic_file(fd), run) };
    fail(done.unwrap_or_else(|reason| reason))
}

/// execveat(2)
///
/// # Safety
/// As its manual page says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn execveat(
    fd: c_int,
    file: *const c_char,
    argv: Strings,
    envp: Strings,
    flags: c_int,
) -> c_int {
    // SAFETY: as the caller says.
    let name = unsafe { text(file) };
    let is_dynamic = || match name {
        Some(name) if name.is_empty() => image::is_dynamic_file(fd),
        Some(name) => image::is_dynamic(fd, name),
        None => false,
    };
    // SAFETY: as the caller says.
    let run = |envp| unsafe { sys::execveat(At { fd, path: file, flags }, argv, envp) };
    // SAFETY: as the caller says.
    let done = unsafe { exec::guarded(envp, is_dynamic, run) };
    fail(done.unwrap_or_else(|reason| reason))
}

/// `posix_spawn(3)`'s arguments, of which two are the C library's own business.
type Spawn = unsafe extern "C" fn(
    *mut c_int,
    *const c_char,
    *const c_void,
    *const c_void,
    Strings,
    Strings,
) -> c_int;

/// The C library's function of that name.
fn spawner(name: &CStr) -> Option<Spawn> {
    let address = next::function(name);
    if address == 0 {
        return None;
    }
    let pointer = ptr::with_exposed_provenance::<()>(address);
    // SAFETY: both names are of functions with these arguments, in every C library.
    Some(unsafe { core::mem::transmute::<*const (), Spawn>(pointer) })
}

/// `posix_spawn(3)`. A relative path is looked up here before the child may change its directory: if it is not found, the
/// child gets no token.
///
/// # Safety
/// As its manual page says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_spawn(
    pid: *mut c_int,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    argv: Strings,
    envp: Strings,
) -> c_int {
    let Some(spawn) = spawner(c"posix_spawn") else { return errno::ENOSYS };
    // SAFETY: as the caller says.
    let name = unsafe { text(file) };
    let is_dynamic = || name.is_some_and(|name| image::is_dynamic(AT_FDCWD, name));
    // SAFETY: as the caller says.
    let run = |envp| unsafe { spawn(pid, file, actions, attributes, argv, envp) };
    // SAFETY: as the caller says.
    unsafe { exec::guarded(envp, is_dynamic, run) }.unwrap_or_else(|reason| reason)
}

/// `posix_spawnp(3)`
///
/// # Safety
/// As its manual page says.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_spawnp(
    pid: *mut c_int,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    argv: Strings,
    envp: Strings,
) -> c_int {
    let Some(spawn) = spawner(c"posix_spawnp") else { return errno::ENOSYS };
    // SAFETY: as the caller says.
    let Some(name) = (unsafe { text(file) }) else { return errno::ENOENT };
    let is_dynamic = || {
        // SAFETY: a variable's value.
        let path = unsafe { text(path::own()) };
        let first = path::search(name, path, |candidate| {
            if sys::is_executable(candidate) {
                ControlFlow::Break(image::is_dynamic(AT_FDCWD, candidate))
            } else {
                ControlFlow::Continue(errno::ENOENT)
            }
        });
        first.unwrap_or(false)
    };
    // SAFETY: as the caller says.
    let run = |envp| unsafe { spawn(pid, file, actions, attributes, argv, envp) };
    // SAFETY: as the caller says.
    unsafe { exec::guarded(envp, is_dynamic, run) }.unwrap_or_else(|reason| reason)
}

/// A function with a variable number of arguments: calls `$then` with the first one, and with an array of the others, which
/// it makes by storing those that came in registers right below those that came on the stack.
macro_rules! variadic {
    ($(#[$doc:meta])* $name:ident => $then:path) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As its manual page says.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() -> c_int {
            #[cfg(target_arch = "x86_64")]
            naked_asm!(
                // The return address makes place, and comes back before `ret`.
                "pop rax",
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "push rax",
                "call {then}",
                "pop rcx",
                "add rsp, 40",
                "push rcx",
                "ret",
                then = sym $then,
            );
            #[cfg(target_arch = "aarch64")]
            naked_asm!(
                "stp x29, x30, [sp, #-80]!",
                "mov x29, sp",
                "str x1, [sp, #24]",
                "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]",
                "stp x6, x7, [sp, #64]",
                "add x1, sp, #24",
                "bl {then}",
                "ldp x29, x30, [sp], #80",
                "ret",
                then = sym $then,
            );
        }
    };
}

variadic! {
    /// execl(3)
    execl => execv
}
variadic! {
    /// execlp(3)
    execlp => execvp
}
variadic! {
    /// execle(3)
    execle => with_environment
}

/// Arguments, null, and behind it the environment.
unsafe extern "C" fn with_environment(file: *const c_char, argv: Strings) -> c_int {
    let mut place = argv;
    loop {
        // SAFETY: up to the null that ends the arguments.
        let argument = unsafe { *place };
        place = place.wrapping_add(1);
        if argument.is_null() {
            break;
        }
    }
    // SAFETY: execle(3): the environment follows the null.
    let envp = unsafe { *place.cast::<Strings>() };
    // SAFETY: as execle(3) says.
    unsafe { execve(file, argv, envp) }
}
