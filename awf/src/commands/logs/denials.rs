//! Which refusals of the record are in Squid's log as well.
//!
//! Takes Squid's log, then the record; tells of every refusal on record how often Squid did not log it. The relay shows Squid
//! what the policy denies, but not what it denies for what the client says on an open connection, and under load it shows
//! less: only the log itself tells. Must never: count a refusal of Squid's log twice, or take one for another client's.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};

use super::attempts::Line;
use super::entry::{Entry, Outcome};
use super::processes::{EARLIER_MS, span};
use crate::commands::source::Source;
use crate::observe::record::{Layer, Verdict};

/// Refusals that are remembered: some 64 MiB at the very worst. Those beyond are taken as not logged, because it is better to
/// count a refusal twice than not at all.
const MOST: usize = 1 << 20;
/// How much later than the connection ended Squid may be shown it.
const LATER_MS: i64 = 10_000;

/// Refusals in Squid's log that have not been found in the record yet.
#[derive(Debug, Default)]
pub(super) struct Denials {
    /// Times with their number, by the client's port and the name's hash, whose key the command does not know.
    times: HashMap<(u16, u64), BTreeMap<i64, u32>>,
    hasher: RandomState,
    remembered: usize,
    /// There is no record to compare with.
    idle: bool,
}

impl Denials {
    /// Those of a source; nothing is remembered where there is no record.
    pub(super) fn of(source: &Source) -> Self {
        Self { idle: !source.record().exists(), ..Self::default() }
    }

    /// Learns from a line of Squid's log.
    pub(super) fn learn(&mut self, entry: &Entry<'_>) {
        if self.idle || entry.outcome() != Outcome::Denied || self.remembered >= MOST {
            return;
        }
        let Ok(port) = entry.client_port.parse() else { return };
        self.remembered += 1;
        let key = (port, self.hash(entry.domain()));
        *self.times.entry(key).or_default().entry(entry.time_ms).or_default() += 1;
    }

    /// How many of the attempts of a line were refused without being in Squid's log. The guard judges Squid's own connections,
    /// and a refusal of it is no attempt of the command's.
    pub(super) fn unseen(&mut self, line: &Line<'_>, (verdict, layer): (Verdict, Layer)) -> u64 {
        match (verdict, layer) {
            (Verdict::Allow | Verdict::Error, _) | (_, Layer::Guard) => 0,
            (_, Layer::Kernel | Layer::Lsm | Layer::Name | Layer::Seccomp) => line.count,
            (_, Layer::Relay | Layer::Proxy) => {
                let logged = (0..line.count).take_while(|_number| self.take(line)).count();
                line.count.saturating_sub(u64::try_from(logged).unwrap_or(u64::MAX))
            }
        }
    }

    /// Takes the refusal in Squid's log that belongs to a line, if there is one.
    fn take(&mut self, line: &Line<'_>) -> bool {
        let found = || {
            let key = (line.client_port?, self.hash(&line.name));
            let (begin, end) = span(line)?;
            let range = begin - EARLIER_MS..=end.saturating_add(LATER_MS);
            let (time, _number) = self.times.get(&key)?.range(range).next()?;
            Some((key, *time))
        };
        let Some((key, time)) = found() else { return false };
        if let Some(times) = self.times.get_mut(&key)
            && let Some(number) = times.get_mut(&time)
        {
            *number -= 1;
            if *number == 0 {
                times.remove(&time);
            }
        }
        true
    }

    /// Of a name as both write it: Squid has brackets around addresses, and either may have a dot at the end.
    fn hash(&self, name: &str) -> u64 {
        let bare = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        self.hasher.hash_one(bare.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::super::attempts::{self, Read};
    use super::super::audit_log;
    use super::*;

    fn entry(denials: &mut Denials, second: u32, decision: &str, name: &str) {
        let line = format!(
            "{{\"timestamp\":\"2026-11-28T00:00:{second:02}.004Z\",\"host\":\"{name}:443\",\"method\":\"CONNECT\",\"status\":0,\
             \"decision\":\"{decision}\",\"url\":\"{name}:443\",\"client_port\":40001}}"
        );
        denials.learn(&audit_log::parse(&line).unwrap());
    }

    fn unseen(denials: &mut Denials, second: u32, name: &str, layer: &str) -> u64 {
        let line = format!(
            "{{\"_schema\":\"awf-egress/v1\",\"time\":\"2026-11-28T00:00:{second:02}.000100Z\",\"verdict\":\"deny\",\
             \"layer\":\"{layer}\",\"client_port\":40001,\"name\":\"{name}\",\"duration_ms\":3}}"
        );
        let Read::Attempt(line, verdict, layer) = attempts::parse(line.as_bytes()) else {
            panic!("{line}")
        };
        denials.unseen(&line, (verdict, layer))
    }

    #[test]
    fn a_refusal_that_squid_logged_is_seen_once_and_by_its_port_name_and_time() {
        let mut denials = Denials::default();
        entry(&mut denials, 1, "TCP_DENIED", "evil.example");
        assert_eq!(unseen(&mut denials, 1, "other.example", "relay"), 1);
        assert_eq!(unseen(&mut denials, 30, "evil.example", "relay"), 1);
        assert_eq!(unseen(&mut denials, 1, "Evil.example.", "relay"), 0);
        assert_eq!(unseen(&mut denials, 1, "evil.example", "relay"), 1, "there is but one");
        assert_eq!(unseen(&mut denials, 1, "evil.example", "kernel"), 1);
        assert_eq!(unseen(&mut denials, 1, "evil.example", "guard"), 0);
    }

    #[test]
    fn a_tunnel_that_squid_opened_and_the_relay_refused_then_is_not_seen() {
        let mut denials = Denials::default();
        entry(&mut denials, 1, "TCP_TUNNEL", "allowed.example");
        assert_eq!(unseen(&mut denials, 1, "allowed.example", "relay"), 1);
        assert_eq!(unseen(&mut denials, 1, "allowed.example", "proxy"), 1);
    }
}
