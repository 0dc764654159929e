//! One step of a longer task: a spinner while it runs, one line when it is done, its output only if it fails.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Runs a step.
pub(crate) fn step(what: &str, command: &mut Command) -> Result<()> {
    step_hiding(what, command, None)
}

/// Runs a step whose output must not show a word.
pub(crate) fn step_hiding(what: &str, command: &mut Command, secret: Option<&str>) -> Result<()> {
    let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
    spinner.enable_steady_tick(Duration::from_millis(120));
    let output = command.stdin(Stdio::null()).output().with_context(|| what.to_owned())?;
    spinner.finish_and_clear();
    if !output.status.success() {
        for stream in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(stream);
            eprintln!(
                "{}",
                secret.map_or_else(|| text.to_string(), |word| text.replace(word, "..."))
            );
        }
        bail!("{what}: {}", output.status);
    }
    eprintln!("{what}: done in {} s", spinner.elapsed().as_secs());
    Ok(())
}
