//! Refusals that are alike: the first is told at once, those that follow are counted and told together.
//!
//! Takes refusals as the kernel gives them, gives each with the number of attempts it stands for. Must never: drop one. Pure.

use std::collections::HashMap;

use awf_common::event::Refusal;

/// How long repeats are counted before they are told, nanoseconds: as long as a reader who follows the record may wait.
const PERIOD_NS: u64 = 1_000_000_000;
/// Different refusals that are watched for repeats at a time.
const WATCHED: usize = 4096;

/// A refusal, and how many attempts it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// The first of them.
    pub refusal: Refusal,
    /// How many.
    pub count: u64,
    /// When the last of them was made.
    pub until_ns: u64,
}

impl Repeated {
    const fn once(refusal: Refusal) -> Self {
        Self { refusal, count: 1, until_ns: refusal.ktime_ns }
    }
}

/// The refusals of the last moments.
#[derive(Debug, Default)]
pub struct Repeats {
    /// By everything but time and socket; `None` since the last time nothing was repeated.
    seen: HashMap<Refusal, Option<Repeated>>,
    told_ns: u64,
}

impl Repeats {
    /// Takes a refusal and gives what is to be told now: this one if it is the first of its kind, and repeats that are due.
    pub fn take(&mut self, refusal: Refusal, tell: &mut impl FnMut(Repeated)) {
        if self.seen.is_empty() {
            self.told_ns = refusal.ktime_ns;
        }
        let kind = Refusal { ktime_ns: 0, cookie: 0, ..refusal };
        match self.seen.get_mut(&kind) {
            Some(Some(repeated)) => {
                repeated.count += 1;
                repeated.until_ns = refusal.ktime_ns;
            }
            Some(nothing) => *nothing = Some(Repeated::once(refusal)),
            None => {
                if self.seen.len() >= WATCHED {
                    self.flush(tell);
                    self.seen.clear();
                }
                self.seen.insert(kind, None);
                tell(Repeated::once(refusal));
            }
        }
        if refusal.ktime_ns.saturating_sub(self.told_ns) >= PERIOD_NS {
            self.told_ns = refusal.ktime_ns;
            self.flush(tell);
        }
    }

    /// Whether something may wait to be told.
    pub fn is_waiting(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Tells what was repeated since the last time, and forgets what was not.
    pub fn flush(&mut self, tell: &mut impl FnMut(Repeated)) {
        self.seen.retain(|_kind, repeated| match repeated.take() {
            Some(repeated) => {
                tell(repeated);
                true
            }
            None => false,
        });
    }
}

#[cfg(test)]
mod tests {
    use awf_common::event::Process;
    use proptest::prelude::*;

    use super::*;

    fn refusal(ktime_ns: u64, port: u16) -> Refusal {
        Refusal {
            ktime_ns,
            cgroup: 1,
            cookie: ktime_ns,
            process: Process::NOBODY,
            family: 2,
            port,
            kind: 2,
            protocol: 17,
            address: [0; 4],
            hook: 3,
            reason: 1,
            is_v6: 0,
            from_proxy: 0,
            padding: 0,
        }
    }

    #[test]
    fn the_first_is_told_at_once_and_repeats_together() {
        let (mut repeats, mut told) = (Repeats::default(), Vec::new());
        for time in [2 * PERIOD_NS, 2 * PERIOD_NS + 1, 2 * PERIOD_NS + 2] {
            repeats.take(refusal(time, 443), &mut |repeated| told.push(repeated));
        }
        assert_eq!(told.len(), 1);
        repeats.flush(&mut |repeated| told.push(repeated));
        assert_eq!((told[1].count, told[1].until_ns), (2, 2 * PERIOD_NS + 2));
        repeats.flush(&mut |repeated| told.push(repeated));
        assert_eq!((told.len(), repeats.is_waiting()), (2, false));
    }

    proptest! {
        #[test]
        fn every_attempt_is_told_exactly_once(ports in prop::collection::vec((0..20_u16, 0..PERIOD_NS), 0..500)) {
            let (mut repeats, mut told, mut now) = (Repeats::default(), 0, 0);
            for (port, pause) in &ports {
                now += pause / 20;
                repeats.take(refusal(now, *port), &mut |repeated| told += repeated.count);
            }
            repeats.flush(&mut |repeated| told += repeated.count);
            prop_assert_eq!(told, ports.len() as u64);
        }
    }
}
