//! Who a process is, as far as procfs still tells: best effort, the kernel's own part of the record is exact.

use std::fs;

use awf_common::event::Process;

use super::record::ProcessInfo;

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
        exe: fs::read_link(format!("/proc/{}/exe", process.pid))
            .ok()
            .map(|path| path.to_string_lossy().into_owned()),
    }
}

/// Field 4 of `/proc/pid/stat`; the name before it may hold anything but is closed by the last parenthesis (proc(5)).
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_name, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}
