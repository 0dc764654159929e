//! Golden files, and what holds for every record.

use std::fs;

use proptest::prelude::*;

use super::proposal::{Needs, allows};
use super::*;
use crate::commands::golden::{self, RECORD};
use crate::commands::lines::Line;
use crate::observe::record::{Layer, NameSource, Record, Verdict};
use crate::policy::Policy;

fn args(format: ProposalFormat) -> LearnArgs {
    LearnArgs { source: Vec::new(), format, against: None, fold: None, denied: false }
}

fn shown(text: &str, args: &LearnArgs, list: Option<&[&str]>) -> (String, bool) {
    let mut learnt = Learnt::default();
    learnt.read(text.as_bytes(), "egress.jsonl", args.denied).unwrap();
    let list = list.map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
    learnt.show(args, list.as_deref()).unwrap()
}

#[test]
fn every_format_is_as_in_its_golden_file() {
    for (format, name) in [
        (ProposalFormat::Pretty, "learn.txt"),
        (ProposalFormat::List, "learn.list"),
        (ProposalFormat::Ruleset, "learn.yml"),
        (ProposalFormat::Json, "learn.json"),
    ] {
        golden::check(name, &shown(RECORD, &args(format), None).0);
    }
    let denied = LearnArgs { denied: true, ..args(ProposalFormat::Pretty) };
    golden::check("learn-denied.txt", &shown(RECORD, &denied, None).0);
    let list = ["api.github.com", "unused.example", "registry.example.org"];
    let (text, missing) = shown(RECORD, &args(ProposalFormat::Pretty), Some(&list));
    assert!(missing, "archive.example.org is not in the list");
    golden::check("learn-against.txt", &text);
    let (_text, missing) =
        shown(RECORD, &denied, Some(&["example.org", "github.com", "evil.example"]));
    assert!(!missing);
}

#[test]
fn a_ruleset_is_read_back_as_the_list() {
    let path = std::env::temp_dir().join(format!("awf-learn-{}.yml", std::process::id()));
    let denied = |format| LearnArgs { denied: true, fold: Some(2), ..args(format) };
    fs::write(&path, shown(RECORD, &denied(ProposalFormat::Ruleset), None).0).unwrap();
    let caller = Caller { cwd: "/".into(), ..Caller::inspect().unwrap() };
    let read = listed("--against", path.to_str().unwrap(), &caller);
    fs::remove_file(&path).unwrap();
    let list = shown(RECORD, &denied(ProposalFormat::List), None).0;
    assert_eq!(plan::entries(&read.unwrap()).join(","), list.trim_end());
}

#[test]
fn a_record_that_lacks_something_is_told_of() {
    let warnings = |text: &str| {
        let mut learnt = Learnt::default();
        learnt.read(text.as_bytes(), "x", false).unwrap();
        learnt.warnings.join("; ")
    };
    assert!(warnings("").contains("no summary"));
    assert!(warnings(RECORD).contains("damaged lines: 1"));
    let lossy = RECORD
        .replace("\"ring\": 0", "\"ring\": 3")
        .replace("\"complete\": true", "\"complete\": false");
    assert!(warnings(&lossy).contains("not written down: 3"));
}

#[test]
fn a_run_that_lacks_something_is_told_of_though_a_later_one_in_the_file_is_whole() {
    let warnings = |earlier: String| {
        let mut learnt = Learnt::default();
        let text = earlier.replace("awf-1795816800000-ab12", "awf-earlier") + RECORD;
        learnt.read(text.as_bytes(), "x", false).unwrap();
        learnt.warnings.join("; ")
    };
    let killed = RECORD.lines().next().unwrap().to_owned() + "\n";
    assert!(warnings(killed).contains("x: run awf-earlier: it has no summary"));
    let lossy = RECORD.replace("\"ring\": 0", "\"ring\": 7");
    assert!(
        warnings(lossy)
            .contains("x: run awf-earlier: attempts that were judged but not written down: 7")
    );
    assert!(!warnings(RECORD.to_owned()).contains("run awf-"));
}

#[test]
fn what_the_guard_refused_to_the_proxy_is_no_attempt() {
    let guard = Record {
        name: Some("guarded.example".into()),
        ..Record::denied("t".into(), "r".into(), Layer::Guard)
    };
    let mut gathered = Gathered::default();
    gathered.see(Line::Attempt(Box::new(guard)), &mut Health::default(), true);
    assert!(gathered.attempts == 0 && gathered.needs.is_empty() && gathered.asides.is_empty());
}

fn attempt(name: &str, port: u16) -> Record {
    Record {
        verdict: Verdict::Allow,
        rule: "allow-both-plain".to_owned(),
        protocol: "tcp".to_owned(),
        name: Some(name.into()),
        name_source: Some(NameSource::Sni),
        port: Some(port),
        ..Record::denied("2026-01-01T00:00:00.000000Z".into(), "r".into(), Layer::Proxy)
    }
}

fn needs(names: &[&str]) -> Needs {
    let mut gathered = Gathered::default();
    for name in names {
        let line = Line::Attempt(Box::new(attempt(name, 443)));
        gathered.see(line, &mut Health::default(), false);
    }
    gathered.needs
}

#[track_caller]
fn folds(names: &[&str], least: usize, expected: &str) {
    assert_eq!(Proposal::of(&needs(names), Some(least)).list(), expected);
}

