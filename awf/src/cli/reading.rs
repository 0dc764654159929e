//! The commands that read what runs have left, as typed.
//!
//! Owns their options; doc comments are their help. Takes nothing, gives [`Reading`]. Must never look at the environment or a
//! file.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// A command that reads.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Reading {
    /// Show what a run reached and was refused
    Logs(LogsArgs),
    /// Explain why something is allowed or denied: a URL against a policy, or a record
    Why(WhyArgs),
    /// Propose the smallest allow list that covers what a run needed
    Learn(LearnArgs),
    /// Write one self-contained HTML page about a run
    Report(ReportArgs),
    /// List runs that go on
    Ps(PsArgs),
    /// End a run and everything in it
    Kill(KillArgs),
}

/// `awf logs`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LogsArgs {
    /// What to show of them.
    #[command(subcommand)]
    pub verb: Option<LogsVerb>,
    /// Go on while lines are added
    #[arg(short, long)]
    pub follow: bool,
    /// How to print a line
    #[arg(long, value_enum, default_value_t)]
    pub format: LineFormat,
    /// Where the logs are: a directory, a file, a run, or running
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// List the places where logs were found, and stop
    #[arg(long)]
    pub list: bool,
    /// Name the process behind each line
    #[arg(long)]
    pub with_pid: bool,
}

/// `awf logs VERB`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum LogsVerb {
    /// Count requests by domain and rule
    Stats(TotalsArgs),
    /// The same as Markdown, for the summary of a workflow
    Summary(SummaryArgs),
    /// Show which rule decided each request
    Audit(AuditArgs),
    /// Show the record of every attempt, with the process behind it
    Egress(EgressArgs),
    /// Check that a record is whole, and by whom it was signed
    Verify(VerifyArgs),
    /// Give the record in the format of another tool
    Export(ExportArgs),
    /// Print the JSON Schema of the record
    Schema,
}

/// How lines are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LineFormat {
    /// As they are
    Raw,
    /// For people
    #[default]
    Pretty,
    /// One JSON object for each
    Json,
}

/// How totals are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TotalsFormat {
    /// For programs
    Json,
    /// For the summary of a workflow
    Markdown,
    /// For people
    Pretty,
}

/// `awf logs stats`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TotalsArgs {
    /// How to print them
    #[arg(long, value_enum, default_value = "pretty")]
    pub format: TotalsFormat,
    /// Where the logs are: a directory, a file, a run, or running
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
}

/// `awf logs summary`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SummaryArgs {
    /// How to print it
    #[arg(long, value_enum, default_value = "markdown")]
    pub format: TotalsFormat,
    /// Where the logs are: a directory, a file, a run, or running
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Append it to the summary of the GitHub step, too, if there is one
    #[arg(long)]
    pub step_summary: bool,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Decision {
    /// It was let through
    Allowed,
    /// It was refused
    Denied,
    /// It was let through, but not answered
    Error,
}

/// `awf logs audit`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct AuditArgs {
    /// How to print it
    #[arg(long, value_enum, default_value = "pretty")]
    pub format: TotalsFormat,
    /// Where the logs are: a directory, a file, a run, or running
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Only what this rule decided
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
    /// Only domains with this text in them
    #[arg(long, value_name = "TEXT")]
    pub domain: Option<String>,
    /// Only what was allowed, denied, or failed
    #[arg(long, value_enum)]
    pub decision: Option<Decision>,
}

/// `awf logs egress`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct EgressArgs {
    /// Go on while lines are added; without a source, of all runs
    #[arg(short, long)]
    pub follow: bool,
    /// How to print a line
    #[arg(long, value_enum, default_value_t)]
    pub format: LineFormat,
    /// Where the record is: a directory, a file, a run, or running
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Only attempts with this verdict: allow, deny or error
    #[arg(long, value_name = "VERDICT", value_parser = ["allow", "deny", "error"])]
    pub verdict: Option<String>,
    /// Only what this rule decided
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
    /// Only names and addresses with this text in them
    #[arg(long, value_name = "TEXT")]
    pub domain: Option<String>,
    /// Only processes with this id, task name or executable, or with such an ancestor
    #[arg(long, value_name = "PROCESS")]
    pub process: Option<String>,
}

/// `awf logs verify`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct VerifyArgs {
    /// Where the record is: a directory, a file, or a run
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Ed25519 public key (PEM) by which it must be signed
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
}

/// What a record is exported for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// OpenTelemetry logs
    Otlp,
    /// OCSF network activity
    Ocsf,
    /// SARIF of what was refused
    Sarif,
    /// Prometheus text of the final counters
    Prometheus,
}

/// `awf logs export`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ExportArgs {
    /// For what
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// Where the record is: a directory, a file, or a run
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// File to write to instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `awf why`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct WhyArgs {
    /// URL, or host with or without port; without one, what a record says
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Allowed domains of the policy, comma-separated; without any, the policy of the source
    #[arg(long, value_name = "LIST")]
    pub allow_domains: Option<String>,
    /// Blocked domains of the policy, comma-separated
    #[arg(long, value_name = "LIST")]
    pub block_domains: Option<String>,
    /// Configuration file with the policy
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,
    /// Number of the record's line, from 1; without it, the last one that was refused
    #[arg(long, value_name = "NUMBER", conflicts_with = "target")]
    pub line: Option<u64>,
    /// Where the record is: a directory, a file, or a run
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// How a proposal is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProposalFormat {
    /// For people, with evidence
    #[default]
    Pretty,
    /// Value of --allow-domains
    List,
    /// Ruleset file for --ruleset-file
    Ruleset,
    /// For programs
    Json,
}

/// `awf learn`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LearnArgs {
    /// Where records are: directories, files or runs; may be repeated
    #[arg(long, value_name = "SOURCE")]
    pub source: Vec<String>,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    pub format: ProposalFormat,
    /// Compare with this list: a file of domains, or a comma-separated list
    #[arg(long, value_name = "LIST")]
    pub against: Option<String>,
    /// Fold at least this many names below one domain into a wildcard
    #[arg(long, value_name = "NUMBER")]
    pub fold: Option<usize>,
    /// Count names that were refused as needed
    #[arg(long)]
    pub denied: bool,
}

/// `awf report`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ReportArgs {
    /// Where the record is: a directory, a file, or a run
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// File to write to; without it, standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `awf ps`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct PsArgs {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `awf kill`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct KillArgs {
    /// Id of the run, or its beginning; see awf ps
    #[arg(value_name = "RUN")]
    pub run: String,
}
