//! One-shot tokens: which variables of the command are shown once, and the preload library that does it.
//!
//! Takes the command's finished environment, gives it the list (`AWF_ONE_SHOT_TOKENS`) and the library (`LD_PRELOAD`, before
//! the user's own), and the library its place in the sandbox. Where none of the listed names is in the environment, nothing
//! is set and nothing placed. Names for which the API proxy has put a placeholder are not in the list: they hold no secret,
//! and static programs, which get no token, need them. What the library does is said in its own crate, `awf/one-shot`; that
//! it is loaded is proved before the command starts (`runtime/native/one_shot.rs`).
//!
//! A program that must have its token though it is static gets it if the user's list leaves the name out:
//! `--env AWF_ONE_SHOT_TOKENS=OTHER,NAMES`.

pub use awf_common::one_shot::LIST;
use awf_common::one_shot::{LIBRARY, TOKENS};

use super::mounts::MountOp;
use crate::cli::{self, Settings};
use crate::host::Variables;

const PRELOAD: &str = "LD_PRELOAD";

/// Adds what the library needs. `placeholders` has what the API proxy has set.
pub fn guard(settings: &Settings, placeholders: &Variables, variables: &mut Variables) {
    let own = settings.env.get(LIST).map(|list| cli::one_shot_names(list).collect::<Vec<_>>());
    let wanted = own.filter(|names| !names.is_empty()).unwrap_or_else(|| TOKENS.to_vec());
    let is_token = |name: &&str| !placeholders.contains_key(*name);
    let listed: Vec<&str> = wanted.into_iter().filter(is_token).collect();
    if !listed.iter().any(|name| variables.get(*name).is_some_and(|value| !value.is_empty())) {
        return;
    }
    variables.insert(LIST.to_owned(), listed.join(","));
    let others = variables.get(PRELOAD).filter(|others| !others.is_empty());
    let libraries =
        others.map_or_else(|| LIBRARY.to_owned(), |others| format!("{LIBRARY}:{others}"));
    variables.insert(PRELOAD.to_owned(), libraries);
}

/// The mounts, and the library where the environment names it.
pub fn with_library(mut mounts: Vec<MountOp>, variables: &[(String, String)]) -> Vec<MountOp> {
    if variables.iter().any(|(name, _)| name == LIST) {
        mounts.push(MountOp::OneShotLibrary { target: LIBRARY.into() });
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[track_caller]
    fn check(list: Option<&str>, before: &[(&str, &str)], expected: Option<(&str, &str)>) {
        let option = list.map(|list| format!("{LIST}={list}"));
        let options = option.iter().flat_map(|option| ["-e", option]);
        let line = ["awf"].into_iter().chain(options).chain(["--", "true"]).map(Into::into);
        let Ok(cli::Request::Run(args)) = cli::parse(line) else { panic!("{list:?}") };
        let settings = Settings::resolve(&args, &Host::sample().caller).unwrap();
        let mut found = variables(before);
        guard(&settings, &variables(&[("OPENAI_API_KEY", "placeholder")]), &mut found);
        let set = found.get(LIST).zip(found.get(PRELOAD));
        assert_eq!(set.map(|(list, preload)| (list.as_str(), preload.as_str())), expected);
        let mounts = with_library(Vec::new(), &found.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(mounts.len(), usize::from(expected.is_some()));
        assert!(expected.is_some() || found == variables(before));
    }

    #[test]
    fn without_a_token_nothing_is_set() {
        check(None, &[], None);
        check(None, &[("PATH", "/bin"), ("OPENAI_API_KEY", "placeholder")], None);
        check(None, &[("GH_TOKEN", ""), ("LD_PRELOAD", "/x.so")], None);
        check(Some("A"), &[("GH_TOKEN", "x")], None);
    }

    #[test]
    fn a_token_brings_the_list_and_the_library_before_the_users_own() {
        check(Some("A, B"), &[("B", "x")], Some(("A,B", LIBRARY)));
        let both = format!("{LIBRARY}:/x.so");
        check(Some("A"), &[("A", "x"), ("LD_PRELOAD", "/x.so")], Some(("A", &both)));
        let standard = TOKENS.map(str::to_owned).into_iter();
        let standard: Vec<_> = standard.filter(|name| name != "OPENAI_API_KEY").collect();
        let expected = Some((standard.join(","), LIBRARY));
        let expected = expected.as_ref().map(|(list, library)| (list.as_str(), *library));
        check(None, &[("ADO_MCP_AUTH_TOKEN", "x")], expected);
        check(Some(" , "), &[("ADO_MCP_AUTH_TOKEN", "x")], expected);
    }
}
