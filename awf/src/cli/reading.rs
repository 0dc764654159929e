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
    /// Print what the rules of the record mean, and what to do about each
    Rules,
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
    /// Id of the run, where several left their lines in one file (default: the last)
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// File to write to instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `awf why`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(
    after_help = "With a TARGET, ends with 0 if it is allowed and 1 if it is denied; without one, with 0 once a record is \
                  explained; with 2 if neither can be told."
)]
pub struct WhyArgs {
    /// URL, host or address, with or without port (without: 443); udp://HOST:PORT for a datagram.
    /// Without a target, what a record says
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// The policy: options of a run. Without any of them, the policy of the source.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Number of the record's line, from 1; without it, the last one that was refused
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["target", "PolicyArgs"], value_parser = clap::value_parser!(u64).range(1..))]
    pub line: Option<u64>,
    /// Where record and policy are: a directory, a file, or a run
    #[arg(long, value_name = "SOURCE", conflicts_with = "PolicyArgs")]
    pub source: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of a run that say what may be reached.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[group(id = "PolicyArgs", multiple = true, requires = "target")]
pub struct PolicyArgs {
    /// Allowed domains, separated by commas, as for a run; the same is true of the next ones
    #[arg(short = 'd', long, value_name = "LIST")]
    pub allow_domains: Option<String>,
    /// File with more of them
    #[arg(long, value_name = "FILE")]
    pub allow_domains_file: Option<String>,
    /// Blocked domains
    #[arg(long, value_name = "LIST")]
    pub block_domains: Option<String>,
    /// File with more of them
    #[arg(long, value_name = "FILE")]
    pub block_domains_file: Option<String>,
    /// Ruleset with more allowed domains; may be repeated
    #[arg(long, value_name = "FILE")]
    pub ruleset_file: Vec<String>,
    /// Ports 80 and 443 of this machine are open
    #[arg(long)]
    pub enable_host_access: bool,
    /// More ports of this machine
    #[arg(long, value_name = "LIST")]
    pub allow_host_ports: Option<String>,
    /// Ports of this machine that may be dangerous
    #[arg(long, value_name = "LIST")]
    pub allow_host_service_ports: Option<String>,
    /// Audit mode
    #[arg(long)]
    pub audit_mode: bool,
    /// Configuration file with the policy
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,
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
#[command(
    after_help = "Ends with 0; with --against, 1 if something is missing in LIST; 2 if that cannot be told."
)]
pub struct LearnArgs {
    /// Where records are: directories, files or runs; may be repeated
    #[arg(long, value_name = "SOURCE")]
    pub source: Vec<String>,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    pub format: ProposalFormat,
    /// Compare with this list: a file of domains, a ruleset, or a comma-separated list
    #[arg(long, value_name = "LIST")]
    pub against: Option<String>,
    /// Fold so many names below one domain, or more, into one entry; never at a public suffix such
    /// as co.uk or github.io
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(2..))]
    pub fold: Option<u16>,
    /// Count names as needed that were refused, or that only audit mode let through
    #[arg(long)]
    pub denied: bool,
}

/// `awf report`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ReportArgs {
    /// Where the record is: a directory, a file, or a run
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Id of the run, where several left their lines in one file (default: the last)
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
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
