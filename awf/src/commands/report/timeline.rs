//! Attempts over time: counted in spans of equal length, drawn as bars. Allowed ones rise, refused ones hang.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::fold::{Counts, Kind};
use super::words;
use crate::commands::export::text;
use crate::observe::record::Record;

/// Bars at most. A phone has some 330 pixels for them.
const BARS: i64 = 110;
/// Attempts of one line are spread over so many points at most.
const SPREAD: u64 = 64;
/// Lengths of a span in microseconds; each is a multiple of the one before, so that spans can be joined.
const LENGTHS: [i64; 17] = [
    1_000,
    5_000,
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    3_600_000_000,
    21_600_000_000,
    86_400_000_000,
    864_000_000_000,
];
/// Height of the drawing in its own units, which both directions share as they need it.
const HEIGHT: u64 = 200;
/// Height of the lowest bar, which can still be seen.
const LOWEST: u64 = 4;

/// Attempts by time.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    length: i64,
    spans: BTreeMap<i64, Counts>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { length: 1_000, spans: BTreeMap::new() }
    }
}

impl Timeline {
    /// Takes a line. Repeats are spread evenly between the first and the last.
    pub(super) fn add(&mut self, record: &Record) {
        let Some(from) = text::microseconds(&record.time) else { return };
        let until = record.until.as_deref().and_then(text::microseconds).unwrap_or(from);
        let kind = Kind::of(record);
        let points = record.count.clamp(1, SPREAD);
        let (each, rest) = (record.count / points, record.count % points);
        for point in 0..points {
            let along = i128::from(until.saturating_sub(from).max(0)) * i128::from(point)
                / i128::from(points.max(2) - 1);
            let time = from.saturating_add(i64::try_from(along).unwrap_or(0));
            self.count(time, kind, each + u64::from(point < rest));
        }
    }

    fn count(&mut self, time: i64, kind: Kind, count: u64) {
        self.spans.entry(time.div_euclid(self.length)).or_default().count(kind, count);
        self.fit(time, time);
    }

    /// Joins spans until all between these times, and those that are there, are few enough.
    fn fit(&mut self, from: i64, until: i64) {
        loop {
            let [from, until] = [from, until].map(|time| time.div_euclid(self.length));
            let first = self.spans.first_key_value().map_or(from, |(span, _)| from.min(*span));
            let last = self.spans.last_key_value().map_or(until, |(span, _)| until.max(*span));
            if last.saturating_sub(first) < BARS {
                return;
            }
            let longer = LENGTHS.into_iter().find(|length| *length > self.length);
            let longer = longer.unwrap_or_else(|| self.length.saturating_mul(10));
            let mut joined: BTreeMap<i64, Counts> = BTreeMap::new();
            for (span, counts) in &self.spans {
                let sum = joined.entry((span * self.length).div_euclid(longer)).or_default();
                sum.allowed += counts.allowed;
                sum.audited += counts.audited;
                sum.refused += counts.refused;
                sum.failed += counts.failed;
            }
            (self.length, self.spans) = (longer, joined);
        }
    }

    /// The drawing, for a run between these times.
    pub(super) fn render(mut self, run: Option<(i64, i64)>) -> Markup {
        if let Some((from, until)) = run.filter(|(from, until)| from <= until) {
            self.fit(from, until);
        }
        let ends = self.spans.first_key_value().zip(self.spans.last_key_value());
        let Some(((first, _), (last, _))) = ends else {
            return html! { p.quiet { "Nothing was tried." } };
        };
        let run =
            run.map(|(from, until)| (from.div_euclid(self.length), until.div_euclid(self.length)));
        let first = run.map_or(*first, |(from, _)| from.min(*first));
        let last = run.map_or(*last, |(_, until)| until.max(*last));
        let bars = (last - first + 1).max(8);
        let scale = Scale::of(&self.spans);
        let times = [0, bars / 2, bars].map(|span| (first + span) * self.length);
        let length = words::duration(self.length);
        let most = words::counted(scale.up.max(scale.down), "attempt", "attempts");
        html! {
            figure.timeline {
                svg viewBox={ "0 0 " (bars * 10) " " (HEIGHT) } preserveAspectRatio="none"
                    role="img" aria-label="Bars of attempts over time; the table below has the numbers" {
                    @for (span, counts) in &self.spans { (scale.bar(span - first, counts)) }
                    line.axis x1="0" x2=(bars * 10) y1=(scale.axis()) y2=(scale.axis()) {}
                }
                div.times { @for time in times { span { (words::clock(time)) } } }
                figcaption {
                    span.legend {
                        span.key.allowed { "allowed" }
                        @if self.any(|counts| counts.audited) { span.key.audited { "let through by audit mode" } }
                        span.key.refused { "refused" }
                        span.key.failed { "failed" }
                    }
                    span.quiet { "One bar is " (length) "; the highest is " (most) "." }
                }
                (self.table())
            }
        }
    }

