//! System calls, made without a C library, whose version and locks are none of ours.
//!
//! Owns the calling convention of both architectures. Gives results as `Result<_, i32>`, the error being an errno.
#![expect(unsafe_code, reason = "system calls")]

use core::arch::asm;
use core::ffi::{CStr, c_char};

/// Numbers: `include/uapi/asm-generic/unistd.h` (arm64), `arch/x86/entry/syscalls/syscall_64.tbl` (x86).
#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const CLOSE: usize = 3;
    pub(super) const EXECVE: usize = 59;
    pub(super) const EXECVEAT: usize = 322;
    pub(super) const EXIT_GROUP: usize = 231;
    pub(super) const FACCESSAT: usize = 269;
    pub(super) const GETPID: usize = 39;
    pub(super) const MMAP: usize = 9;
    pub(super) const OPENAT: usize = 257;
    pub(super) const PREAD64: usize = 17;
    pub(super) const SCHED_YIELD: usize = 24;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const CLOSE: usize = 57;
    pub(super) const EXECVE: usize = 221;
    pub(super) const EXECVEAT: usize = 281;
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const FACCESSAT: usize = 48;
    pub(super) const GETPID: usize = 172;
    pub(super) const MMAP: usize = 222;
    pub(super) const OPENAT: usize = 56;
    pub(super) const PREAD64: usize = 67;
    pub(super) const SCHED_YIELD: usize = 124;
}

/// `EACCES`, `EINVAL` and the like: `include/uapi/asm-generic/errno-base.h` and `errno.h`.
pub(crate) mod errno {
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const E2BIG: i32 = 7;
    pub(crate) const ENOEXEC: i32 = 8;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const ENODEV: i32 = 19;
    pub(crate) const ENOTDIR: i32 = 20;
    pub(crate) const ENAMETOOLONG: i32 = 36;
    pub(crate) const ENOSYS: i32 = 38;
    pub(crate) const ETIMEDOUT: i32 = 110;
    pub(crate) const ESTALE: i32 = 116;
}

/// Paths are relative to the working directory.
pub(crate) const AT_FDCWD: i32 = -100;
/// The descriptor itself is meant, where the path is empty.
pub(crate) const AT_EMPTY_PATH: i32 = 0x1000;

/// A system call.
///
/// # Safety
/// As its manual page says for this number and these arguments.
unsafe fn call(number: usize, arguments: [usize; 6]) -> Result<usize, i32> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel's convention: it changes rax, rcx, r11, and memory only as the call says, which is the caller's duty.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first, in("rsi") second, in("rdx") third,
            in("r10") fourth, in("r8") fifth, in("r9") sixth,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel's convention: it changes x0, and memory only as the call says, which is the caller's duty.
    unsafe {
        asm!(
            "svc 0",
            inlateout("x0") first => result,
            in("x1") second, in("x2") third, in("x3") fourth,
            in("x4") fifth, in("x5") sixth, in("x8") number,
            options(nostack),
        );
    };
    // Errors are -4095..=-1 (syscalls(2)).
    if (-4095..0).contains(&result) {
        Err(i32::try_from(-result).unwrap_or(errno::ENOSYS))
    } else {
        Ok(result.cast_unsigned())
    }
}

/// A descriptor as the kernel takes it: sign-extended.
fn wide(number: i32) -> usize {
    usize::try_from(number)
        .unwrap_or_else(|_| isize::try_from(number).unwrap_or(-1).cast_unsigned())
}

/// An open file.
#[derive(Debug)]
pub(crate) struct File(i32);

impl File {
    /// Opens for reading, without waiting for the other end of a FIFO.
    pub(crate) fn open(directory: i32, path: &CStr) -> Result<Self, i32> {
        // O_NOCTTY, O_NONBLOCK, O_CLOEXEC: the same on both architectures.
        let flags = 0o400 | 0o4000 | 0o2_000_000;
        let arguments = [wide(directory), path.as_ptr().addr(), flags, 0, 0, 0];
        // SAFETY: the path ends with a zero byte and lives during the call.
        let fd = unsafe { call(number::OPENAT, arguments) }?;
        i32::try_from(fd).map(Self).map_err(|_range| errno::ENOSYS)
    }

