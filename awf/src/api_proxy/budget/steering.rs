//! When a model is told that little is left, and in which words.
//!
//! Owns the thresholds and sentences, which are the original's, and which of them have been said. Each is said once; of
//! several that are passed at once the highest comes first, one for each request.

/// Percent of a budget.
const THRESHOLDS: [u32; 4] = [80, 90, 95, 99];

/// What is running out.
const KINDS: [(&str, &str); 3] = [
    ("TOKEN", "of your effective token budget"),
    ("TOKEN", "of your AI credits budget"),
    ("TIME", "of your run time"),
];

/// What has been said, by what is running out and threshold.
#[derive(Debug, Default)]
pub(super) struct Warnings([[bool; 4]; 3]);

impl Warnings {
    /// The sentence that is due, given the used shares in the order of [`KINDS`].
    pub(super) fn next(&mut self, shares: [Option<f64>; 3]) -> Option<String> {
        for index in (0..THRESHOLDS.len()).rev() {
            for ((said, share), (kind, what)) in self.0.iter_mut().zip(shares).zip(KINDS) {
                let (Some(said), Some(percent)) = (said.get_mut(index), THRESHOLDS.get(index))
                else {
                    continue;
                };
                let passed = share.is_some_and(|share| share * 100.0 >= f64::from(*percent));
                if passed && !*said {
                    *said = true;
                    return Some(sentence(kind, what, *percent));
                }
            }
        }
        None
    }
}

fn sentence(kind: &str, what: &str, percent: u32) -> String {
    let advice = match percent {
        80 => "Begin planning to wrap up your current work.",
        90 => "Complete your current task and prepare final output.",
        95 => "Finalize and submit your work now.",
        _ => "You are about to be cut off. Submit immediately.",
    };
    format!("[AWF {kind} WARNING] You have used {percent}% {what}. {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_threshold_is_said_once_and_the_highest_first() {
        let mut warnings = Warnings::default();
        let mut next = |share| warnings.next([Some(share), None, None]);
        assert_eq!(next(0.79), None);
        assert_eq!(
            next(0.8).unwrap(),
            "[AWF TOKEN WARNING] You have used 80% of your effective token budget. Begin planning to wrap up your \
             current work."
        );
        assert_eq!(next(0.8), None);
        assert!(next(0.96).unwrap().contains("95%"));
        assert!(next(0.96).unwrap().contains("90%"));
        assert_eq!(next(0.96), None);
        assert!(next(1.5).unwrap().contains("99%"));
        assert_eq!(next(1.5), None);
    }

    #[test]
    fn time_and_credits_run_out_too() {
        let mut warnings = Warnings::default();
        let shares = [None, Some(0.85), Some(0.85)];
        assert!(warnings.next(shares).unwrap().contains("AI credits"));
        assert!(warnings.next(shares).unwrap().starts_with("[AWF TIME WARNING]"));
        assert_eq!(warnings.next(shares), None);
    }
}
