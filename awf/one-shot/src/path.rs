//! Where programs are looked for: `execvp`'s and `posix_spawnp`'s rules.
//!
//! Owns the walk along PATH. Takes a name, gives one candidate after the other.

use core::ffi::{CStr, c_char};
use core::ops::ControlFlow;

use crate::sys::errno;
use crate::tokens;

/// Longest path, its zero byte included: `PATH_MAX` in `include/uapi/linux/limits.h`.
const LONGEST: usize = 4096;
/// Without PATH: what both C libraries look through.
const STANDARD: &CStr = c"/bin:/usr/bin";

/// Tries the places where a program may lie until `attempt` breaks. Gives what it broke with, else the errno that execvp(3)
/// reports: EACCES if any attempt met it, else that of the last.
pub(crate) fn search<R>(
    name: &CStr,
    path: Option<&CStr>,
    mut attempt: impl FnMut(&CStr) -> ControlFlow<R, i32>,
) -> Result<R, i32> {
    if name.to_bytes().contains(&b'/') || name.is_empty() {
        return match attempt(name) {
            ControlFlow::Break(result) => Ok(result),
            ControlFlow::Continue(reason) => Err(reason),
        };
    }
    let (mut denied, mut last) = (false, errno::ENOENT);
    for directory in path.unwrap_or(STANDARD).to_bytes().split(|byte| *byte == b':') {
        let mut buffer = [0; LONGEST];
        let Some(candidate) = join(&mut buffer, directory, name) else {
            last = errno::ENAMETOOLONG;
            continue;
        };
        match attempt(candidate) {
            ControlFlow::Break(result) => return Ok(result),
            ControlFlow::Continue(errno::EACCES) => denied = true,
            ControlFlow::Continue(reason) => last = reason,
        }
    }
    Err(if denied { errno::EACCES } else { last })
}

/// Whether a search goes on after this errno: nothing usable is there.
pub(crate) fn goes_on(reason: i32) -> bool {
    use errno::{EACCES, ENODEV, ENOENT, ENOTDIR, ESTALE, ETIMEDOUT};
    matches!(reason, EACCES | ENODEV | ENOENT | ENOTDIR | ESTALE | ETIMEDOUT)
}

fn join<'b>(buffer: &'b mut [u8; LONGEST], directory: &[u8], name: &CStr) -> Option<&'b CStr> {
    // An empty entry is the working directory.
    let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    let mut end = 0;
    for part in [directory, slash, name.to_bytes_with_nul()] {
        buffer.get_mut(end..end + part.len())?.copy_from_slice(part);
        end += part.len();
    }
    CStr::from_bytes_until_nul(buffer).ok()
}

/// PATH of this process.
pub(crate) fn own() -> *const c_char {
    tokens::get(c"PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(name: &CStr, path: Option<&CStr>, answer: i32) -> (Vec<String>, Result<(), i32>) {
        let mut places = Vec::new();
        let result = search(name, path, |place| {
            places.push(place.to_str().unwrap().to_owned());
            ControlFlow::Continue(answer)
        });
        (places, result)
    }

    #[test]
    fn names_are_looked_for_and_paths_are_not() {
        let (places, result) = tried(c"x", Some(c"/a::b"), errno::ENOENT);
        assert_eq!((places.join(" "), result), ("/a/x x b/x".to_owned(), Err(errno::ENOENT)));
        assert_eq!(tried(c"./x", Some(c"/a"), errno::ENOENT).0, ["./x"]);
        assert_eq!(tried(c"", Some(c"/a"), errno::ENOENT).0, [""]);
        assert_eq!(tried(c"x", None, errno::EACCES).0, ["/bin/x", "/usr/bin/x"]);
    }

    #[test]
    fn what_may_not_be_executed_is_reported_before_what_is_missing() {
        let mut answers = [errno::EACCES, errno::ENOENT].into_iter();
        let result: Result<(), i32> =
            search(c"x", Some(c"/a:/b"), |_| ControlFlow::Continue(answers.next().unwrap()));
        assert_eq!(result, Err(errno::EACCES));
    }
}