    /// Reads at an offset until the buffer is full or the file ends; gives what was read.
    pub(crate) fn read_at<'b>(&self, buffer: &'b mut [u8], offset: u64) -> Result<&'b [u8], i32> {
        read_at(self.0, buffer, offset)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own.
        match unsafe { call(number::CLOSE, [wide(self.0), 0, 0, 0, 0, 0]) } {
            // Linux closes it even where it says otherwise (close(2)).
            Ok(_) | Err(_) => {}
        }
    }
}

/// Reads a descriptor that is someone else's, without moving its offset.
pub(crate) fn read_at(fd: i32, buffer: &mut [u8], offset: u64) -> Result<&[u8], i32> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let position = usize::try_from(offset).map_err(|_range| errno::ENOEXEC)?.wrapping_add(done);
        let arguments = [wide(fd), rest.as_mut_ptr().addr(), rest.len(), position, 0, 0];
        // SAFETY: the kernel writes at most `rest.len()` bytes to `rest`, which is borrowed exclusively.
        match unsafe { call(number::PREAD64, arguments) }? {
            0 => break,
            bytes => done += bytes,
        }
    }
    buffer.get(..done).ok_or(errno::ENOEXEC)
}

/// Fresh memory, filled with zeros, never given back.
pub(crate) fn map(length: usize) -> Result<*mut u8, i32> {
    // PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, no descriptor.
    let arguments = [0, length, 3, 0x22, wide(-1), 0];
    // SAFETY: without MAP_FIXED nothing that exists is touched.
    let address = unsafe { call(number::MMAP, arguments) }?;
    Ok(core::ptr::with_exposed_provenance_mut(address))
}

/// Whether the process may execute the file.
pub(crate) fn is_executable(path: &CStr) -> bool {
    let arguments = [wide(AT_FDCWD), path.as_ptr().addr(), 1, 0, 0, 0];
    // SAFETY: the path ends with a zero byte and lives during the call.
    unsafe { call(number::FACCESSAT, arguments) }.is_ok()
}

/// Id of this process.
pub(crate) fn process_id() -> i32 {
    // SAFETY: has no arguments and cannot fail.
    let id = unsafe { call(number::GETPID, [0; 6]) };
    id.ok().and_then(|id| i32::try_from(id).ok()).unwrap_or(-1)
}

/// Lets others run.
pub(crate) fn give_way() {
    // SAFETY: has no arguments.
    match unsafe { call(number::SCHED_YIELD, [0; 6]) } {
        Ok(_) | Err(_) => {}
    }
}

/// Ends the process.
pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: ends the process; nothing is touched.
        match unsafe { call(number::EXIT_GROUP, [wide(code), 0, 0, 0, 0, 0]) } {
            Ok(_) | Err(_) => {}
        }
    }
}

/// Arrays of strings that end with null, as the kernel wants them.
pub(crate) type Strings = *const *const c_char;

/// Becomes another program; comes back with the reason if that fails.
///
/// # Safety
/// `path` is a string, `argv` and `envp` are arrays as [`Strings`] says, or null.
pub(crate) unsafe fn execve(path: *const c_char, argv: Strings, envp: Strings) -> i32 {
    // SAFETY: the caller vouches for the pointers; the kernel only reads them, and fails with EFAULT where it cannot.
    let result = unsafe { call(number::EXECVE, [path.addr(), argv.addr(), envp.addr(), 0, 0, 0]) };
    result.err().unwrap_or(errno::ENOSYS)
}

/// A program to be found from a directory or descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// The directory, or the file itself.
    pub(crate) fd: i32,
    /// Where it is from there.
    pub(crate) path: *const c_char,
    /// Flags of execveat(2).
    pub(crate) flags: i32,
}

/// Becomes another program; comes back with the reason if that fails.
///
/// # Safety
/// As [`execve`].
pub(crate) unsafe fn execveat(at: At, argv: Strings, envp: Strings) -> i32 {
    let arguments = [wide(at.fd), at.path.addr(), argv.addr(), envp.addr(), wide(at.flags), 0];
    // SAFETY: as in `execve`.
    let result = unsafe { call(number::EXECVEAT, arguments) };
    result.err().unwrap_or(errno::ENOSYS)
}
