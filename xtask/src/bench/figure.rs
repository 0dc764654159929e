//! What was measured, for people and for programs.

use std::fmt;

use serde::{Serialize, Serializer};

/// One measured value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// The same without awf, in the same unit.
    baseline: Option<f64>,
    /// What the baseline is.
    against: Option<&'static str>,
    /// Value by baseline.
    ratio: Option<f64>,
    target: Option<Target>,
    met: Option<bool>,
}

/// What is wanted. Told, never asserted: machines differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// Of the value.
    AtMost(f64),
    /// Of the ratio.
    RatioAtMost(f64),
    /// Of the ratio.
    RatioAtLeast(f64),
}

impl Figure {
    /// A value by itself.
    pub(super) fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self {
            name,
            value,
            unit,
            baseline: None,
            against: None,
            ratio: None,
            target: None,
            met: None,
        }
    }

    /// Adds the baseline.
    #[must_use]
    pub(super) fn beside(self, against: &'static str, baseline: f64) -> Self {
        let ratio = (baseline > 0.0).then(|| self.value / baseline);
        Self { baseline: Some(baseline), against: Some(against), ratio, ..self }
    }

    /// Adds the target. After the baseline.
    #[must_use]
    pub(super) fn aiming(self, target: Target) -> Self {
        let met = match target {
            Target::AtMost(most) => Some(self.value <= most),
            Target::RatioAtMost(most) => self.ratio.map(|ratio| ratio <= most),
            Target::RatioAtLeast(least) => self.ratio.map(|ratio| ratio >= least),
        };
        Self { target: Some(target), met, ..self }
    }

    fn cells(&self) -> [String; 6] {
        let beside = self.baseline.zip(self.against);
        [
            self.name.to_owned(),
            format!("{} {}", short(self.value), self.unit),
            beside.map_or_else(String::new, |(value, what)| format!("{} ({what})", short(value))),
            self.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
            self.target.map_or_else(String::new, |target| target.to_string()),
            self.met.map_or("", |met| if met { "met" } else { "missed" }).to_owned(),
        ]
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::RatioAtMost(most) => write!(f, "<= {most}x"),
            Self::RatioAtLeast(least) => write!(f, ">= {least}x"),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The figures in columns.
pub(super) fn table(figures: &[Figure]) -> String {
    let head = ["figure", "value", "baseline", "ratio", "target", ""].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(figures.iter().map(Figure::cells)).collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// The middle one; the upper of two. 0 for none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median(vec![9.0, 1.0, 5.0]) - 5.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }

    #[test]
    fn targets_are_judged_by_value_or_by_ratio() {
        let figure = || Figure::new("a", 3.0, "ms").beside("b", 2.0);
        assert_eq!(figure().aiming(Target::AtMost(3.0)).met, Some(true));
        assert_eq!(figure().aiming(Target::RatioAtMost(1.15)).met, Some(false));
        assert_eq!(figure().aiming(Target::RatioAtLeast(0.6)).met, Some(true));
        assert_eq!(Figure::new("a", 3.0, "ms").aiming(Target::RatioAtLeast(0.6)).met, None);
    }

    #[test]
    fn a_line_of_json_has_what_was_promised() {
        let figure = Figure::new("a", 3.0, "ms").beside("b", 2.0).aiming(Target::RatioAtMost(1.15));
        let line = serde_json::to_string(&figure).unwrap();
        let expected = r#"{"name":"a","value":3.0,"unit":"ms","baseline":2.0,"against":"b","ratio":1.5,"target":"<= 1.15x","met":false}"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn the_table_is_aligned() {
        let figures = [Figure::new("a", 150.4, "ms"), Figure::new("long", 1.0, "us")];
        let expected =
            "figure  value    baseline  ratio  target\na       150 ms\nlong    1.00 us\n";
        assert_eq!(table(&figures), expected);
    }
}
