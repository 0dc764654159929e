//! The command line as typed.
//!
//! Owns the verbs and their notation; [`super::options`] has the options of a run. Takes the
//! arguments, gives a [`Request`] of strings. Must never look at the environment or a file.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use super::config;
use super::legacy;
use super::options::Args;
use super::reading::Reading;
use super::reference;
use super::usage::{UsageError, presentable};
use crate::exit;

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Run a command in the sandbox.
    Run(Box<Args>),
    /// Print what a run would do, and stop.
    Plan(Box<Args>),
    /// Obtain the images of the Docker runtime.
    Predownload(Box<Args>),
    /// Check a configuration file, and stop.
    CheckConfig(String),
    /// Say what this machine lacks, and stop.
    Doctor {
        /// As JSON.
        json: bool,
    },
    /// Read what runs have left, or look at those that go on.
    Read(Box<Reading>),
    /// Be the first process inside the sandbox; in a container, wait at this socket for the loader, which lives as long as
    /// this file is locked.
    Init(Option<(PathBuf, PathBuf)>),
    /// Run a program as long as a file is locked by somebody, and append its messages to another.
    Hold {
        /// The locked file.
        alive: PathBuf,
        /// The file for messages.
        messages: PathBuf,
        /// The program and its arguments.
        program: Vec<String>,
    },
    /// Print this text, help or version, and stop.
    Say(String),
}

/// Run a command so that it can reach the domains you allow and nothing else.
#[derive(Debug, Parser)]
#[command(
    name = "awf",
    version,
    override_usage = "awf [options] -- command...\n       awf plan [options] -- command...\n       \
                      awf predownload [options]\n       awf config check FILE | schema\n       awf doctor [--json]\n       \
                      awf logs | why | learn | report | ps | kill\n       awf completions SHELL | man",
    args_conflicts_with_subcommands = true,
    args_override_self = true
)]
struct CommandLine {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    args: Args,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print everything that a run would do, without privilege and without doing it
    #[command(override_usage = "awf plan [options] -- command...", args_override_self = true)]
    Plan(Box<Args>),
    /// Pull or build the images of the Docker runtime, so that no run has to
    #[command(override_usage = "awf predownload [options]", args_override_self = true)]
    Predownload(Box<Args>),
    /// Check a configuration file, or print the schema of all
    Config {
        /// What to do.
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Print the script that completes options in a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    /// Print the reference of options and keys
    #[command(hide = true)]
    Options,
    #[command(flatten)]
    Reading(Reading),
    /// Say what a run needs, whether this machine has it, and the command that helps. Ends with 0 if a run is possible, else
    /// with 1
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// First process inside the sandbox; started by awf itself
    #[command(hide = true)]
    Init {
        /// Socket at which to wait for the loader.
        #[arg(requires = "alive")]
        gate: Option<PathBuf>,
        /// File that the loader has locked.
        alive: Option<PathBuf>,
    },
    /// First process of the proxy's container; started by awf itself
    #[command(hide = true)]
    Hold {
        /// File that the loader has locked.
        alive: PathBuf,
        /// File for the program's messages.
        messages: PathBuf,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        program: Vec<String>,
    },
}

/// What `awf config` does.
#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Say everything that is wrong with a configuration file, or nothing
    Check {
        /// The file; - is standard input
        file: String,
    },
    /// Print the JSON Schema of configuration files
    Schema,
}

/// Reads a command line, program name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    use clap::FromArgMatches as _;
    // Not derived: clap would keep the text for good, and the tables are not literals.
    let matches = match parser().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return explain(&error),
    };
    let CommandLine { verb, mut args } = match CommandLine::from_arg_matches(&matches) {
        Ok(line) => line,
        Err(error) => return explain(&error),
    };
    let legacy = legacy::typed(matches.subcommand().map_or(&matches, |(_name, below)| below));
    match verb {
        Some(Verb::Plan(args)) => Ok(Request::Plan(Box::new(Args { legacy, ..*args }))),
        Some(Verb::Predownload(args)) => {
            Ok(Request::Predownload(Box::new(Args { legacy, ..*args })))
        }
        Some(Verb::Config { verb: ConfigVerb::Check { file } }) => Ok(Request::CheckConfig(file)),
        Some(Verb::Config { verb: ConfigVerb::Schema }) => Ok(Request::Say(config::schema_text())),
        Some(Verb::Completions { shell }) => Ok(Request::Say(reference::completions(shell))),
        Some(Verb::Man) => Ok(Request::Say(reference::manual())),
        Some(Verb::Options) => Ok(Request::Say(reference::options())),
        Some(Verb::Reading(reading)) => Ok(Request::Read(Box::new(reading))),
        Some(Verb::Doctor { json }) => Ok(Request::Doctor { json }),
        Some(Verb::Init { gate, alive }) => Ok(Request::Init(gate.zip(alive))),
        Some(Verb::Hold { alive, messages, program }) => {
            Ok(Request::Hold { alive, messages, program })
        }
        None => {
            args.legacy = legacy;
            run(args)
        }
    }
}

