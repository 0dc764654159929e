//! What is executed, and with which environment: a token goes only where this library is loaded.
//!
//! Owns that decision. Takes an environment and whether the program is dynamic, gives the environment it gets. Runs in
//! children of vfork(2), so it takes no lock that it could leave behind and keeps everything on the stack.
#![expect(unsafe_code, reason = "environments are C arrays of C strings")]

use core::ffi::{CStr, c_char};
use core::ptr;

use awf_common::one_shot::{LIBRARY, LIST};

use crate::environment::value_of;
use crate::sys::{Strings, errno};
use crate::tokens;

/// Most entries of an environment that has to be changed: 16 KiB of stack, an eighth of what musl gives threads.
const ENTRIES: usize = 2048;
const PRELOAD: &[u8] = b"LD_PRELOAD";

/// What an environment says of this library.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    token: bool,
    list: bool,
    /// Another library is named and this one is not.
    other: bool,
    own: bool,
}

/// Calls `run` with what the program may be given of `envp`; an errno if that cannot be made.
///
/// # Safety
/// `envp` is null or an array of strings that ends with null.
pub(crate) unsafe fn guarded<R>(
    envp: Strings,
    is_dynamic: impl FnOnce() -> bool,
    run: impl FnOnce(Strings) -> R,
) -> Result<R, i32> {
    if tokens::slots().is_empty() {
        return Ok(run(envp));
    }
    // SAFETY: as the caller says.
    let found = unsafe { look(envp) };
    if !found.token {
        return Ok(run(envp));
    }
    let kept = !found.other && is_dynamic();
    if kept && found.own && found.list {
        return Ok(run(envp));
    }
    // SAFETY: as the caller says.
    unsafe { changed(envp, kept, run) }
}

/// Walks an environment.
///
/// # Safety
/// As [`guarded`].
unsafe fn walk(envp: Strings, mut visit: impl FnMut(*const c_char)) {
    let mut place = envp;
    if place.is_null() {
        return;
    }
    loop {
        // SAFETY: in the array, which ends at the null that ends this loop.
        let entry = unsafe { *place };
        if entry.is_null() {
            return;
        }
        visit(entry);
        place = place.wrapping_add(1);
    }
}

/// # Safety
/// As [`guarded`].
unsafe fn look(envp: Strings) -> Found {
    let mut found = Found::default();
    let visit = |entry: *const c_char| {
        found.token |= tokens::is_token(entry);
        found.list |= value_of(entry, LIST.as_bytes()).is_some();
        if let Some(value) = value_of(entry, PRELOAD) {
            // SAFETY: the rest of an entry, which is a string.
            let value = unsafe { CStr::from_ptr(value) }.to_bytes();
            let own = names_own(value);
            found.own |= own;
            found.other |= !own && !value.is_empty();
        }
    };
    // SAFETY: as the caller says.
    unsafe { walk(envp, visit) };
    found
}

/// Whether a value of `LD_PRELOAD` names this library (ld.so(8): colons or blanks between names).
fn names_own(value: &[u8]) -> bool {
    value.split(|byte| matches!(byte, b':' | b' ')).any(|name| name == LIBRARY.as_bytes())
}

/// With the library named where tokens are kept, without tokens where they are not.
///
/// # Safety
/// As [`guarded`].
#[inline(never)]
unsafe fn changed<R>(envp: Strings, kept: bool, run: impl FnOnce(Strings) -> R) -> Result<R, i32> {
    let mut entries = [ptr::null::<c_char>(); ENTRIES];
    let mut count = 0;
    let mut add = |entry: *const c_char| {
        // The last place stays null.
        if let Some(place) = entries.get_mut(count).filter(|_| count < ENTRIES - 1) {
            *place = entry;
        }
        count += 1;
    };
    let mut named = [false; 2];
    let visit = |entry: *const c_char| {
        let preload = value_of(entry, PRELOAD).is_some();
        let list = value_of(entry, LIST.as_bytes()).is_some();
        if tokens::is_token(entry) && !kept || preload && kept && is_empty(entry) {
            return;
        }
        named = [named[0] | preload, named[1] | list];
        add(entry);
    };
    // SAFETY: as the caller says.
    unsafe { walk(envp, visit) };
    if kept && !named[0] {
        add(OWN.as_ptr());
    }
    if kept && !named[1] {
        add(tokens::list_entry());
    }
    if count < ENTRIES { Ok(run(entries.as_ptr())) } else { Err(errno::E2BIG) }
}

/// `LD_PRELOAD` with nothing but this library.
const OWN: &CStr = c"LD_PRELOAD=/run/awf-one-shot.so";
const _: () = assert!(
    OWN.to_bytes().len() == PRELOAD.len() + 1 + LIBRARY.len(),
    "the path is written twice, because constants cannot be joined"
);

fn is_empty(entry: *const c_char) -> bool {
    value_of(entry, PRELOAD).is_some_and(|value| {
        // SAFETY: the rest of an entry, which is a string.
        unsafe { CStr::from_ptr(value) }.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_known_among_others() {
        assert_eq!(OWN.to_str().unwrap(), format!("LD_PRELOAD={LIBRARY}"));
        for value in [LIBRARY.to_owned(), format!("{LIBRARY}:/x.so"), format!("x.so {LIBRARY}")] {
            assert!(names_own(value.as_bytes()), "{value}");
        }
        for value in ["", "/x.so", "/run/awf-one-shot.so.1"] {
            assert!(!names_own(value.as_bytes()), "{value}");
        }
    }
}
