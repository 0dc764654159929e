//! The proof: a probe in the agent's own process, in its final confinement, tries the ways out; each must be refused, and
//! each refusal by a program must be seen in the record. Only then does a [`Confined`] exist.
//!
//! [`attempts`] runs inside; this file judges outside. Positive controls (a resolved name, an open door, the denial of a
//! name that no policy allows) show that the probe could speak at all: a probe that fails at everything proves nothing.

pub mod attempts;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use awf_common::decide::Reason;
use awf_common::event::{Hook, Refusal};
use aya::maps::{MapData, RingBuf};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::{Cgroup, EnforceError, Profile};

/// What the probe reports of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the attempt.
    pub attempt: String,
    /// 0 if it succeeded, else the errno.
    pub errno: i32,
}

/// What must become of an attempt.
struct Expected {
    attempt: &'static str,
    /// Errno values that count as refused; 0 is success, for the positive controls.
    errnos: &'static [i32],
    /// The record its refusal must leave.
    record: Option<(Hook, Reason)>,
}

const fn refused(
    attempt: &'static str,
    errnos: &'static [i32],
    hook: Hook,
    reason: Reason,
) -> Expected {
    Expected { attempt, errnos, record: Some((hook, reason)) }
}

const fn closed(attempt: &'static str, errnos: &'static [i32]) -> Expected {
    Expected { attempt, errnos, record: None }
}

// EPERM stands beside each chosen errno for kernels without `bpf_set_retval`.
const EXPECTED: &[Expected] = &[
    refused("tcp4", &[libc::ECONNREFUSED, libc::EPERM], Hook::Connect, Reason::Port),
    refused("tcp6", &[libc::ENETUNREACH, libc::EPERM], Hook::Connect, Reason::Ipv6),
    refused("tcp-mapped", &[libc::ECONNREFUSED, libc::EPERM], Hook::Connect, Reason::Port),
    refused("udp4-connect", &[libc::ECONNREFUSED, libc::EPERM], Hook::Connect, Reason::Udp),
    refused("udp4-send", &[libc::ECONNREFUSED, libc::EPERM], Hook::Send, Reason::Udp),
    refused("udp6-send", &[libc::ENETUNREACH, libc::EPERM], Hook::Send, Reason::Ipv6),
    refused("ping", &[libc::EPROTONOSUPPORT, libc::EPERM], Hook::Create, Reason::SocketType),
    refused("door", &[libc::EPERM], Hook::Connect, Reason::Door),
    refused("bind-door", &[libc::EPERM], Hook::Bind, Reason::Door),
    refused("device", &[libc::EPERM], Hook::SetOption, Reason::SocketOption),
    closed("raw", &[libc::EPERM]),
    closed("packet", &[libc::EPERM, libc::EAFNOSUPPORT]),
    closed("vsock", &[libc::EPERM, libc::EAFNOSUPPORT]),
    closed("io_uring", &[libc::EPERM, libc::ENOSYS]),
    closed("bpf", &[libc::EPERM, libc::ENOSYS]),
    closed("user-namespace", &[libc::EPERM]),
    closed("abstract-socket", &[libc::ECONNREFUSED]),
    closed("name", &[0]),
    closed("open-door", &[0]),
    closed("denied-name", &[0]),
];

/// Made by the first process of the sandbox, before it confines itself: what the LSM programs alone refuse.
const EXPECTED_OF_LSM: &[Expected] =
    &[refused(HANDED_IN, &[libc::EPERM], Hook::LsmReceive, Reason::ForeignSocket)];

/// Name of the attempt to receive a socket from outside.
const HANDED_IN: &str = "handed-in";

/// The report of that attempt, as a line of JSON.
pub fn handed_in(result: Result<(), Errno>) -> String {
    let errno = result.err().map_or(0, |errno| errno as i32);
    serde_json::to_string(&Report { attempt: HANDED_IN.into(), errno }).unwrap_or_default()
}

fn expected(profile: Profile) -> impl Iterator<Item = &'static Expected> {
    let more = if profile == Profile::Full { EXPECTED_OF_LSM } else { &[] };
    EXPECTED.iter().chain(more)
}

/// Evidence that the agent is confined. Only [`judge`] makes it, and only starting the agent uses it up.
#[derive(Debug)]
pub struct Confined {
    _only_here: (),
}