/// The parser.
pub fn parser() -> clap::Command {
    ["plan", "predownload"]
        .into_iter()
        .fold(legacy::teach(shown()), |command, verb| command.mut_subcommand(verb, legacy::teach))
}

/// The parser without what is not advertised, for what is derived from it.
pub(super) fn shown() -> clap::Command {
    use clap::CommandFactory as _;
    CommandLine::command().after_long_help(exit_codes())
}

/// A word before `--` that is a subcommand's name was meant as one, but clap takes subcommands in
/// the first place only. Behind `--` the name is the user's.
fn run(args: Args) -> Result<Request, UsageError> {
    match args.words.first() {
        Some(verb) if parser().find_subcommand(verb).is_some() => {
            Err(UsageError::VerbAfterOptions { verb: verb.clone() })
        }
        _ => Ok(Request::Run(Box::new(args))),
    }
}

/// The table of exit codes for `--help`.
fn exit_codes() -> String {
    let row = |(exit, meaning): &(exit::Exit, &str)| format!("  {:>3}  {meaning}\n", exit.code());
    let rows: String = exit::TABLE.iter().map(row).collect();
    format!("Exit codes:\n  the command's own, and\n{rows}")
}

/// What clap calls an error is help, version, or really one.
fn explain(error: &clap::Error) -> Result<Request, UsageError> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp => Ok(Request::Say(text)),
        // Scripts compare it: the number alone.
        ErrorKind::DisplayVersion => Ok(Request::Say(format!("{}\n", env!("CARGO_PKG_VERSION")))),
        ErrorKind::UnknownArgument => Err(unknown(error, &text)),
        _ => Err(syntax(&text)),
    }
}

fn unknown(error: &clap::Error, text: &str) -> UsageError {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        _ => None,
    };
    let Some(option) = word(ContextKind::InvalidArg).filter(|word| word.starts_with('-')) else {
        return syntax(text);
    };
    let similar = word(ContextKind::SuggestedArg).map(|other| format!("did you mean '{other}'? "));
    let remedy = "put -- before the command if the option belongs to it; see awf --help";
    let remedy = format!("{}{remedy}", similar.unwrap_or_default());
    UsageError::UnknownOption { option, remedy }
}

/// clap's words without its prefix, which `main` writes, and without the usage lines below.
fn syntax(text: &str) -> UsageError {
    let first = text.split("\n\n").next().unwrap_or(text);
    let sentence = first.strip_prefix("error: ").unwrap_or(first).trim();
    UsageError::Syntax { sentence: presentable(sentence) }
}

#[cfg(test)]
mod tests {
    use super::super::options::{CONTAINERS, DOMAINS, ENVIRONMENT, FILES, LIMITS, RUN, SERVICES};
    use super::*;

    fn ask(line: &[&str]) -> Result<Request, UsageError> {
        parse(["awf"].iter().chain(line).map(OsString::from))
    }

