//! What records lack, run by run: several runs may have left their lines in one file, and each has an end of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::commands::shown::shown;
use crate::observe::summary::Summary;

/// Runs of one file that are told apart.
const RUNS: usize = 1_024;

/// What a file lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// Lines that are none, whosever they were.
    damaged: u64,
    runs: BTreeMap<Arc<str>, RunHealth>,
    /// Lines of runs that are not told apart any more.
    beyond: u64,
}

/// What the record of one run lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct RunHealth {
    /// Faults of the run itself.
    faults: u64,
    end: Option<End>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    lost: u64,
    complete: bool,
}

impl Health {
    /// A line that is none.
    pub(super) const fn damage(&mut self) {
        self.damaged += 1;
    }

    /// A line of a run.
    pub(super) fn begin(&mut self, run: &Arc<str>) {
        let _known = self.run(run);
    }

    /// A fault of the run itself.
    pub(super) fn fault(&mut self, run: &Arc<str>) {
        if let Some(run) = self.run(run) {
            run.faults += 1;
        }
    }

    /// The end of a run.
    pub(super) fn end(&mut self, summary: &Summary) {
        if let Some(run) = self.run(&summary.run) {
            run.end = Some(End { lost: summary.lost.total(), complete: summary.complete });
        }
    }

    fn run(&mut self, run: &Arc<str>) -> Option<&mut RunHealth> {
        if self.runs.len() >= RUNS && !self.runs.contains_key(run) {
            self.beyond += 1;
            return None;
        }
        Some(self.runs.entry(Arc::clone(run)).or_default())
    }

    /// What the user must know.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.damaged > 0 {
            warnings.push(format!("damaged lines: {}", self.damaged));
        }
        if self.runs.is_empty() {
            warnings.extend(RunHealth::default().warnings());
        }
        let several = self.runs.len() > 1;
        for (run, health) in &self.runs {
            let whose = if several { format!("run {}: ", shown(run)) } else { String::new() };
            warnings.extend(health.warnings().iter().map(|text| format!("{whose}{text}")));
        }
        if self.beyond > 0 {
            warnings.push(format!("lines of more runs than can be told apart: {}", self.beyond));
        }
        warnings
    }
}

impl RunHealth {
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.faults > 0 {
            warnings.push(format!("faults of the run itself: {}", self.faults));
        }
        match self.end {
            None => warnings.push("it has no summary: the run goes on, or was killed".to_owned()),
            Some(End { lost: lost @ 1.., .. }) => {
                warnings.push(format!("attempts that were judged but not written down: {lost}"));
            }
            Some(End { complete: false, .. }) => {
                warnings.push("its summary says that it is not complete".to_owned());
            }
            Some(_) => {}
        }
        warnings
    }
}