/// Judges the probe's reports and the refusals that were recorded for this cgroup while it ran.
pub fn judge(
    reports: &[Report],
    refusals: &[Refusal],
    cgroup: &Cgroup,
    profile: Profile,
) -> Result<Confined, EnforceError> {
    let told: BTreeMap<&str, i32> =
        reports.iter().map(|report| (report.attempt.as_str(), report.errno)).collect();
    let mut wrong = Vec::new();
    for expected in expected(profile) {
        match told.get(expected.attempt) {
            None => wrong.push(format!("{}: not tried", expected.attempt)),
            Some(errno) if !expected.errnos.contains(errno) => wrong.push(match errno {
                0 => format!("{}: it was let through", expected.attempt),
                errno => {
                    format!("{}: {}", expected.attempt, std::io::Error::from_raw_os_error(*errno))
                }
            }),
            Some(_) => {}
        }
    }
    for (hook, reason) in missing(refusals, cgroup, profile) {
        wrong.push(format!("a refusal ({hook:?}, {reason:?}) is not on record"));
    }
    if wrong.is_empty() {
        Ok(Confined { _only_here: () })
    } else {
        Err(EnforceError::Unproved(wrong.join("; ")))
    }
}

/// Reads the ring until every expected refusal is there or the time is over.
pub fn collect(
    ring: &mut RingBuf<MapData>,
    cgroup: &Cgroup,
    profile: Profile,
    patience: Duration,
) -> Vec<Refusal> {
    let deadline = Instant::now() + patience;
    let mut refusals = Vec::new();
    loop {
        while let Some(item) = ring.next() {
            refusals.extend(Refusal::from_bytes(&item));
        }
        if missing(&refusals, cgroup, profile).is_empty() || Instant::now() > deadline {
            return refusals;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn missing(refusals: &[Refusal], cgroup: &Cgroup, profile: Profile) -> Vec<(Hook, Reason)> {
    let mut missing: Vec<(Hook, Reason)> =
        expected(profile).filter_map(|expected| expected.record).collect();
    for refusal in refusals.iter().filter(|refusal| refusal.cgroup == cgroup.id()) {
        let seen = missing.iter().position(|(hook, reason)| {
            *hook as u8 == refusal.hook && *reason as u8 == refusal.reason
        });
        if let Some(seen) = seen {
            missing.swap_remove(seen);
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that `profile` expects, as it should be.
    fn ideal(profile: Profile, cgroup: &Cgroup) -> (Vec<Report>, Vec<Refusal>) {
        let report = |expected: &Expected| Report {
            attempt: expected.attempt.to_owned(),
            errno: expected.errnos[0],
        };
        let refusal = |(hook, reason): (Hook, Reason)| Refusal {
            ktime_ns: 0,
            cgroup: cgroup.id(),
            process: awf_common::event::Process { pid: 1, ..awf_common::event::Process::NOBODY },
            cookie: 0,
            family: 0,
            port: 0,
            kind: 0,
            protocol: 0,
            address: [0; 4],
            hook: hook as u8,
            reason: reason as u8,
            is_v6: 0,
            from_proxy: 0,
            padding: 0,
        };
        let records = expected(profile).filter_map(|expected| expected.record);
        (expected(profile).map(report).collect(), records.map(refusal).collect())
    }

    #[test]
    fn full_takes_a_refusal_that_only_lsm_programs_make() {
        let path = std::env::temp_dir().join(format!("awf-prove-{}", std::process::id()));
        let cgroup = Cgroup::create(path.clone()).unwrap();
        let (mut reports, mut refusals) = ideal(Profile::Full, &cgroup);
        let judged = |reports: &[Report], refusals: &[Refusal], profile| {
            judge(reports, refusals, &cgroup, profile).err().map(|error| error.to_string())
        };
        assert_eq!(judged(&reports, &refusals, Profile::Full), None);
        refusals.retain(|refusal| refusal.hook != Hook::LsmReceive as u8);
        let error = judged(&reports, &refusals, Profile::Full).unwrap();
        assert!(error.contains("LsmReceive"), "{error}");
        assert_eq!(judged(&reports, &refusals, Profile::Hardened), None);
        for report in reports.iter_mut().filter(|report| report.attempt == HANDED_IN) {
            report.errno = 0;
        }
        let error = judged(&reports, &refusals, Profile::Full).unwrap();
        assert!(error.contains("handed-in: it was let through"), "{error}");
        std::fs::remove_dir(path).unwrap();
    }
}
