//! The process's environment: the array that programs see, and the block of the initial stack that everybody sees.
//!
//! Owns the only writes to memory that is not this library's. Other threads may read at any time, as they may while any C
//! library changes the environment: entries are loaded and stored atomically, and no string is ever freed.
#![expect(unsafe_code, reason = "environ is a C array of C strings")]

use core::ffi::{CStr, c_char};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::sys::{AT_FDCWD, File};

unsafe extern "C" {
    /// Both C libraries export it; the dynamic loader has set it before any program's code runs.
    static environ: AtomicPtr<AtomicPtr<c_char>>;
}

/// The entries, as they are while they are walked.
pub(crate) fn entries() -> Entries {
    // SAFETY: a pointer-sized variable of the C library's, which lives as long as the process.
    let variable = unsafe { &environ };
    Entries { next: variable.load(Ordering::Acquire) }
}

/// Walks the array up to its end.
#[derive(Debug)]
pub(crate) struct Entries {
    next: *mut AtomicPtr<c_char>,
}

/// One place of the array that holds a string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    place: *mut AtomicPtr<c_char>,
    text: *const c_char,
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let place = self.next;
        let text = load(place)?;
        self.next = place.wrapping_add(1);
        Some(Entry { place, text })
    }
}

/// The string at a place; nothing at the end, or without an array.
fn load(place: *mut AtomicPtr<c_char>) -> Option<*const c_char> {
    // SAFETY: null, or in the array: nobody goes on behind the null that ends it.
    let slot = unsafe { place.as_ref() }?;
    let text = slot.load(Ordering::Acquire);
    (!text.is_null()).then_some(text.cast_const())
}

impl Entry {
    /// The value, if this is the variable of that name.
    pub(crate) fn value_of(self, name: &[u8]) -> Option<*const c_char> {
        value_of(self.text, name)
    }

    /// Takes the entry out: those behind it move up, the end included. Only one thread at a time may do so.
    pub(crate) fn remove(self) {
        let mut place = self.place;
        loop {
            let next = place.wrapping_add(1);
            let text = load(next);
            // SAFETY: `place` holds a string, so it is in the array.
            let slot = unsafe { &*place };
            slot.store(text.unwrap_or(ptr::null()).cast_mut(), Ordering::Release);
            if text.is_none() {
                return;
            }
            place = next;
        }
    }
}

/// The value in an entry like `NAME=value`, if it has that name.
pub(crate) fn value_of(entry: *const c_char, name: &[u8]) -> Option<*const c_char> {
    // SAFETY: entries are strings: that is what an environment is made of, and what every C library takes for granted.
    let text = unsafe { CStr::from_ptr(entry) };
    let rest = text.to_bytes().strip_prefix(name)?;
    rest.starts_with(b"=").then(|| entry.wrapping_add(name.len() + 1))
}

/// Overwrites every entry of that name in the initial block with zeros: `/proc/PID/environ` shows exactly this memory.
/// False if the block cannot be found.
pub(crate) fn scrub(name: &[u8]) -> bool {
    let Some((start, end)) = initial_block() else { return false };
    let block: *mut u8 = ptr::with_exposed_provenance_mut(start);
    let at = |offset: usize| {
        // SAFETY: the block is part of the initial stack, which is mapped and writable as long as the process lives.
        // Volatile, because other threads may read there and nothing of this library ever does again.
        unsafe { block.wrapping_add(offset).read_volatile() }
    };
    let length = end - start;
    let mut begin = 0;
    while begin < length {
        let size = (begin..length).take_while(|offset| at(*offset) != 0).count();
        let named = size > name.len() && at(begin + name.len()) == b'=';
        if named && name.iter().zip(begin..).all(|(byte, offset)| at(offset) == *byte) {
            for offset in begin..begin + size {
                // SAFETY: as above.
                unsafe { block.wrapping_add(offset).write_volatile(0) };
            }
        }
        begin += size + 1;
    }
    true
}

/// Where the kernel put the environment: fields 50 and 51 of `/proc/self/stat` (proc(5)), known to the process itself.
fn initial_block() -> Option<(usize, usize)> {
    let mut buffer = [0; 2048];
    let file = File::open(AT_FDCWD, c"/proc/self/stat").ok()?;
    let (start, end) = fields(file.read_at(&mut buffer, 0).ok()?)?;
    (start != 0 && start < end).then_some((start, end))
}

fn fields(stat: &[u8]) -> Option<(usize, usize)> {
    // The name, which may hold anything, ends at the last bracket; field 3 follows.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat.get(name_end + 2..)?.split(|byte| *byte == b' ').skip(50 - 3);
    let mut next = || core::str::from_utf8(fields.next()?).ok()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_whole_name() {
        let value = |entry: &CStr, name: &[u8]| {
            // SAFETY: behind the name in the string.
            value_of(entry.as_ptr(), name).map(|value| unsafe { CStr::from_ptr(value) }.to_owned())
        };
        assert_eq!(value(c"A=1", b"A").as_deref(), Some(c"1"));
        assert_eq!(value(c"A=", b"A").as_deref(), Some(c""));
        assert_eq!(value(c"AB=1", b"A"), None);
        assert_eq!(value(c"A", b"A"), None);
    }

    #[test]
    fn the_block_is_found_whatever_the_program_is_called() {
        let numbers: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        let stat = format!("1 (a) b) S {}\n", numbers.join(" "));
        assert_eq!(fields(stat.as_bytes()), Some((50, 51)));
        assert_eq!(fields(b"1 (a) S 1 2"), None);
        let (start, end) = initial_block().unwrap();
        let shown = std::fs::read("/proc/self/environ").unwrap();
        assert_eq!(shown.len(), end - start);
    }
}
