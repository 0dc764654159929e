//! Records that are whole, and every way in which they are not.

use proptest::prelude::*;

use super::*;
use crate::commands::golden;
use crate::observe::chain::Chain;
use crate::observe::chain::key::{self, SigningKey};
use crate::observe::record::to_line;

const PLAIN: Screen = Screen { columns: 80, colour: false };

/// The lines of the golden record without the damaged one.
fn lines() -> Vec<Vec<u8>> {
    let lines = golden::RECORD.split_inclusive('\n').map(|line| line.as_bytes().to_vec());
    lines.filter(|line| Line::parse(line) != Line::Damaged).collect()
}

fn signing() -> SigningKey {
    SigningKey::parse(key::SAMPLE).unwrap()
}

/// The same, chained and signed.
fn signed() -> Vec<Vec<u8>> {
    let mut chain = Chain::new();
    let mut sealed: Vec<_> = lines().into_iter().map(|line| chain.seal(line)).collect();
    let signature = chain.sign(&signing(), "awf-1795816800000-ab12".into());
    sealed.push(to_line(&signature).unwrap());
    sealed
}

fn report(file: &[u8], wanted: Option<PublicKey>) -> (String, bool) {
    let mut contents = Contents::default();
    contents.read(file).unwrap();
    contents.report(Path::new("/logs/egress.jsonl"), wanted, PLAIN)
}

/// Whether a record must be by the key, and is.
fn holds(file: &[u8]) -> bool {
    report(file, Some(signing().public())).1
}

/// Asserts that the record does not hold, and that this is said.
#[track_caller]
fn fails(file: &[u8], words: &str) {
    let (text, holds) = report(file, None);
    assert!(!holds && text.contains(words), "{words}:\n{text}");
}

#[test]
fn what_is_said_of_records() {
    golden::check("verify-signed.txt", &report(&signed().concat(), Some(signing().public())).0);
    golden::check("verify-plain.txt", &report(&lines().concat(), None).0);
    golden::check("verify-damaged.txt", &report(golden::RECORD.as_bytes(), None).0);
    let changed =
        String::from_utf8(signed().concat()).unwrap().replacen("evil.example", "good.example", 1);
    golden::check("verify-changed.txt", &report(changed.as_bytes(), None).0);
    golden::check("verify-cut.txt", &report(&signed()[..5].concat(), Some(signing().public())).0);
}

#[test]
fn records_that_hold() {
    for file in [lines().concat(), signed().concat()] {
        let (text, holds) = report(&file, None);
        assert!(holds, "{text}");
    }
    assert!(holds(&signed().concat()));
    // Runs that leave their logs in the same directory.
    let other = String::from_utf8(lines().concat())
        .unwrap()
        .replace("awf-1795816800000-ab12", "awf-2-cdef");
    assert!(report(&[signed().concat(), other.clone().into_bytes()].concat(), None).1);
    assert!(!holds(&[signed().concat(), other.into_bytes()].concat()), "the other is not signed");
}

#[test]
fn a_connection_that_the_guard_refused_to_the_proxy_is_counted_once() {
    let text = String::from_utf8(lines().concat()).unwrap();
    let (attempts, end) = text.split_at(text.rfind("{\"_schema\"").unwrap());
    let own = text.lines().find(|line| line.contains("rebind.example.org")).unwrap();
    let end = end
        .replace("\"guard_refuse\": 0", "\"guard_refuse\": 1")
        .replace("\"deny\": 45", "\"deny\": 46")
        .replace("\"inward-address\": 1", "\"inward-address\": 2");
    let guard = own.replace("\"layer\": \"proxy\"", "\"layer\": \"guard\"");
    let (text, holds) = report(format!("{attempts}{guard}\n{end}").as_bytes(), None);
    assert!(holds && text.contains("it refused 41, 41 of them on record"), "{text}");
}

