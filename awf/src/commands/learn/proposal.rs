//! The smallest list that covers what was needed.
//!
//! Takes names with their evidence, gives entries. Pure. Whether an entry covers a name is asked of [`Policy`] and of nobody
//! else. Must never: fold at a public suffix or across one, behind which strangers own names, nor give an entry that another
//! one covers.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::iter::successors;
use std::sync::LazyLock;

use super::evidence::{Evidence, Uses};
use crate::policy::Policy;

/// All names that have a public suffix below them, which the list itself cannot be asked for. `cargo xtask docs` writes it from
/// the rules of the psl crate, and `cargo xtask tidy` finds that it is not theirs.
const SUFFIX_PARENTS: &str = include_str!("suffix-parents.txt");

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As `--allow-domains` takes it.
    pub text: String,
    /// The names it is there for.
    pub names: Vec<String>,
    /// What stands behind them.
    pub evidence: Evidence,
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Proposal {
    /// Sorted by domain.
    pub entries: Vec<Entry>,
    /// Names that no entry can stand for.
    pub unlistable: Vec<String>,
}

/// Names with what stands behind them.
pub(super) type Needs = BTreeMap<String, Evidence>;

impl Proposal {
    /// Proposes. `fold`: so many names below one domain become one entry.
    pub(super) fn of(needs: &Needs, fold: Option<usize>) -> Self {
        let mut left: BTreeSet<&str> = needs.keys().map(String::as_str).collect();
        let mut entries = Vec::new();
        if let Some(least) = fold {
            entries = folded(needs, &mut left, least);
        }
        let mut proposal = Self { entries, unlistable: Vec::new() };
        for name in left {
            match exact(needs, name) {
                Some(entry) => proposal.entries.push(entry),
                None => proposal.unlistable.push(name.to_owned()),
            }
        }
        proposal.entries.sort_by_cached_key(|entry| (reversed(&entry.text), entry.text.clone()));
        proposal
    }

    /// The value of `--allow-domains`.
    pub(super) fn list(&self) -> String {
        let texts: Vec<&str> = self.entries.iter().map(|entry| &*entry.text).collect();
        texts.join(",")
    }
}

/// Labels from the last one on, so that what belongs together stands together.
fn reversed(text: &str) -> Vec<String> {
    let name = text.rsplit(['=', '/']).next().unwrap_or(text);
    name.rsplit('.').map(str::to_owned).collect()
}

/// Whether a policy allows all that was asked of a name.
pub(super) fn allows(policy: &Policy, name: &str, uses: Uses) -> bool {
    uses.requests().all(|(port, scheme)| policy.decide(name, port, scheme).allow)
}

/// What is written before the name, the narrower first.
fn prefixes(uses: Uses) -> &'static [&'static str] {
    match uses {
        Uses { tls: true, http: false, tunnel: false } => &["https://", ""],
        Uses { tls: false, http: true, tunnel: false } => &["http://", ""],
        _ => &[""],
    }
}

/// The first text that is an entry and covers all these names.
fn first_that_covers(texts: Vec<String>, needs: &Needs, names: &[&str]) -> Option<Entry> {
    let covers = |text: &String| {
        let Ok((policy, _warnings)) = Policy::resolve(std::slice::from_ref(text), &[]) else {
            return false;
        };
        names
            .iter()
            .all(|name| needs.get(*name).is_some_and(|need| allows(&policy, name, need.uses)))
    };
    let text = texts.into_iter().find(covers)?;
    Some(entry(text, needs, names))
}

fn entry(text: String, needs: &Needs, names: &[&str]) -> Entry {
    let mut evidence = Evidence::default();
    for need in names.iter().filter_map(|name| needs.get(*name)) {
        evidence.join(need);
    }
    Entry { text, names: names.iter().map(|name| (*name).to_owned()).collect(), evidence }
}

/// The narrowest entry for one name.
fn exact(needs: &Needs, name: &str) -> Option<Entry> {
    let uses = needs.get(name)?.uses;
    let alone = prefixes(uses).iter().map(|prefix| format!("={prefix}{name}"));
    first_that_covers(alone.chain([name.to_owned()]).collect(), needs, &[name])
}

