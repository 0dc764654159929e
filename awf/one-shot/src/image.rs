//! Whether a file that is to be executed loads this library: it must name a dynamic loader.
//!
//! Owns the reading of ELF headers and `#!` lines. Takes something that reads at an offset. What cannot be read or
//! understood, `binfmt_misc`'s formats included, counts as not loading it.

use core::ffi::CStr;

use crate::sys::{self, AT_FDCWD, File};

/// As many interpreters of interpreters as the kernel follows (`exec_binprm()` in `fs/exec.c`).
const INTERPRETERS: usize = 5;
/// As much of a `#!` line as the kernel reads (`BINPRM_BUF_SIZE`).
const LINE: usize = 256;
/// Size of an ELF header and of a program header, both of the 64-bit class.
const HEADER: usize = 64;
const SEGMENT: usize = 56;
/// More program headers than any linker makes.
const SEGMENTS: u16 = 256;
/// The segment that names the dynamic loader.
const PT_INTERP: u32 = 3;
/// `e_machine` of what this library is built for.
const MACHINE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Image<'h> {
    /// Loads what `LD_PRELOAD` names.
    Dynamic,
    /// Executed by this program.
    Script(&'h [u8]),
    /// Nothing that could be guarded.
    Other,
}

/// Whether the file at this path, or what executes it, loads this library.
pub(crate) fn is_dynamic(directory: i32, path: &CStr) -> bool {
    File::open(directory, path)
        .is_ok_and(|file| follow(|buffer, offset| file.read_at(buffer, offset).map(<[u8]>::len)))
}

/// Likewise for an open file.
pub(crate) fn is_dynamic_file(fd: i32) -> bool {
    follow(|buffer, offset| sys::read_at(fd, buffer, offset).map(<[u8]>::len))
}

fn follow(read: impl Fn(&mut [u8], u64) -> Result<usize, i32>) -> bool {
    let (mut head, mut name) = ([0; LINE], [0; LINE + 1]);
    let mut image = identify(&mut head, read);
    for _ in 0..INTERPRETERS {
        let Image::Script(interpreter) = image else { break };
        let Some(place) = name.get_mut(..interpreter.len()) else { return false };
        place.copy_from_slice(interpreter);
        if let Some(end) = name.get_mut(interpreter.len()) {
            *end = 0;
        }
        let Ok(path) = CStr::from_bytes_until_nul(&name) else { return false };
        let Ok(file) = File::open(AT_FDCWD, path) else { return false };
        let read = |buffer: &mut [u8], at| file.read_at(buffer, at).map(<[u8]>::len);
        image = identify(&mut head, read);
    }
    image == Image::Dynamic
}

fn identify(
    head: &mut [u8; LINE],
    read: impl Fn(&mut [u8], u64) -> Result<usize, i32>,
) -> Image<'_> {
    let length = read(head, 0).unwrap_or(0);
    let head = head.get(..length).unwrap_or_default();
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut words = line.split(|byte| matches!(byte, b' ' | b'\t' | 0));
        return words.find(|word| !word.is_empty()).map_or(Image::Other, Image::Script);
    }
    if names_loader(head, read).unwrap_or(false) { Image::Dynamic } else { Image::Other }
}

/// Whether a program of this machine has a segment that names a loader; nothing if it is no such program.
fn names_loader(head: &[u8], read: impl Fn(&mut [u8], u64) -> Result<usize, i32>) -> Option<bool> {
    let header = head.get(..HEADER)?;
    // Magic, 64 bits, little-endian.
    let known = header.starts_with(b"\x7fELF\x02\x01") && half(header, 18)? == MACHINE;
    let (size, number) = (half(header, 54)?, half(header, 56)?);
    if !known || usize::from(size) != SEGMENT || number > SEGMENTS {
        return None;
    }
    let table = u64::from_le_bytes(*header.get(32..)?.first_chunk()?);
    for index in 0..u64::from(number) {
        let mut segment = [0; SEGMENT];
        let offset = table.checked_add(index * u64::from(size))?;
        if read(&mut segment, offset).ok()? != SEGMENT {
            return None;
        }
        if u32::from_le_bytes(*segment.first_chunk()?) == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

fn half(header: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*header.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs;

    use super::*;

    #[track_caller]
    fn check(name: &str, content: &[u8], expected: bool) {
        let path = std::env::temp_dir().join(format!("awf-image-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        let text = CString::new(path.to_str().unwrap()).unwrap();
        let found = is_dynamic(AT_FDCWD, &text);
        fs::remove_file(&path).unwrap();
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn the_shell_is_dynamic_and_what_the_shell_executes_is() {
        assert!(is_dynamic(AT_FDCWD, c"/bin/bash"));
        check("script", b"#!/bin/bash\necho", true);
        check("options", b"#! \t/bin/bash -e\necho", true);
        check("bare", b"#!/bin/bash", true);
    }

    #[test]
    fn what_is_not_understood_is_not_dynamic() {
        assert!(!is_dynamic(AT_FDCWD, c"/nonexistent"));
        assert!(!is_dynamic(AT_FDCWD, c"/"));
        check("empty", b"", false);
        check("text", b"echo", false);
        check("nobody", b"#!/nonexistent\n", false);
        check("nothing", b"#!\n", false);
        check("magic", b"\x7fELF", false);
    }

    #[test]
    fn a_program_without_loader_is_static_and_one_of_another_machine_is_foreign() {
        let shell = fs::read("/bin/bash").unwrap();
        let table = usize::try_from(u64::from_le_bytes(shell[32..40].try_into().unwrap())).unwrap();
        let number = usize::from(u16::from_le_bytes(shell[56..58].try_into().unwrap()));
        let mut without = shell.clone();
        for index in 0..number {
            let kind = &mut without[table + index * SEGMENT..][..4];
            if kind == PT_INTERP.to_le_bytes() {
                kind.fill(0);
            }
        }
        check("static", &without, false);
        let mut foreign = shell.clone();
        foreign[18] = 3;
        check("foreign", &foreign, false);
        check("cut", &shell[..table + 10], false);
    }

    #[test]
    fn scripts_that_execute_each_other_end() {
        let path = std::env::temp_dir().join(format!("awf-image-{}-loop", std::process::id()));
        fs::write(&path, format!("#!{}\n", path.display())).unwrap();
        let text = CString::new(path.to_str().unwrap()).unwrap();
        assert!(!is_dynamic(AT_FDCWD, &text));
        fs::remove_file(&path).unwrap();
    }
}
