//! Beside the steps of a run: the commands that read what runs have left, and that look at runs which go on.
//!
//! Takes records, logs and manifests as files; gives text on standard output. Must never: need root to read what the caller may
//! read, change what it reads, or count a damaged line as anything but damaged.

pub mod egress;
pub mod export;
pub mod kill;
pub mod learn;
pub mod lines;
pub mod logs;
mod plain;
pub mod ps;
pub mod report;
pub mod shown;
pub mod source;
mod tail;
pub mod verify;
pub mod why;

#[cfg(test)]
mod golden;

use anyhow::Result;

use crate::cli::reading::{LogsVerb, Reading};
use crate::exit::Exit;

/// Does what is asked.
pub fn obey(reading: &Reading) -> Result<Exit> {
    match reading {
        Reading::Logs(logs) => match &logs.verb {
            None => logs::show(logs),
            Some(LogsVerb::Stats(stats)) => logs::stats(stats),
            Some(LogsVerb::Summary(summary)) => logs::summary(summary),
            Some(LogsVerb::Audit(audit)) => logs::audit(audit),
            Some(LogsVerb::Egress(egress)) => egress::show(egress),
            Some(LogsVerb::Verify(verify)) => verify::verify(verify),
            Some(LogsVerb::Export(export)) => export::export(export),
            Some(LogsVerb::Schema) => egress::schema(),
            Some(LogsVerb::Rules) => egress::rules(),
        },
        Reading::Why(why) => why::explain(why),
        Reading::Learn(learn) => learn::learn(learn),
        Reading::Report(report) => report::write(report),
        Reading::Ps(ps) => ps::list(ps),
        Reading::Kill(kill) => kill::end(kill),
    }
}