    fn any(&self, of: impl Fn(&Counts) -> u64) -> bool {
        self.spans.values().any(|counts| of(counts) > 0)
    }

    /// The same in numbers, for who cannot see bars.
    fn table(&self) -> Markup {
        html! {
            details {
                summary { "The same as a table" }
                div.scroll tabindex="0" role="region" aria-label="Attempts over time" {
                    table.plain {
                        thead { tr {
                            th scope="col" { "From (UTC)" }
                            th.n scope="col" { "Allowed" }
                            th.n scope="col" { "By audit mode" }
                            th.n scope="col" { "Refused" }
                            th.n scope="col" { "Failed" }
                        } }
                        tbody { @for (span, counts) in &self.spans { tr {
                            th scope="row" { (words::clock(span * self.length)) }
                            @for count in [counts.allowed, counts.audited, counts.refused, counts.failed] {
                                td.n { (words::number(count)) }
                            }
                        } } }
                    }
                }
            }
        }
    }
}

/// The highest bar of each direction.
#[derive(Clone, Copy, Debug)]
struct Scale {
    up: u64,
    down: u64,
}

impl Scale {
    fn of(all: &BTreeMap<i64, Counts>) -> Self {
        all.values().fold(Self { up: 0, down: 0 }, |scale, counts| Self {
            up: scale.up.max(counts.allowed.saturating_add(counts.audited)),
            down: scale.down.max(counts.refused.saturating_add(counts.failed)),
        })
    }

    /// So many attempts as a height; two kinds may stand on one another, each of them [`LOWEST`].
    fn height(self, count: u64) -> u64 {
        if count == 0 {
            return 0;
        }
        let room = u128::from(HEIGHT - 4 * LOWEST);
        let sum = u128::from(self.up) + u128::from(self.down);
        let height = u128::from(count) * room / sum.max(1);
        u64::try_from(height).unwrap_or(HEIGHT).max(LOWEST)
    }

    /// Where bars of both directions begin.
    fn axis(self) -> u64 {
        self.height(self.up) + 2 * LOWEST
    }

    /// The bars of one span.
    fn bar(self, place: i64, counts: &Counts) -> Markup {
        let [allowed, audited, refused, failed] =
            [counts.allowed, counts.audited, counts.refused, counts.failed]
                .map(|count| self.height(count));
        let (x, axis) = (place * 10 + 1, self.axis());
        let bars = [
            ("allowed", axis.saturating_sub(allowed), allowed, counts.allowed),
            ("audited", axis.saturating_sub(allowed + audited), audited, counts.audited),
            ("refused", axis, refused, counts.refused),
            ("failed", axis + refused, failed, counts.failed),
        ];
        html! {
            @for (class, y, height, count) in bars.into_iter().filter(|(_, _, height, _)| *height > 0) {
                rect class=(class) x=(x) y=(y) width="8" height=(height) {
                    title { (words::number(count)) " " (class) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::record::Layer;

    fn at(time: &str, until: Option<&str>, count: u64) -> Record {
        let until = until.map(str::to_owned);
        Record { until, count, ..Record::denied(time.into(), "r".into(), Layer::Kernel) }
    }

    #[test]
    fn however_long_a_run_is_its_bars_are_few_and_count_everything() {
        let mut timeline = Timeline::default();
        timeline.add(&at("2026-11-28T00:00:05Z", None, 1));
        timeline.add(&at("2026-11-28T00:00:00Z", Some("2026-11-28T06:00:00Z"), 1_000));
        timeline.add(&at("1970-01-01T00:00:00Z", None, 1));
        timeline.add(&at("no time", None, 1));
        let first = *timeline.spans.first_key_value().unwrap().0;
        let last = *timeline.spans.last_key_value().unwrap().0;
        assert!(last - first < BARS, "{timeline:?}");
        assert_eq!(timeline.spans.values().map(|counts| counts.refused).sum::<u64>(), 1_002);
    }

    #[test]
    fn repeats_are_spread_between_the_first_and_the_last() {
        let mut timeline = Timeline::default();
        timeline.add(&at("2026-11-28T00:00:00Z", Some("2026-11-28T00:00:00.050Z"), 3));
        let spans: Vec<u64> = timeline.spans.values().map(|counts| counts.refused).collect();
        assert_eq!(spans, [1, 1, 1]);
    }

    #[test]
    fn every_length_is_a_multiple_of_the_one_before() {
        assert!(LENGTHS.windows(2).all(|pair| pair[1] % pair[0] == 0));
    }
}
