//! Which attempts are shown. Pure.

use crate::cli::reading::EgressArgs;
use crate::observe::record::{ProcessInfo, Record, Verdict};

/// What was asked for: all of it must fit.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    verdict: Option<Verdict>,
    rule: Option<String>,
    /// In lower case.
    domain: Option<String>,
    process: Option<String>,
}

impl Filter {
    pub(super) fn of(args: &EgressArgs) -> Self {
        Self {
            verdict: args.verdict.as_deref().and_then(verdict),
            rule: args.rule.clone(),
            domain: args.domain.as_deref().map(str::to_ascii_lowercase),
            process: args.process.clone(),
        }
    }

    /// Whether everything fits.
    pub(super) const fn is_open(&self) -> bool {
        let Self { verdict, rule, domain, process } = self;
        verdict.is_none() && rule.is_none() && domain.is_none() && process.is_none()
    }

    /// Whether an attempt fits.
    pub(super) fn fits(&self, record: &Record) -> bool {
        self.verdict.is_none_or(|verdict| verdict == record.verdict)
            && self
                .rule
                .as_ref()
                .is_none_or(|rule| *rule == record.rule || Some(rule) == record.would_deny.as_ref())
            && self.domain.as_ref().is_none_or(|text| is_for(record, text))
            && self.process.as_ref().is_none_or(|text| is_by(&record.process, text))
    }
}

/// clap lets only these through.
fn verdict(text: &str) -> Option<Verdict> {
    match text {
        "allow" => Some(Verdict::Allow),
        "deny" => Some(Verdict::Deny),
        "error" => Some(Verdict::Error),
        _ => None,
    }
}

fn is_for(record: &Record, text: &str) -> bool {
    let name = record.name.as_ref().map(|name| name.to_ascii_lowercase());
    let address = record.address.map(|address| address.to_string());
    name.into_iter().chain(address).any(|place| place.contains(text))
}

fn is_by(process: &ProcessInfo, text: &str) -> bool {
    let pid = text.parse().ok();
    let same = |known: Option<&str>| known == Some(text);
    let exe = process.exe.as_deref();
    (pid.is_some() && process.pid == pid)
        || same(process.comm.as_deref())
        || same(exe)
        || same(exe.and_then(|exe| exe.rsplit('/').next()))
        || process
            .ancestors
            .iter()
            .any(|ancestor| pid == Some(ancestor.pid) || ancestor.comm == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::golden::RECORD;
    use crate::commands::lines::Line;

    /// Numbers of the golden record's lines that fit.
    fn fitting(filter: &Filter) -> Vec<usize> {
        let lines = RECORD.lines().enumerate();
        let fits = lines.filter(|(_, line)| match Line::parse(line.as_bytes()) {
            Line::Attempt(record) => filter.fits(&record),
            _ => false,
        });
        fits.map(|(at, _line)| at + 1).collect()
    }

    #[test]
    fn attempts_are_chosen_by_what_stands_in_them() {
        let text = |text: &str| Some(text.to_owned());
        let process = |name: &str| fitting(&Filter { process: text(name), ..Filter::default() });
        assert_eq!(process("4102"), [4, 5, 9, 11, 15]);
        assert_eq!(process("python3"), process("4102"));
        assert_eq!(process("python3.11"), process("4102"));
        assert_eq!(process("/usr/bin/python3.11"), process("4102"));
        // It is itself, and the parent of another.
        assert_eq!(process("npm install"), [2, 10, 13, 16]);
        assert_eq!(process("4103"), [2, 10, 13, 16]);
        let rule = |name: &str| fitting(&Filter { rule: text(name), ..Filter::default() });
        assert_eq!(rule("deny-default"), [4, 5, 15]);
        let domain = |name: &str| fitting(&Filter { domain: text(name), ..Filter::default() });
        assert_eq!(domain("evil"), [4]);
        assert_eq!(domain("2001:db8"), [8]);
        let verdict = Some(Verdict::Error);
        assert_eq!(fitting(&Filter { verdict, ..Filter::default() }), [14]);
        assert_eq!(fitting(&Filter { verdict, domain: text("evil"), ..Filter::default() }), [0; 0]);
    }
}