    #[track_caller]
    fn run_args(line: &[&str]) -> Args {
        match ask(line).unwrap() {
            Request::Run(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn said(line: &[&str]) -> String {
        match ask(line).unwrap() {
            Request::Say(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refusal(line: &[&str]) -> String {
        ask(line).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_is_consistent() {
        parser().debug_assert();
    }

    #[test]
    fn options_are_read_in_every_spelling() {
        for line in [
            ["--allow-domains", "a.com", "curl", "u"].as_slice(),
            &["--allow-domains=a.com", "curl", "u"],
            &["-d", "a.com", "curl", "u"],
            &["curl", "-d", "a.com", "u"],
            &["curl", "u", "-d", "a.com"],
        ] {
            let args = run_args(line);
            assert_eq!(args.allow_domains.as_deref(), Some("a.com"));
            assert_eq!(args.words, ["curl", "u"]);
        }
    }

    #[test]
    fn nothing_has_a_default_yet() {
        let args = run_args(&["--", "true"]);
        assert_eq!(args, Args { command: vec!["true".into()], ..Args::default() });
    }

    #[test]
    fn the_last_of_several_values_wins_silently() {
        let args = run_args(&["-d", "a", "--tty", "--allow-domains", "b", "--tty", "x"]);
        assert_eq!((args.allow_domains.as_deref(), args.tty), (Some("b"), true));
    }

    #[test]
    fn repeatable_options_collect() {
        let line = ["-e", "A=1", "--env", "A=2", "-v", "/a:/b", "--mount=/c:/d:ro"];
        let args = run_args(&[&line[..], &["--exclude-env", "X", "--exclude-env", "Y"]].concat());
        assert_eq!(args.env, ["A=1", "A=2"]);
        assert_eq!(args.mount, ["/a:/b", "/c:/d:ro"]);
        assert_eq!(args.exclude_env, ["X", "Y"]);
    }

    #[test]
    fn behind_two_dashes_everything_is_the_command() {
        assert_eq!(run_args(&["--", "curl", "-f", "--tty"]).command, ["curl", "-f", "--tty"]);
        assert_eq!(run_args(&["--", "plan", "x"]).command, ["plan", "x"]);
        assert_eq!(run_args(&["--", "init"]).command, ["init"]);
        assert_eq!(run_args(&["--", "help"]).command, ["help"]);
        assert_eq!(run_args(&["-d", "a", "--", "logs"]).command, ["logs"]);
        assert_eq!(run_args(&["--", "a", "--", "b"]).command, ["a", "--", "b"]);
    }

    #[test]
    fn subcommands_stand_first() {
        let Request::Plan(args) = ask(&["plan", "-d", "a", "-d", "b", "--", "x", "-y"]).unwrap()
        else {
            panic!("not a plan");
        };
        assert_eq!(
            (args.allow_domains.as_deref(), args.command),
            (Some("b"), vec!["x".into(), "-y".into()])
        );
        assert_eq!(ask(&["doctor"]).unwrap(), Request::Doctor { json: false });
        assert_eq!(ask(&["doctor", "--json"]).unwrap(), Request::Doctor { json: true });
        assert_eq!(run_args(&["--", "doctor"]).command, ["doctor"]);
        assert!(refusal(&["doctor", "--fix"]).starts_with("unknown option '--fix'"));
        assert!(said(&["--help"]).contains("awf doctor [--json]"));
        assert_eq!(ask(&["init"]).unwrap(), Request::Init(None));
        let gate = Some(("/s".into(), "/a".into()));
        assert_eq!(ask(&["init", "/s", "/a"]).unwrap(), Request::Init(gate));
        assert!(refusal(&["init", "/s"]).contains("required"));
        assert!(refusal(&["init", "/s", "/a", "now"]).contains("'now'"));
        assert!(refusal(&["-d", "a", "plan", "--", "x"]).starts_with("'plan' must come first"));
        assert_eq!(run_args(&["planning"]).words, ["planning"]);
        assert_eq!(run_args(&["echo", "plan"]).words, ["echo", "plan"]);
    }

    #[test]
    fn an_unknown_option_is_named_with_the_way_out() {
        let text = refusal(&["--allow-domains", "a.com", "curl", "-f", "u"]);
        assert!(text.starts_with("unknown option '-f'; put -- before the command"), "{text}");
        let text = refusal(&["--allow-domain", "a.com"]);
        assert!(
            text.starts_with("unknown option '--allow-domain'; did you mean '--allow-domains'?"),
            "{text}"
        );
        assert!(refusal(&["plan", "--x"]).starts_with("unknown option '--x'"));
    }

    #[test]
    fn no_refusal_passes_control_characters_on() {
        let text = refusal(&["--x\u{1b}[2J\r"]);
        assert!(text.starts_with(r"unknown option '--x\u{1b}[2J\r'"), "{text}");
        for line in [&["--tty=\u{1b}[2J"][..], &["plan", "-\u{9b}"], &["--tty=\u{7f}"]] {
            let text = refusal(line);
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        }
    }

    #[test]
    fn a_missing_value_is_one_sentence() {
        let text = refusal(&["--memory-limit"]);
        assert_eq!(text, "a value is required for '--memory-limit <SIZE>' but none was supplied");
        assert!(refusal(&["-d", "--tty"]).starts_with("a value is required"));
    }

    #[test]
    fn negative_numbers_reach_the_check_of_their_option() {
        assert_eq!(run_args(&["--agent-timeout", "-5", "x"]).agent_timeout.as_deref(), Some("-5"));
        assert_eq!(run_args(&["--pids-limit=-1", "x"]).pids_limit.as_deref(), Some("-1"));
    }

    #[test]
    fn the_version_is_a_bare_number() {
        for option in ["-V", "--version"] {
            assert_eq!(said(&[option]), concat!(env!("CARGO_PKG_VERSION"), "\n"));
        }
    }

    #[test]
    fn help_is_grouped_and_complete() {
        for line in [["--help"].as_slice(), &["-h"], &["plan", "--help"], &["help", "plan"]] {
            let text = said(line);
            for heading in [DOMAINS, SERVICES, ENVIRONMENT, FILES, LIMITS, RUN, CONTAINERS] {
                assert!(text.contains(&format!("\n{heading}:\n")), "{line:?} {heading}\n{text}");
            }
            assert!(!text.contains("init"));
        }
        assert!(said(&["--help"]).contains("  124  --agent-timeout expired"));
    }

    #[test]
    fn every_option_is_documented() {
        let undocumented: Vec<String> = parser()
            .get_arguments()
            .filter(|arg| arg.get_help().is_none())
            .map(|arg| arg.get_id().to_string())
            .filter(|name| !matches!(name.as_str(), "help" | "version"))
            .collect();
        assert!(undocumented.is_empty(), "{undocumented:?}");
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        let line = [OsString::from("awf"), "--".into(), OsString::from_vec(vec![0xff])];
        assert!(parse(line).unwrap_err().to_string().contains("UTF-8"));
    }
}
