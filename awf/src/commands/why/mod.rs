//! `awf why`: why something is allowed or denied, by which rule and in which layer, and what would change it.
//!
//! Takes a target and a policy, or a record. Must never: have an opinion of its own. The kernel's rule is `awf_common`'s, the
//! policy is the one that relay and Squid judge by.

mod judged;
mod policy;
pub mod remedy;
mod target;
mod told;

use std::io::BufReader;

use anyhow::{Context as _, Result};

use super::{lines, source, source::Source};
use crate::cli::reading::{PolicyArgs, WhyArgs};
use crate::exit::Exit;
use crate::speech;
use judged::Ground;
use target::Target;

/// The target is denied.
const DENIED: Exit = Exit::Agent(1);
/// It cannot be told.
const UNTOLD: Exit = Exit::Agent(2);

/// Explains.
pub fn explain(args: &WhyArgs) -> Result<Exit> {
    let told = match &args.target {
        Some(target) => judge(target, args),
        None => tell(args),
    };
    told.or_else(|error| {
        speech::error(&error);
        Ok(UNTOLD)
    })
}

/// A target against a policy.
fn judge(target: &str, args: &WhyArgs) -> Result<Exit> {
    let target = Target::parse(target)?;
    let ground = if args.policy == PolicyArgs::default() {
        let source = Source::find(args.source.as_deref())?;
        let manifest = source.manifest().with_context(|| {
            format!(
                "no policy-manifest.json beside {}; say the policy with --allow-domains or --config",
                source.logs.display()
            )
        })?;
        policy::of_manifest(&manifest)?
    } else {
        policy::of_options(&args.policy)?
    };
    let answer = judged::answer(&target, &ground);
    speech::print(&if args.json { answer.json()? } else { answer.pretty() })?;
    Ok(if answer.allowed { Exit::Agent(0) } else { DENIED })
}

/// What a record says.
fn tell(args: &WhyArgs) -> Result<Exit> {
    let path = lines::locate(args.source.as_deref())?;
    let file = BufReader::new(source::open(&path)?);
    let (number, record) = told::find(file, args.line)
        .with_context(|| format!("explain a line of {}", path.display()))?;
    // A record may lie anywhere, also where no policy does.
    let source = Source::find(args.source.as_deref()).ok();
    let manifest = source.and_then(|source| source.manifest());
    let allowed = manifest.and_then(|manifest| policy::of_manifest(&manifest).ok());
    let allowed = allowed.map(|Ground { allowed, .. }| allowed).unwrap_or_default();
    let told = told::Told { number, record: &record, allowed: &allowed };
    speech::print(&if args.json { told.json()? } else { told.pretty() })?;
    Ok(Exit::Agent(0))
}

/// What the command or a record chose, as a terminal may see it.
fn safe(text: &str) -> String {
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

#[cfg(test)]
mod tests;