#[test]
fn an_end_that_does_not_fit_is_found() {
    let changed = |from: &str, to: &str| {
        let text = String::from_utf8(lines().concat()).unwrap();
        assert!(text.contains(from), "{from}");
        text.replace(from, to).into_bytes()
    };
    fails(b"", "no line of a run can be read");
    fails(&lines()[..3].concat(), "end        missing");
    fails(&[lines().concat(), lines()[0].clone()].concat(), "line 17 does not belong there");
    fails(&changed("\"deny\": 45", "\"deny\": 44"), "deny: the end says 44, the lines say 45");
    fails(&changed("\"udp\": 37}", "\"udp\": 36}"), "udp: the end says 36, the lines say 37");
    fails(&changed("\"count\": 37", "\"count\": 36"), "deny: the end says 45, the lines say 44");
    fails(&changed("\"refuse\": 40", "\"refuse\": 42"), "0 lost as the end says: 2 missing");
    fails(&changed("\"refuse\": 40", "\"refuse\": 39"), "1 too many");
    fails(&changed("\"complete\": true", "\"complete\": false"), "not how many");
    let lost = changed("\"ring\": 0", "\"ring\": 2");
    fails(&lost, "the end says that 2 are missing");
    let lost = String::from_utf8(lost).unwrap().replace("\"refuse\": 40", "\"refuse\": 42");
    fails(lost.as_bytes(), "40 of them on record, 2 lost as the end says\n");
}

#[test]
fn a_signature_of_other_lines_or_by_another_key_is_found() {
    let mut lines = signed();
    let last = lines.len() - 1;
    lines.swap(last - 1, last);
    fails(&lines.concat(), "not a signature of these lines");
    let other = PublicKey::of(&[7; 32]).unwrap();
    let (text, holds) = report(&signed().concat(), Some(other));
    assert!(!holds && text.contains("and it must be by BwcH"), "{text}");
    // Whoever can write the file can make a chain, but no signature.
    let mut chain = Chain::new();
    let forged: Vec<_> = self::lines().into_iter().skip(1).map(|line| chain.seal(line)).collect();
    let forged = [forged.concat(), signed()[last].clone()].concat();
    fails(&forged, "not a signature of these lines");
}

#[test]
fn a_hostile_record_cannot_write_what_verify_says() {
    let text = String::from_utf8(lines().concat()).unwrap();
    let text = text.replace("awf-1795816800000-ab12", "r\\n  ok    signature\\u001b[2J");
    let (text, _holds) = report(text.as_bytes(), None);
    assert!(text.contains(r"run r\u{a}  ok    signature\u{1b}[2J:"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_changed_byte_of_a_signed_record_is_found(at: prop::sample::Index, flip in 1..=255_u8) {
        let mut file = signed().concat();
        // Without its line feed, the last line still says the same.
        let at = at.index(file.len() - 1);
        file[at] ^= flip;
        prop_assert!(!holds(&file), "{}", report(&file, None).0);
    }

    #[test]
    fn any_removed_line_of_a_signed_record_is_found(at: prop::sample::Index) {
        let mut lines = signed();
        lines.remove(at.index(lines.len()));
        prop_assert!(!holds(&lines.concat()));
    }

    #[test]
    fn any_swapped_lines_of_a_signed_record_are_found(one: prop::sample::Index, other: prop::sample::Index) {
        let mut lines = signed();
        let (one, other) = (one.index(lines.len()), other.index(lines.len()));
        prop_assume!(one != other);
        lines.swap(one, other);
        prop_assert!(!holds(&lines.concat()));
    }

    #[test]
    fn any_inserted_line_of_a_signed_record_is_found(from: prop::sample::Index, to: prop::sample::Index, end: bool) {
        let mut lines = signed();
        let line = if end { b"{}\n".to_vec() } else { lines[from.index(lines.len())].clone() };
        lines.insert(to.index(lines.len() + 1), line);
        prop_assert!(!holds(&lines.concat()));
    }

    #[test]
    fn any_cut_of_a_signed_record_is_found(at: prop::sample::Index) {
        let file = signed().concat();
        prop_assert!(!holds(&file[..at.index(file.len() - 1)]));
    }
}
