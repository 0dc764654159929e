//! `awf logs export`: the record in the formats of other tools.
//!
//! Takes `egress.jsonl`, line by line; gives OpenTelemetry logs, OCSF events, SARIF results or Prometheus samples. Must
//! never: need memory that grows with the record, let a text of the agent's become more than text in the other format, or
//! leave out a line without saying so.

pub mod ocsf;
pub mod opened;
pub mod otlp;
pub mod output;
pub mod prometheus;
pub mod sarif;
pub mod text;

use anyhow::{Context as _, Result};

use crate::cli::reading::{ExportArgs, ExportFormat};
use crate::exit::Exit;
use opened::Opened;

/// Writes the record in the format that is asked for.
pub fn export(args: &ExportArgs) -> Result<Exit> {
    let (record, path) = Opened::find(args.source.as_deref(), args.run.as_deref())?;
    let summary = record.summary.as_deref();
    let mut damaged = 0;
    let write = match args.format {
        ExportFormat::Otlp => otlp::write,
        ExportFormat::Ocsf => ocsf::write,
        ExportFormat::Sarif => sarif::write,
        ExportFormat::Prometheus => prometheus::write,
    };
    output::to(args.output.as_deref(), |out| {
        damaged = write(record.lines, summary, out)?;
        Ok(())
    })
    .with_context(|| format!("export {}", path.display()))?;
    if damaged > 0 {
        tracing::warn!("{damaged} damaged lines of {} are not exported", path.display());
    }
    if summary.is_none() {
        tracing::warn!("{} has no summary: the run goes on, or was killed", path.display());
    }
    Ok(Exit::Agent(0))
}

#[cfg(test)]
pub(in crate::commands) mod tests {
    use crate::commands::golden;
    use crate::commands::lines::Line;
    use crate::observe::summary::Summary;

    /// The end of the golden record.
    pub(in crate::commands) fn summary() -> Box<Summary> {
        let mut lines = golden::RECORD.lines().rev().map(|line| Line::parse(line.as_bytes()));
        lines
            .find_map(|line| match line {
                Line::Summary(summary) => Some(summary),
                _ => None,
            })
            .unwrap()
    }
}
