//! `awf logs` and those of its verbs that read Squid's logs: the original's commands, with its options, shapes and order.
//!
//! Takes a [`Source`]; gives text on standard output. `egress.jsonl` beside the logs tells who made a request, and what Squid
//! never saw. Must never: hold a log in memory, or fail because the reader of the output has gone.

mod access;
mod attempts;
mod audit;
mod audit_log;
mod audit_text;
mod denials;
mod entry;
mod follow;
mod manifest;
mod processes;
mod show;
mod text;
mod totals;
mod totals_json;
mod totals_text;

#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use self::denials::Denials;
use self::entry::Entry;
use self::manifest::{Manifest, Rules};
use self::processes::Processes;
use self::show::Manner;
use self::text::{Paint, counted};
use self::totals::{Beside, Totals};
use self::totals_text::Account;
use super::lines;
use super::source::{self, Found, Source};
use crate::cli::reading::{AuditArgs, LogsArgs, SummaryArgs, TotalsArgs, TotalsFormat};
use crate::exit::Exit;
use crate::host::Caller;
use crate::speech;

/// Domains in the summary of a workflow's step: GitHub takes 1 MiB.
const SUMMARY_DOMAINS: usize = 500;

/// The format of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `access.log`.
    Access,
    /// `audit.jsonl`.
    Audit,
}

impl Kind {
    fn parse(self, line: &str) -> Option<Entry<'_>> {
        match self {
            Self::Access => access::parse(line),
            Self::Audit => audit_log::parse(line),
        }
    }
}

/// A log of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    kind: Kind,
    path: PathBuf,
}

impl Log {
    /// The first of these that holds something; else the first that is there.
    fn of(source: &Source, order: [Kind; 2]) -> Option<Self> {
        let logs = order.map(|kind| match kind {
            Kind::Access => Self { kind, path: source.access() },
            Kind::Audit => Self { kind, path: source.audit() },
        });
        let length = |log: &Self| {
            fs::metadata(&log.path).ok().filter(fs::Metadata::is_file).map(|facts| facts.len())
        };
        let full = logs.iter().find(|log| length(log).is_some_and(|length| length > 0));
        full.or_else(|| logs.iter().find(|log| length(log).is_some())).cloned()
    }

    /// For people: the text.
    fn for_lines(source: &Source) -> Result<Self> {
        Self::of(source, [Kind::Access, Kind::Audit]).with_context(|| {
            format!("{} holds no log of Squid; see awf logs egress", source.logs.display())
        })
    }

    /// For counting: the one that has the rules.
    fn for_totals(source: &Source) -> Option<Self> {
        Self::of(source, [Kind::Audit, Kind::Access])
    }

    fn open(&self) -> Result<impl BufRead> {
        Ok(BufReader::with_capacity(1 << 16, source::open(&self.path)?))
    }

    /// Gives every entry to `see`, and the number of damaged lines at the end.
    fn each(&self, mut see: impl FnMut(&Entry<'_>) -> Result<()>) -> Result<u64> {
        let mut file = self.open()?;
        let (mut line, mut damaged) = (Vec::new(), 0);
        while lines::next(&mut file, &mut line)? {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let text = String::from_utf8_lossy(&line);
            match self.kind.parse(&text) {
                Some(entry) => see(&entry)?,
                None => damaged += 1,
            }
        }
        Ok(damaged)
    }
}

/// `awf logs`.
pub fn show(args: &LogsArgs) -> Result<Exit> {
    if args.list {
        return speech::print(&list(&Source::all()?)).map(|()| Exit::Agent(0));
    }
    let terminal = io::stdout().is_terminal();
    let manner = Manner { format: args.format, paint: Paint::of_stdout(), terminal, run: None };
    if args.follow {
        return follow::follow(args, &manner);
    }
    let source = Source::find(args.source.as_deref())?;
    let log = Log::for_lines(&source)?;
    let processes = if args.with_pid { Some(processes_of(&source)?) } else { None };
    let file = log.open()?;
    to_stdout(|out| {
        let damaged = show::file((log.kind, file), &manner, processes.as_ref(), out)?;
        tell_damaged(damaged, &log.path);
        Ok(())
    })
}

fn processes_of(source: &Source) -> Result<Processes> {
    let mut processes = Processes::default();
    let record = source.record();
    if !record.is_file() {
        tracing::warn!("--with-pid needs egress.jsonl, which is not in {}", source.logs.display());
        return Ok(processes);
    }
    let mut file = BufReader::new(source::open(&record)?);
    let mut line = Vec::new();
    while lines::next(&mut file, &mut line)? {
        processes.learn(&line);
    }
    Ok(processes)
}

fn tell_damaged(damaged: u64, path: &Path) {
    if damaged > 0 {
        tracing::warn!("{} in {}", counted(damaged, "damaged line"), path.display());
    }
}

/// What `--list` says.
fn list(sources: &[Source]) -> String {
    if sources.is_empty() {
        return "No log sources found.\n\nLogs are kept by every run of awf: in $AWF_LOGS_DIR or the directory of\n\
                --proxy-logs-dir, else as squid-logs-<number> among temporary files.\n"
            .to_owned();
    }
    let mut text = String::from("Log sources:\n");
    for source in sources {
        let changed = [source.access(), source.audit(), source.record()].into_iter();
        let changed = changed.filter_map(|path| fs::metadata(path).ok()?.modified().ok()).max();
        let changed = changed.and_then(|time| jiff::Timestamp::try_from(time).ok());
        let date = changed.map(|time| format!(" ({time:.0})")).unwrap_or_default();
        let path = source.logs.display().to_string();
        let (kind, name) = match &source.found {
            Found::Running(id) => {
                ("running", format!("{} (goes on, {})", text::shown(id), text::shown(&path)))
            }
            Found::Variable => ("AWF_LOGS_DIR", format!("{}{date}", text::shown(&path))),
            Found::Preserved => ("preserved", format!("{}{date}", text::shown(&path))),
            Found::Named => ("named", format!("{}{date}", text::shown(&path))),
        };
        text.extend([format!("  [{kind}] {name}\n")]);
    }
    text
}

/// What is counted of a source.
struct Counted {
    totals: Totals,
    rules: Rules,
    beside: Option<Beside>,
}

impl Counted {
    fn of(source: &Source) -> Result<Self> {
        let mut manifest = match source.manifest() {
            Some(path) => readable(&path).unwrap_or_default(),
            None => Manifest::default(),
        };
        let rules = manifest.rules();
        let (mut totals, mut denials) = (Totals::default(), Denials::of(source));
        if let Some(log) = Log::for_totals(source) {
            totals.damaged = log.each(|entry| {
                denials.learn(entry);
                totals.add(entry, &manifest.topology_peers, &rules);
                Ok(())
            })?;
            tell_damaged(totals.damaged, &log.path);
        }
        Ok(Self { totals, rules, beside: beside(source, &mut denials)? })
    }