#[test]
fn names_are_folded_at_the_deepest_domain_and_never_at_a_public_suffix() {
    folds(&["a.x.example.com", "b.x.example.com"], 2, "https://*.x.example.com");
    folds(&["a.example.com", "b.x.example.com"], 2, "https://*.example.com");
    folds(&["a.example.com", "b.example.com", "example.com"], 2, "https://example.com");
    folds(&["a.github.io", "b.github.io"], 2, "=https://a.github.io,=https://b.github.io");
    folds(&["a.co.uk", "b.co.uk"], 2, "=https://a.co.uk,=https://b.co.uk");
    folds(&["x.a.github.io", "y.a.github.io"], 2, "https://*.a.github.io");
    folds(&["a.com", "b.com"], 2, "=https://a.com,=https://b.com");
    folds(&["a_b.example.com", "c.example.com"], 2, "https://example.com");
    let deep = ["a.x.example.com", "b.x.example.com", "c.example.com", "d.example.com"];
    folds(&deep, 2, "https://*.example.com");
    folds(
        &["a.s3.amazonaws.com", "b.s3.amazonaws.com"],
        2,
        "=https://a.s3.amazonaws.com,=https://b.s3.amazonaws.com",
    );
    folds(
        &["ec2.amazonaws.com", "sts.amazonaws.com"],
        2,
        "=https://ec2.amazonaws.com,=https://sts.amazonaws.com",
    );
    folds(
        &["api.railway.app", "backboard.railway.app", "docs.railway.app"],
        3,
        "=https://api.railway.app,=https://backboard.railway.app,=https://docs.railway.app",
    );
    folds(
        &["a.xn--stfold-9xa.no", "b.xn--stfold-9xa.no"],
        2,
        "=https://a.xn--stfold-9xa.no,=https://b.xn--stfold-9xa.no",
    );
    folds(&["a.corp", "b.corp"], 2, "=https://a.corp,=https://b.corp");
}

#[test]
fn an_entry_is_no_wider_than_what_was_seen() {
    let list = |records: &[(u16, NameSource)]| {
        let mut gathered = Gathered::default();
        for (port, source) in records {
            let record = Record { name_source: Some(*source), ..attempt("a.com", *port) };
            gathered.see(Line::Attempt(Box::new(record)), &mut Health::default(), false);
        }
        Proposal::of(&gathered.needs, None).list()
    };
    assert_eq!(list(&[(443, NameSource::Sni)]), "=https://a.com");
    assert_eq!(list(&[(80, NameSource::Dns)]), "=http://a.com");
    assert_eq!(list(&[(80, NameSource::Request)]), "=a.com", "it may have been a tunnel");
    assert_eq!(list(&[(443, NameSource::Sni), (80, NameSource::Host)]), "=a.com");
}

/// A name among few domains, so that some are below others.
fn name() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["a", "b", "c_d", "x-1", "www"]);
    let top = prop::sample::select(vec![
        "com",
        "example.com",
        "co.uk",
        "github.io",
        "corp",
        "s3.amazonaws.com",
    ]);
    (prop::collection::vec(label, 1..4), top)
        .prop_map(|(labels, top)| format!("{}.{top}", labels.join(".")))
}

fn record() -> impl Strategy<Value = Record> {
    let source = prop::sample::select(vec![
        NameSource::Dns,
        NameSource::Sni,
        NameSource::Host,
        NameSource::Request,
    ]);
    let port = prop::sample::select(vec![80, 443]);
    let would_deny = prop::option::of(Just("deny-default".to_owned()));
    let verdict =
        prop::sample::select(vec![Verdict::Allow, Verdict::Allow, Verdict::Deny, Verdict::Error]);
    (name(), source, port, would_deny, verdict).prop_map(
        |(name, source, port, would_deny, verdict)| {
            let rule = if verdict == Verdict::Deny { "deny-default" } else { "allow-both-plain" };
            let would_deny = would_deny.filter(|_rule| verdict == Verdict::Allow);
            Record {
                name_source: Some(source),
                verdict,
                would_deny,
                rule: rule.to_owned(),
                ..attempt(&name, port)
            }
        },
    )
}

proptest! {
    #[test]
    fn the_list_covers_every_allowed_attempt_and_no_entry_can_be_left_out(
        records in prop::collection::vec(record(), 0..24),
        fold in prop::option::of(2_usize..5),
        denied in any::<bool>(),
    ) {
        let mut gathered = Gathered::default();
        for record in &records {
            gathered.see(Line::Attempt(Box::new(record.clone())), &mut Health::default(), denied);
        }
        let proposal = Proposal::of(&gathered.needs, fold);
        prop_assert!(proposal.unlistable.is_empty());
        let texts: Vec<String> = proposal.entries.iter().map(|entry| entry.text.clone()).collect();
        let policy = |texts: &[String]| Policy::resolve(texts, &[]).unwrap().0;
        let counted = |record: &&Record| match record.verdict {
            Verdict::Allow => denied || record.would_deny.is_none(),
            Verdict::Deny => denied,
            Verdict::Error => false,
        };
        let whole = policy(&texts);
        for record in records.iter().filter(counted) {
            let (name, port) = (record.name.as_deref().unwrap(), record.port.unwrap());
            let scheme = if port == 443 { crate::policy::Scheme::Tls } else { crate::policy::Scheme::Http };
            prop_assert!(whole.decide(name, port, scheme).allow, "{name}:{port} by {texts:?}");
        }
        for index in 0..texts.len() {
            let mut fewer = texts.clone();
            let gone = fewer.remove(index);
            let fewer = policy(&fewer);
            let all = gathered.needs.iter().all(|(name, need)| allows(&fewer, name, need.uses));
            prop_assert!(!all, "{gone} is not needed in {texts:?}");
        }
    }
}
