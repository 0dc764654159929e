//! What the tiers that fire the probe share: its reports, its accomplice, and telling the result.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use xtask::lab::Packet;
use xtask::vectors::{Control, Expected, KILLED};

use crate::{kernel_version, lab};

/// What the probe says of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// 0, the errno, or [`KILLED`].
    pub errno: i32,
    /// How long it took.
    pub micros: u64,
}

/// What the probe printed, by the attempt's name.
pub fn reports(stdout: &str) -> BTreeMap<String, Report> {
    let report = |line: &str| {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let killed = line["signal"] == "SIGSYS";
        assert!(killed || line["signal"].is_null(), "{line}");
        let errno = line["errno"].as_i64().and_then(|errno| i32::try_from(errno).ok());
        let errno = if killed { KILLED } else { errno.expect("an errno") };
        let micros = line["micros"].as_u64().unwrap_or(0);
        (line["name"].as_str().expect("a name").to_owned(), Report { errno, micros })
    };
    stdout.lines().map(report).collect()
}

/// Whether a packet carries these bytes.
pub fn carries(packet: &Packet, bytes: &[u8]) -> bool {
    packet.payload.windows(bytes.len()).any(|part| part == bytes)
}

/// The row of a vector on the running kernel.
pub fn expected(vector: &xtask::vectors::Vector) -> Expected {
    vector.on(kernel_version())
}

/// Why an attempt without awf is no control; nothing if it is one.
///
/// # Errors
/// What it should have done.
pub fn judge_control(
    control: Control,
    errno: Option<i32>,
    arrived: bool,
) -> Result<Option<String>, String> {
    match (control, errno) {
        (Control::Untried(why), _) => Ok(Some(why.to_owned())),
        (Control::Absent, Some(errno)) if errno != 0 => {
            Ok(Some("this kernel has no such thing".to_owned()))
        }
        (Control::MayLack(why), Some(errno)) if errno != 0 => Ok(Some(why.to_owned())),
        (Control::Works | Control::MayLack(_), Some(0)) => Ok(None),
        (Control::Arrives, Some(0)) if arrived => Ok(None),
        (Control::Arrives, Some(0)) => Err("its payload did not arrive without awf".to_owned()),
        (control, errno) => Err(format!("without awf: {errno:?}, not {control:?}")),
    }
}

/// Somebody on the host and somebody on the internet's side, for the attempts that need them; gone when dropped.
#[derive(Debug)]
pub struct Accomplice {
    meet: PathBuf,
    children: Vec<Child>,
}

impl Accomplice {
    /// Starts both for the attempts with this salt.
    pub fn of(probe: &str, salt: u8) -> Self {
        let lab = lab();
        let meet = PathBuf::from(format!("/tmp/awf-probe-{}-{salt}", lab.name()));
        for stale in [meet.clone(), meet.with_extension("sock"), in_run(&meet)] {
            drop(std::fs::remove_file(stale));
        }
        let secret = format!("secret-of-{}", meet.file_name().unwrap_or_default().display());
        let mut outside = lab.host_command(probe);
        outside.args(["outside", &salt.to_string()]);
        outside.env("AWF_PROBE_MEET", &meet).env("AWF_PROBE_SECRET", secret);
        let mut knock = lab.internet_command(probe);
        knock.args(["knock", &salt.to_string()]);
        Self { meet, children: vec![begin(outside), begin(knock)] }
    }

    /// What stands in front of the probe's command line so that it finds them.
    pub fn introduction(&self) -> String {
        format!("AWF_PROBE_MEET={} ", self.meet.display())
    }
}

impl Drop for Accomplice {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.stdin.take());
            drop(child.wait());
        }
    }
}

fn in_run(meet: &Path) -> PathBuf {
    Path::new("/run").join(meet.file_name().unwrap_or_default()).with_extension("sock")
}

fn begin(mut command: Command) -> Child {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the probe starts");
    let mut word = [0; 6];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut word).expect("it says ready");
    assert_eq!(&word, b"ready\n");
    child
}
