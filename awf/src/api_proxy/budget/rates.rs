//! How many requests, and how many of their bytes, a provider gets in a minute and an hour.
//!
//! Owns the windows, rings of 60 slots like the original's: a second each for a minute, a minute each for an hour. Takes the
//! time from its caller. Must never count what it refuses.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::cli::Rates;
use crate::plan::api_proxy::Provider;

/// Slots of a window.
const SLOTS: u64 = 60;

/// A sliding window.
#[derive(Debug)]
struct Window {
    /// Seconds of a slot.
    width: u64,
    counts: [u64; 60],
    /// The latest slot, counted from the beginning of the run.
    at: u64,
}

/// A rate that is used up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exceeded {
    pub(super) window: &'static str,
    pub(super) limit: u64,
    /// Seconds until there is room again.
    pub(super) wait: u64,
}

impl Window {
    fn new(width: u64) -> Self {
        Self { width, counts: [0; 60], at: 0 }
    }

    /// Forgets what has left the window. A clock that goes back changes nothing.
    fn advance(&mut self, now: u64) {
        let slot = now / self.width;
        let passed = slot.saturating_sub(self.at).min(SLOTS);
        for step in 1..=passed {
            *self.slot(self.at.saturating_add(step)) = 0;
        }
        self.at = self.at.max(slot);
    }

    fn slot(&mut self, slot: u64) -> &mut u64 {
        let index = usize::try_from(slot % SLOTS).unwrap_or(0);
        // The remainder is below the length.
        #[expect(clippy::indexing_slicing, reason = "the index is a remainder of the length")]
        &mut self.counts[index]
    }

    fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn add(&mut self, count: u64) {
        let at = self.at;
        let slot = self.slot(at);
        *slot = slot.saturating_add(count);
    }

    /// Seconds until enough slots have left for one more.
    fn wait(&mut self, now: u64, limit: u64) -> u64 {
        let mut left = self.total();
        for age in (0..SLOTS).rev() {
            let slot = self.at.saturating_sub(age);
            left = left.saturating_sub(if age <= self.at { *self.slot(slot) } else { 0 });
            if left < limit {
                let leaves = slot.saturating_add(SLOTS).saturating_mul(self.width);
                return leaves.saturating_sub(now).max(1);
            }
        }
        SLOTS.saturating_mul(self.width)
    }
}

/// The windows of one provider.
#[derive(Debug)]
struct Windows {
    minute: Window,
    hour: Window,
    bytes: Window,
}

/// The windows of all.
#[derive(Debug)]
pub(super) struct Meter {
    rates: Option<Rates>,
    windows: Mutex<[Windows; Provider::ALL.len()]>,
}

impl Meter {
    pub(super) fn new(rates: Option<Rates>) -> Self {
        let windows =
            || Windows { minute: Window::new(1), hour: Window::new(60), bytes: Window::new(1) };
        Self { rates, windows: Mutex::new(std::array::from_fn(|_index| windows())) }
    }

    /// Counts a request, or says which rate is used up. `now` are seconds since the run began.
    pub(super) fn take(&self, provider: Provider, bytes: u64, now: u64) -> Result<(), Exceeded> {
        let Some(rates) = self.rates else { return Ok(()) };
        let Ok(mut all) = self.windows.lock() else {
            return Err(Exceeded { window: "per_minute", limit: 0, wait: SLOTS });
        };
        let Some(windows) = all.get_mut(place(provider)) else { return Ok(()) };
        for (window, name, limit) in [
            (&mut windows.minute, "per_minute", rates.requests_a_minute),
            (&mut windows.hour, "per_hour", rates.requests_an_hour),
            (&mut windows.bytes, "per_minute_bytes", rates.bytes_a_minute),
        ] {
            window.advance(now);
            if window.total() >= limit {
                return Err(Exceeded { window: name, limit, wait: window.wait(now, limit) });
            }
        }
        windows.minute.add(1);
        windows.hour.add(1);
        windows.bytes.add(bytes);
        drop(all);
        Ok(())
    }

    /// Counts bytes of a request whose length was not told.
    pub(super) fn add_bytes(&self, provider: Provider, bytes: u64) {
        if let Ok(mut all) = self.windows.lock()
            && let Some(windows) = all.get_mut(place(provider))
        {
            windows.bytes.add(bytes);
        }
    }

    /// For `/health`.
    pub(super) fn health(&self, now: u64) -> Value {
        let mut told = serde_json::Map::new();
        let (Some(rates), Ok(mut all)) = (self.rates, self.windows.lock()) else {
            return Value::Object(told);
        };
        for provider in Provider::ALL {
            let Some(windows) = all.get_mut(place(provider)) else { continue };
            let state = |window: &mut Window, limit: u64| {
                window.advance(now);
                let remaining = limit.saturating_sub(window.total());
                json!({ "limit": limit, "remaining": remaining, "reset": window.width * SLOTS })
            };
            let minute = state(&mut windows.minute, rates.requests_a_minute);
            let hour = state(&mut windows.hour, rates.requests_an_hour);
            told.insert(provider.name().to_owned(), json!({ "rpm": minute, "rph": hour }));
        }
        drop(all);
        Value::Object(told)
    }
}

fn place(provider: Provider) -> usize {
    usize::from(provider.port().saturating_sub(Provider::ALL.map(Provider::port)[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { requests_a_minute: 2, requests_an_hour: 3, bytes_a_minute: 100 };

    fn take(meter: &Meter, now: u64) -> Result<(), (&'static str, u64)> {
        meter.take(Provider::OpenAi, 10, now).map_err(|error| (error.window, error.wait))
    }

    #[test]
    fn a_rate_is_used_up_and_comes_back() {
        let meter = Meter::new(Some(RATES));
        assert_eq!([take(&meter, 10), take(&meter, 20)], [Ok(()), Ok(())]);
        assert_eq!(take(&meter, 30), Err(("per_minute", 40)));
        assert_eq!(meter.take(Provider::Anthropic, 0, 30), Ok(()));
        assert_eq!(take(&meter, 69), Err(("per_minute", 1)));
        assert_eq!(take(&meter, 70), Ok(()));
        assert_eq!(take(&meter, 200), Err(("per_hour", 3400)));
        assert_eq!(take(&meter, 3600), Ok(()));
        // A clock that goes back gives nothing back.
        assert_eq!(take(&meter, 100), Ok(()));
        assert_eq!(take(&meter, 100), Err(("per_minute", 3560)));
    }

    #[test]
    fn bytes_count_when_they_are_known() {
        let meter = Meter::new(Some(Rates { requests_a_minute: 9, requests_an_hour: 9, ..RATES }));
        assert_eq!(meter.take(Provider::OpenAi, 99, 0), Ok(()));
        assert_eq!(take(&meter, 1), Ok(()));
        assert_eq!(take(&meter, 2), Err(("per_minute_bytes", 58)));
        let meter = Meter::new(Some(RATES));
        meter.add_bytes(Provider::OpenAi, 100);
        assert_eq!(take(&meter, 2), Err(("per_minute_bytes", 58)));
    }

    #[test]
    fn without_rates_nothing_is_counted() {
        let meter = Meter::new(None);
        assert!((0..10_000).all(|_time| take(&meter, 0).is_ok()));
        assert_eq!(meter.health(0), json!({}));
        let health = Meter::new(Some(RATES)).health(0);
        assert_eq!(health["openai"]["rpm"], json!({"limit": 2, "remaining": 2, "reset": 60}));
    }
}
