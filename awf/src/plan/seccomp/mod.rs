//! The system call profile of the command, as data: which calls are refused, how, and why.
//!
//! A list of refusals, not of permissions: errno values stay what programs expect, and a call that no rule names is
//! allowed. The runtime compiles [`GROUPS`] into the kernel's filter, the loader looks up here what the kernel asks it about,
//! and `awf plan` prints the same rows. Must never be the only fence: no capability, no namespace rights and the cgroup
//! programs stand behind it.

mod profile;

use libc::c_long;
use nix::errno::Errno;
use serde::{Serialize, Serializer};

pub use profile::GROUPS;

/// Rules with one subject. Of the rules for a call, the first whose tests hold decides.
#[derive(Debug, Serialize)]
pub struct Group {
    /// The subject.
    pub name: &'static str,
    /// In order.
    pub rules: &'static [Rule],
}

/// What becomes of some calls.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// Which calls.
    pub calls: Calls,
    /// All of these must hold.
    #[serde(skip_serializing_if = "<[Test]>::is_empty")]
    pub when: &'static [Test],
    /// What becomes of them.
    pub verdict: Verdict,
    /// Which way out or which right this is about.
    pub reason: &'static str,
}

/// Which calls a rule is about.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Calls {
    /// Every call that is not made in the machine's own 64-bit convention.
    OfAnotherAbi,
    /// Every call with a higher number.
    NewerThan(u32),
    /// These.
    #[serde(untagged)]
    Named(&'static [Call]),
}

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    name: &'static str,
    /// Its number on this architecture.
    pub number: c_long,
}

/// A condition on an argument, of which the kernel uses the low 32 bits in every call that is tested here.
#[derive(Debug, Serialize)]
pub struct Test {
    /// Position, from 0.
    pub argument: u32,
    /// Bits that are looked at.
    #[serde(skip_serializing_if = "is_all", serialize_with = "as_hex")]
    pub mask: u32,
    /// What they must be.
    #[serde(flatten)]
    pub is: Is,
}

/// What the bits of an argument must be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Is {
    /// Equal to one of these.
    OneOf(&'static [Value]),
    /// Different from all of these.
    NoneOf(&'static [Value]),
}

/// A value of an argument.
#[derive(Debug)]
pub struct Value {
    name: &'static str,
    /// As the kernel sees it.
    pub number: u32,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is made; the row is here because somebody will look for it.
    Allow,
    /// The kernel fails it.
    #[serde(serialize_with = "in_words")]
    Refuse(Errno),
    /// The loader fails it and puts it on record: it needs no privilege and would lead out.
    #[serde(serialize_with = "in_words")]
    Record(Errno),
    /// The process is killed.
    Kill,
}

impl Call {
    /// As in its manual page.
    pub fn name(&self) -> &'static str {
        self.name.strip_prefix("SYS_").unwrap_or(self.name)
    }
}

impl Test {
    fn holds(&self, arguments: &[u64; 6]) -> bool {
        let argument = usize::try_from(self.argument).ok().and_then(|index| arguments.get(index));
        let bits = argument.copied().unwrap_or_default() & u64::from(self.mask);
        let among = |values: &[Value]| values.iter().any(|value| u64::from(value.number) == bits);
        match self.is {
            Is::OneOf(values) => among(values),
            Is::NoneOf(values) => !among(values),
        }
    }
}

/// The rule that decides about a call of the machine's own convention, if any does.
pub fn rule_for(number: c_long, arguments: &[u64; 6]) -> Option<(&'static Rule, &'static Call)> {
    GROUPS.iter().flat_map(|group| group.rules).find_map(|rule| {
        let Calls::Named(calls) = rule.calls else { return None };
        let call = calls.iter().find(|call| call.number == number)?;
        rule.when.iter().all(|test| test.holds(arguments)).then_some((rule, call))
    })
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_all(mask: &u32) -> bool {
    *mask == u32::MAX
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_hex<S: Serializer>(mask: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{mask:#x}"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn in_words<S: Serializer>(errno: &Errno, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&errno.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_gives_its_reason_to_a_reader() {
        let printed = serde_json::to_value(GROUPS).unwrap();
        let groups = printed.as_array().unwrap();
        for rule in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
            assert!(rule["reason"].as_str().unwrap().len() > 10, "{rule}");
        }
        assert_eq!(
            groups[1]["rules"][1],
            serde_json::json!({
                "calls": ["clone"],
                "when": [{ "argument": 0, "mask": "0x7e020080", "none_of": ["0"] }],
                "verdict": { "record": "EPERM: Operation not permitted" },
                "reason": "the flags of unshare(2) do the same in clone(2)",
            })
        );
        assert_eq!(groups[0]["rules"][1]["calls"], serde_json::json!({ "newer_than": 471 }));
    }

    #[test]
    fn a_call_is_decided_by_one_rule_unless_arguments_are_tested() {
        let mut decided = std::collections::HashSet::new();
        for rule in GROUPS.iter().flat_map(|group| group.rules) {
            let Calls::Named(calls) = rule.calls else { continue };
            assert!(rule.verdict != Verdict::Kill && !calls.is_empty(), "{rule:?}");
            for call in calls.iter().filter(|_call| rule.when.is_empty()) {
                assert!(decided.insert(call.number), "{} is decided twice", call.name());
            }
        }
    }
}
