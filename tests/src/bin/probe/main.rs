//! The probe: tries ways out of a sandbox and says what became of each.
//!
//! `probe fire SALT [VECTOR..]` makes every attempt (or the named ones) in a process of its own, whose task name is the
//! attempt's, and prints one JSON object per line: `name`, `errno` (0: it worked), `signal` (if it was killed), `micros`.
//! `probe list` prints their names. `probe talk` reads a JSON array of dialogues from standard input, holds them all at once
//! and prints one answer per line. `probe outside` and `probe knock` play the accomplice that some attempts need ([`outside`]).
//! `probe variable NAME` is what a static program sees of its environment.
//! The same program runs inside the sandbox and, as positive control, in the lab without awf.
//!
//! Static, so that it runs in any root. Judges nothing: what must happen is in `xtask/src/vectors`.

mod dialogue;
mod families;
mod files;
mod inside;
mod mounts;
mod netlink;
mod options;
mod outside;
mod packets;
mod paths;
mod privilege;
mod sys;
mod talk;
mod target;
mod tcp;
mod udp;
mod uring;

use std::io::{Read as _, Write as _};
use std::os::fd::{FromRawFd as _, IntoRawFd as _};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use target::Target;

/// What an attempt comes to.
type Attempted = Result<(), Errno>;

/// One way out.
struct Vector {
    /// Its name: at most 15 bytes, because the task gets it.
    name: &'static str,
    /// Tries it.
    attempt: fn(&Target, &str) -> Attempted,
}

const fn vector(name: &'static str, attempt: fn(&Target, &str) -> Attempted) -> Vector {
    assert!(name.len() <= 15, "the name of a vector must fit into a task's name");
    Vector { name, attempt }
}

/// Seconds after which an attempt is killed.
const PATIENCE: u32 = 30;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["fire", salt, names @ ..] => {
            let target = target_of(salt);
            for vector in vectors() {
                if names.is_empty() || names.contains(&vector.name) {
                    fire(vector, &target);
                }
            }
        }
        ["list"] => vectors().for_each(|vector| println!("{}", vector.name)),
        ["outside", salt] => outside::accompany(&target_of(salt)),
        ["knock", salt] => outside::knock(&target_of(salt)),
        // What `memfd-exec` becomes.
        ["send", salt, name] => paths::send_as(&target_of(salt), name),
        ["talk"] => talk::all(),
        ["variable", name] => println!("{}", std::env::var(name).as_deref().unwrap_or("none")),
        _ => panic!(
            "usage: probe fire SALT [VECTOR..] | list | talk < DIALOGUES | variable NAME | outside SALT | knock SALT"
        ),
    }
}

fn target_of(salt: &str) -> Target {
    Target::of(salt.parse().expect("the salt is a number below 256"))
}

/// Every attempt.
fn vectors() -> impl Iterator<Item = &'static Vector> {
    let groups = [
        tcp::VECTORS,
        udp::VECTORS,
        paths::VECTORS,
        packets::VECTORS,
        families::VECTORS,
        netlink::VECTORS,
        options::VECTORS,
        uring::VECTORS,
        privilege::VECTORS,
        mounts::VECTORS,
        inside::VECTORS,
        files::VECTORS,
        outside::VECTORS,
    ];
    groups.into_iter().flatten()
}

/// Makes one attempt in a process of its own, which it may not survive.
fn fire(vector: &Vector, target: &Target) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe can be made");
    // SAFETY: the probe has no other thread here.
    let child = match unsafe { fork() }.expect("a process can be made") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(reader);
            let writer = writer.into_raw_fd();
            sys::name_task(vector.name);
            // SAFETY: takes a number.
            unsafe { libc::alarm(PATIENCE) };
            let began = Instant::now();
            let result = (vector.attempt)(target, vector.name);
            let micros = began.elapsed().as_micros();
            let errno = result.err().map_or(0, |errno| errno as i32);
            // SAFETY: the descriptor is the child's own.
            let mut writer = unsafe { std::fs::File::from_raw_fd(writer) };
            write!(writer, "{errno} {micros}").expect("the parent listens");
            // SAFETY: ends the process; the parent flushes its own output.
            unsafe { libc::_exit(0) }
        }
    };
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("the child's word can be read");
    let signal = match waitpid(child, None) {
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(signal.as_str()),
        _ => None,
    };
    let mut words = said.split_whitespace().map(|word| word.parse::<i64>().unwrap_or(-1));
    let (errno, micros) = (words.next().unwrap_or(-1), words.next().unwrap_or(-1));
    let report = serde_json::json!({ "name": vector.name, "errno": errno, "signal": signal, "micros": micros });
    println!("{report}");
}