    fn account(&self) -> Account<'_> {
        Account { totals: &self.totals, rules: &self.rules, beside: self.beside.as_ref() }
    }
}

/// The manifest, unless it is damaged: totals need none.
fn readable(path: &Path) -> Option<Manifest> {
    Manifest::read(path).inspect_err(|error| tracing::warn!("{error:#}")).ok()
}

/// The record beside the logs, if there is one that holds something.
fn beside(source: &Source, denials: &mut Denials) -> Result<Option<Beside>> {
    let record = source.record();
    if fs::metadata(&record).map_or(0, |facts| facts.len()) == 0 {
        return Ok(None);
    }
    let beside = Beside::read(
        BufReader::with_capacity(1 << 16, source::open(&record)?),
        denials,
        |_line, _verdict| true,
    )?;
    tell_damaged(beside.damaged, &record);
    Ok(Some(beside))
}

/// `awf logs stats`.
pub fn stats(args: &TotalsArgs) -> Result<Exit> {
    let source = Source::find(args.source.as_deref())?;
    if args.format != TotalsFormat::Json {
        tell_source(&source);
    }
    print_totals(&Counted::of(&source)?.account(), args.format)
}

/// `awf logs summary`.
pub fn summary(args: &SummaryArgs) -> Result<Exit> {
    let source = Source::find(args.source.as_deref())?;
    if args.format == TotalsFormat::Pretty {
        tell_source(&source);
    }
    let counted = Counted::of(&source)?;
    if args.step_summary {
        let caller = Caller::inspect()?;
        let path = caller.env.get("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
        if let Some(path) = path {
            append(Path::new(path), &counted.account().markdown(SUMMARY_DOMAINS))?;
        } else {
            tracing::warn!("--step-summary: GITHUB_STEP_SUMMARY is not set");
        }
    }
    print_totals(&counted.account(), args.format)
}

fn append(path: &Path, text: &str) -> Result<()> {
    let append = || {
        let mut file = fs::File::options().create(true).append(true).open(path)?;
        file.write_all(format!("{text}\n").as_bytes())
    };
    append().with_context(|| format!("append the summary to {}", path.display()))
}

fn tell_source(source: &Source) {
    match &source.found {
        Found::Running(id) => tracing::info!("Using logs of run {id}, which goes on"),
        Found::Named | Found::Variable | Found::Preserved => {
            tracing::info!("Using logs from: {}", source.logs.display());
        }
    }
}

/// Every text ends with an empty line, as the original's do.
fn print_totals(account: &Account<'_>, format: TotalsFormat) -> Result<Exit> {
    let text = match format {
        TotalsFormat::Json => account.json()?,
        TotalsFormat::Markdown => account.markdown(usize::MAX),
        TotalsFormat::Pretty => account.pretty(Paint::of_stdout()),
    };
    speech::print(&(text + "\n")).map(|()| Exit::Agent(0))
}

/// `awf logs audit`.
pub fn audit(args: &AuditArgs) -> Result<Exit> {
    let source = Source::find(args.source.as_deref())?;
    let Some(path) = source.manifest() else {
        bail!(
            "No policy-manifest.json found beside {}; name its directory in AWF_AUDIT_DIR",
            source.logs.display()
        );
    };
    let mut manifest = Manifest::read(&path)?;
    let rules = manifest.rules();
    let audit = audit::Audit { source: &source, manifest: &manifest, rules: &rules, args };
    to_stdout(|out| audit.print(Paint::of_stdout(), out))
}

/// Writes to standard output. That its reader has gone is no error.
fn to_stdout(
    write: impl FnOnce(&mut BufWriter<io::StdoutLock<'static>>) -> Result<()>,
) -> Result<Exit> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    match written {
        Err(error) if !is_closed(&error) => Err(error),
        _ => Ok(Exit::Agent(0)),
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe)
}