/// Folds from the deepest domains upwards; takes what is folded out of `left`.
fn folded(needs: &Needs, left: &mut BTreeSet<&str>, least: usize) -> Vec<Entry> {
    let mut below: BTreeMap<(usize, &str), Vec<&str>> = BTreeMap::new();
    for name in left.iter().copied() {
        for parent in foldable(name) {
            let deepest_first = usize::MAX - parent.split('.').count();
            below.entry((deepest_first, parent)).or_default().push(name);
        }
    }
    let mut found: BTreeMap<&str, Entry> = BTreeMap::new();
    for ((_depth, parent), names) in below {
        let mut names: Vec<&str> = names.into_iter().filter(|name| left.contains(name)).collect();
        if names.len() < least || has_suffixes_below(parent) {
            continue;
        }
        let itself = left.get(parent).copied();
        names.extend(itself);
        if let Some(entry) = wide(needs, parent, &names, itself.is_some()) {
            for name in names {
                left.remove(name);
            }
            found.insert(parent, entry);
        }
    }
    absorb(needs, &mut found, left);
    found.into_values().collect()
}

/// The narrowest entry for all these names below a domain, and for the domain itself if it is among them.
fn wide(needs: &Needs, parent: &str, names: &[&str], with_itself: bool) -> Option<Entry> {
    let uses = names.iter().filter_map(|name| needs.get(*name)).map(|need| need.uses);
    let uses = uses.fold(Uses::default(), Uses::with);
    let heads: &[&str] = if with_itself { &[""] } else { &["*.", ""] };
    let texts = prefixes(uses)
        .iter()
        .flat_map(|prefix| heads.iter().map(move |head| format!("{prefix}{head}{parent}")));
    first_that_covers(texts.collect(), needs, names)
}

/// Domains above a name that belong to its owner alone, the deepest first.
fn foldable(name: &str) -> impl Iterator<Item = &str> {
    let registrable = psl::domain_str(name).map_or(usize::MAX, str::len);
    let parents =
        successors(Some(name), |name| name.split_once('.').map(|(_label, parent)| parent));
    parents.skip(1).take_while(move |parent| parent.len() >= registrable)
}

/// Whether there may be public suffixes below a domain: a wildcard would reach what strangers publish there. The list has names
/// of other scripts as they are read, and not as they are asked for (`xn--`).
fn has_suffixes_below(parent: &str) -> bool {
    static PARENTS: LazyLock<HashSet<&str>> = LazyLock::new(|| SUFFIX_PARENTS.lines().collect());
    PARENTS.contains(parent) || parent.split('.').any(|label| label.starts_with("xn--"))
}

/// Gives names, alone or folded, to entries above that cover them anyway.
fn absorb(needs: &Needs, found: &mut BTreeMap<&str, Entry>, left: &mut BTreeSet<&str>) {
    // The deepest first: whoever takes names in may be taken in itself.
    let mut parents: Vec<&str> = found.keys().copied().collect();
    parents.sort_by_key(|parent| usize::MAX - parent.split('.').count());
    for parent in parents {
        let names = found.get(parent).map(|entry| entry.names.clone()).unwrap_or_default();
        if let Some(above) = covering(needs, found, parent, &names)
            && let Some(taken) = found.remove(parent)
            && let Some(above) = found.get_mut(&*above)
        {
            above.evidence.join(&taken.evidence);
            above.names.extend(taken.names);
        }
    }
    let alone: Vec<&str> = left.iter().copied().collect();
    for name in alone {
        if let Some(above) = covering(needs, found, name, &[name.to_owned()]) {
            left.remove(name);
            if let Some((above, need)) = found.get_mut(&*above).zip(needs.get(name)) {
                above.evidence.join(need);
                above.names.push(name.to_owned());
            }
        }
    }
}

/// The nearest domain above with an entry, if the entries above together cover all these names.
fn covering(
    needs: &Needs,
    found: &BTreeMap<&str, Entry>,
    below: &str,
    names: &[String],
) -> Option<String> {
    let parents = successors(below.split_once('.'), |(_label, parent)| parent.split_once('.'));
    let above: Vec<(&str, &Entry)> =
        parents.filter_map(|(_label, parent)| Some((parent, found.get(parent)?))).collect();
    let (nearest, _entry) = above.first()?;
    let texts: Vec<String> = above.iter().map(|(_parent, entry)| entry.text.clone()).collect();
    let (policy, _warnings) = Policy::resolve(&texts, &[]).ok()?;
    let covers = |name: &String| needs.get(name).is_some_and(|it| allows(&policy, name, it.uses));
    names.iter().all(covers).then(|| (*nearest).to_owned())
}
