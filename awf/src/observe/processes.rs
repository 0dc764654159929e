//! Who a process is, as far as procfs still tells: best effort, the kernel's own part of the record is exact.

use std::fs;

use awf_common::event::Process;

use super::record::ProcessInfo;

/// Describes a process that is stopped in a system call, of which procfs therefore tells the truth.
pub fn describe_stopped(pid: u32) -> ProcessInfo {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let uid = read("status").and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        line.split_whitespace().next()?.parse().ok()
    });
    ProcessInfo {
        pid: Some(pid),
        ppid: parent(pid),
        uid,
        comm: read("comm").map(|comm| comm.trim_end().to_owned()),
        exe: executable(pid),
        ..ProcessInfo::default()
    }
}

/// Describes the process behind an attempt. `exe` and `ppid` are missing if it has ended since.
pub fn describe(process: &Process) -> ProcessInfo {
    if process.pid == 0 {
        return ProcessInfo::default();
    }
    let end = process.comm.iter().position(|byte| *byte == 0).unwrap_or(process.comm.len());
    let comm = String::from_utf8_lossy(process.comm.get(..end).unwrap_or_default()).into_owned();
    ProcessInfo {
        pid: Some(process.pid),
        ppid: parent(process.pid),
        uid: Some(process.uid),
        comm: Some(comm),
        exe: executable(process.pid),
        ..ProcessInfo::default()
    }
}

fn executable(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    // As the command itself sees it: the kernel tells us where its root is staged.
    let path = path.to_string_lossy();
    Some(path.strip_prefix("/host").unwrap_or(&path).to_owned())
}

/// Field 4 of `/proc/pid/stat`; the name before it may hold anything but is closed by the last parenthesis (proc(5)).
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_name, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}
