//! Properties of the grammar and of decisions that hold for every list, tried on random ones.

use proptest::prelude::*;

use super::entry::{Entry, Subject, parse};
use super::{List, Policy, Protocol, Scheme};

const REQUESTS: [(u16, Scheme); 3] = [(443, Scheme::Tls), (80, Scheme::Tls), (80, Scheme::Http)];

/// Names as people write them: any case, underscores, hyphens anywhere, international labels.
fn name() -> impl Strategy<Value = String> {
    let label = prop_oneof![
        8 => "[a-zA-Z0-9_-]{0,7}[a-zA-Z]",
        1 => "[a-zäöüéλж]{1,5}",
    ];
    prop::collection::vec(label, 1..4).prop_map(|labels| labels.join("."))
}

/// A label that no [`name`] has.
fn label() -> impl Strategy<Value = String> {
    "[a-z]{1,5}9"
}

/// Entries with everything that may stand around or inside a name.
fn entry() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![3 => Just(""), 1 => Just("http://"), 1 => Just("HTTPS://")];
    let star = prop_oneof![3 => Just(""), 1 => Just("*."), 1 => Just("*"), 1 => Just("a-*.")];
    let (before, after) = (prop_oneof![4 => Just(""), 1 => Just(".")], "[.]?/?");
    let exact = prop_oneof![5 => Just(""), 1 => Just("=")];
    let scheme = (exact, scheme).prop_map(|(exact, scheme)| [exact, scheme].concat());
    (scheme, before, star, name(), after).prop_map(|(scheme, before, star, name, after)| {
        [&*scheme, before, star, &name, &after].concat()
    })
}

fn entries() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(entry(), 0..4)
}

/// An entry as awf itself would write it.
fn written(entry: &Entry) -> String {
    let scheme = match entry.protocol {
        Protocol::Both => "",
        Protocol::Http => "http://",
        Protocol::Https => "https://",
    };
    match &entry.subject {
        Subject::Name(name) => format!("{scheme}{name}"),
        Subject::Exact(name) => format!("={scheme}{name}"),
        Subject::Pattern(pattern) => format!("{scheme}{pattern}"),
        Subject::Address(address) => address.to_string(),
    }
}

fn read(text: &str) -> Option<String> {
    parse(text, List::Allow).ok().map(|entry| written(&entry))
}

fn allows(policy: &Policy, host: &str) -> [bool; REQUESTS.len()] {
    REQUESTS.map(|(port, scheme)| policy.decide(host, port, scheme).allow)
}

/// A policy that allows one entry, if it can be one.
fn allowing(entry: &str) -> Option<Policy> {
    Policy::resolve(&[entry.to_owned()], &[]).ok().map(|(policy, _warnings)| policy)
}

proptest! {
    #[test]
    fn what_awf_writes_for_an_entry_is_read_as_the_same(entry in entry()) {
        if let Some(text) = read(&entry) {
            prop_assert_eq!(read(&text), Some(text));
        }
    }

    #[test]
    fn case_outer_dots_and_a_final_slash_mean_nothing(entry in entry()) {
        let meant = read(&entry);
        prop_assert_eq!(read(&entry.to_uppercase()), read(&entry.to_lowercase()));
        if entry.is_ascii() {
            prop_assert_eq!(&read(&entry.to_ascii_uppercase()), &meant);
        }
        if !entry.ends_with(['.', '/']) {
            prop_assert_eq!(&read(&format!("{entry}.")), &meant);
            prop_assert_eq!(&read(&format!("{entry}/")), &meant);
        }
    }

    #[test]
    fn an_international_name_is_its_ascii_form(name in name()) {
        let policies = [Some(name.clone()), read(&name)].map(|name| allowing(&name?));
        prop_assert_eq!(&policies[0], &policies[1]);
    }

    #[test]
    fn a_name_covers_itself_and_what_is_below_and_no_neighbour(name in name(), label in label()) {
        let Some((policy, ascii)) = allowing(&name).zip(read(&name)) else { return Ok(()) };
        let below = format!("{label}.{ascii}");
        for covered in [ascii.clone(), below, format!("{ascii}.").to_uppercase()] {
            prop_assert!(allows(&policy, &covered).iter().all(|allowed| *allowed), "{covered}");
        }
        let glued = [format!("{label}{ascii}"), format!("{label}-{ascii}")];
        for other in glued.into_iter().chain([format!("{ascii}.{label}")]) {
            prop_assert!(!allows(&policy, &other).contains(&true), "{other}");
        }
    }

    #[test]
    fn an_exact_name_covers_itself_alone(name in name(), label in label()) {
        let policy = allowing(&format!("={name}"));
        let Some((policy, ascii)) = policy.zip(read(&name)) else { return Ok(()) };
        prop_assert!(allows(&policy, &ascii).iter().all(|allowed| *allowed));
        for other in [format!("{label}.{ascii}"), format!("{label}{ascii}")] {
            prop_assert!(!allows(&policy, &other).contains(&true), "{other}");
        }
    }

    #[test]
    fn a_wildcard_covers_what_is_below_and_never_its_own_apex(name in name(), label in label()) {
        let policy = allowing(&format!("*.{name}"));
        let Some((policy, ascii)) = policy.zip(read(&name)) else { return Ok(()) };
        let below = format!("{label}.{ascii}");
        prop_assert!(allows(&policy, &below).iter().all(|allowed| *allowed));
        for other in [ascii.clone(), format!("{label}{ascii}"), format!("x.{ascii}.{label}")] {
            prop_assert!(!allows(&policy, &other).contains(&true), "{other}");
        }
    }

    #[test]
    fn a_block_list_only_takes_away(allow in entries(), block in entries(), host in name()) {
        let Ok((policy, _)) = Policy::resolve(&allow, &block) else { return Ok(()) };
        let open = Policy::resolve(&allow, &[]).expect("half of what was accepted").0;
        let Ok((banned, _)) = Policy::resolve(&block, &[]) else { return Ok(()) };
        // Hosts near the entries, so that they are hit.
        let near =
            |entry: &String| entry.replace('*', "x").trim_matches(['.', '=']).to_owned();
        for host in allow.iter().chain(&block).map(near).chain([host]) {
            let answers = [&policy, &open, &banned].map(|policy| allows(policy, &host));
            for request in 0..REQUESTS.len() {
                let [with, without, banned] = answers.map(|answers| answers[request]);
                prop_assert!(!with || (without && !banned), "{host}");
            }
        }
    }

    #[test]
    fn a_decision_hangs_on_no_spelling_of_the_host(allow in entries(), host in name()) {
        let Ok((policy, _)) = Policy::resolve(&allow, &[]) else { return Ok(()) };
        for spelling in [host.to_ascii_uppercase(), format!("{host}."), format!("{host}..")] {
            prop_assert_eq!(allows(&policy, &spelling), allows(&policy, &host));
        }
    }
}
