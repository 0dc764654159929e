//! The command line as typed.
//!
//! Owns the options: the doc comment of each field is its help text, the only place where it is
//! described. Takes the arguments, gives a [`Request`] of strings. Must never look at the
//! environment or a file, and knows no default values; [`super::settings`] does.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use super::usage::{UsageError, presentable};
use crate::exit;

/// Headings under which `--help` groups the options.
const DOMAINS: &str = "Domains";
const SERVICES: &str = "This machine and containers";
const ENVIRONMENT: &str = "Environment";
const API: &str = "API proxy";
const FILES: &str = "Files";
const LIMITS: &str = "Limits and terminal";
const RUN: &str = "Run and logs";
const CONTAINERS: &str = "Containers";

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Run a command in the sandbox.
    Run(Box<Args>),
    /// Print what a run would do, and stop.
    Plan(Box<Args>),
    /// Obtain the images of the Docker runtime.
    Predownload(Box<Args>),
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
                      awf predownload [options]",
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

/// The options of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Args {
    /// Domains that may be reached, separated by commas: `example.com` with its subdomains,
    /// `*.example.com`, `http://` or `https://` before a name for one protocol only. Without any,
    /// nothing can be reached
    #[arg(short = 'd', long, value_name = "LIST", help_heading = DOMAINS)]
    pub allow_domains: Option<String>,

    /// File with more of them, one or several a line, `#` starts a comment
    #[arg(long, value_name = "FILE", help_heading = DOMAINS)]
    pub allow_domains_file: Option<String>,

    /// Domains that must not be reached, whatever is allowed
    #[arg(long, value_name = "LIST", help_heading = DOMAINS)]
    pub block_domains: Option<String>,

    /// File with more of them, in the same form
    #[arg(long, value_name = "FILE", help_heading = DOMAINS)]
    pub block_domains_file: Option<String>,

    /// Name servers that the proxy asks, as addresses separated by commas [default: those of this
    /// machine]
    #[arg(long, value_name = "LIST", help_heading = DOMAINS)]
    pub dns_servers: Option<String>,

    /// Let the command reach ports 80 and 443 of this machine, as `host.docker.internal`
    #[arg(long, help_heading = SERVICES)]
    pub enable_host_access: bool,

    /// Ports of this machine that may be reached, too, N or N-M separated by commas, none of them
    /// dangerous (SSH, databases and the like). `localhost` in the allowed domains opens this machine
    /// with the usual ports of development servers
    #[arg(long, value_name = "LIST", help_heading = SERVICES, allow_hyphen_values = true)]
    pub allow_host_ports: Option<String>,

    /// Ports of this machine that may be reached although they may be dangerous, such as those of a
    /// workflow's databases
    #[arg(long, value_name = "LIST", help_heading = SERVICES, allow_hyphen_values = true)]
    pub allow_host_service_ports: Option<String>,

    /// Let the command reach the ports that this running container exposes, by its name. May be
    /// repeated
    #[arg(long, value_name = "CONTAINER", help_heading = SERVICES, allow_hyphen_values = true)]
    pub topology_attach: Vec<String>,

    /// Set a variable for the command; beats every other source. May be repeated
    #[arg(short, long, value_name = "KEY=VALUE", help_heading = ENVIRONMENT)]
    pub env: Vec<String>,

    /// Pass all variables of the caller on, except credentials and those awf sets
    #[arg(long, help_heading = ENVIRONMENT)]
    pub env_all: bool,

    /// File with variables, one KEY=VALUE a line, values as they are, `#` starts a comment line
    #[arg(long, value_name = "FILE", help_heading = ENVIRONMENT)]
    pub env_file: Option<String>,

    /// Never pass this variable, wherever it comes from. May be repeated
    #[arg(long, value_name = "NAME", help_heading = ENVIRONMENT)]
    pub exclude_env: Vec<String>,

    /// Options of the API proxy.
    #[command(flatten)]
    pub api: ApiArgs,

    /// Show a file or directory of this machine in the sandbox, `rw` unless `ro` is said; `$NAME`
    /// and `${NAME}` are replaced. May be repeated
    #[arg(short = 'v', long, value_name = "HOST:CONTAINER[:ro|rw]", help_heading = FILES)]
    pub mount: Vec<String>,

    /// Directory in which the command starts [default: the workspace]
    #[arg(long, value_name = "DIR", help_heading = FILES)]
    pub container_workdir: Option<String>,

    /// Directory for the files of this run, hidden from the command [default: a new one for each
    /// run in the directory for temporary files]
    #[arg(long, value_name = "DIR", help_heading = FILES)]
    pub work_dir: Option<String>,

    /// Memory for the command, without swap: a number and b, k, m or g [default: 6g]
    #[arg(long, value_name = "SIZE", help_heading = LIMITS, allow_hyphen_values = true)]
    pub memory_limit: Option<String>,

    /// Processors for the command, such as 1.5 [default: all]
    #[arg(long, value_name = "CPUS", help_heading = LIMITS, allow_hyphen_values = true)]
    pub cpu_limit: Option<String>,

    /// Number of processes and threads for the command [default: 1000]
    #[arg(long, value_name = "NUMBER", help_heading = LIMITS, allow_hyphen_values = true)]
    pub pids_limit: Option<String>,

    /// Stop the command after so many minutes and end with code 124 [default: never]
    #[arg(long, value_name = "MINUTES", help_heading = LIMITS, allow_hyphen_values = true)]
    pub agent_timeout: Option<String>,

    /// Give the command a terminal
    #[arg(long, help_heading = LIMITS)]
    pub tty: bool,

    /// What the sandbox is made with: auto, docker or native [default: auto]
    #[arg(long, value_name = "NAME", help_heading = RUN)]
    pub runtime: Option<String>,

    /// How much of the kernel must stand behind the sandbox: full (with LSM programs, or no run),
    /// hardened (without them) or auto, the most that the kernel gives [default: auto]
    #[arg(long, value_name = "NAME", help_heading = RUN)]
    pub profile: Option<String>,

    /// Docker daemon on this machine: `unix:///PATH` or `tcp://127.0.0.1:PORT` [default:
    /// `DOCKER_HOST`, else `unix:///var/run/docker.sock`]
    #[arg(long, value_name = "ADDRESS", help_heading = CONTAINERS)]
    pub docker_host: Option<String>,

    /// Image of the agent's container: default, act, or a reference such as ubuntu:24.04 [default:
    /// default]
    #[arg(long, value_name = "IMAGE", help_heading = CONTAINERS)]
    pub agent_image: Option<String>,

    /// Where images are pulled from if they are not there: what stands before their names
    #[arg(long, value_name = "PREFIX", help_heading = CONTAINERS)]
    pub image_registry: Option<String>,

    /// Tag of awf's images, with digests of single ones if wanted [default: this version]
    #[arg(long, value_name = "TAG[,ROLE=DIGEST]", help_heading = CONTAINERS)]
    pub image_tag: Option<String>,

    /// Build awf's images on this machine
    #[arg(short, long, help_heading = CONTAINERS)]
    pub build_local: bool,

    /// Pull no image; one that is missing is an error
    #[arg(long, help_heading = CONTAINERS)]
    pub skip_pull: bool,

    /// Refused, with the reason
    #[arg(long, alias = "enable-docker", hide = true)]
    pub enable_dind: bool,

    /// Leave the sandbox and its files in place after the run
    #[arg(short, long, help_heading = RUN)]
    pub keep_containers: bool,

    /// What awf says on standard error: debug, info, warn or error [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = RUN)]
    pub log_level: Option<String>,

    /// Directory for the proxy's logs [default: squid-logs in the work directory]
    #[arg(long, value_name = "DIR", help_heading = RUN)]
    pub proxy_logs_dir: Option<String>,

    /// Directory for what was decided and done [default: `AWF_AUDIT_DIR`, else audit in the work
    /// directory]
    #[arg(long, value_name = "DIR", help_heading = RUN)]
    pub audit_dir: Option<String>,

    /// Words of the command before `--`; only a command without options can be written there.
    #[arg(hide = true)]
    pub words: Vec<String>,

    /// The command. One word is a line for the shell, several are a program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Where the API proxy sends requests that carry the caller's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct ApiArgs {
    /// Accepted for the sake of old command lines: the API proxy serves whose key is there.
    #[arg(long, hide = true)]
    pub enable_api_proxy: bool,

    /// Server that gets the key of `OPENAI_API_KEY` [default: `OPENAI_API_TARGET`, else
    /// api.openai.com]. It is added to the allowed domains, like those of the next four
    #[arg(long, value_name = "HOST", help_heading = API)]
    pub openai_api_target: Option<String>,

    /// Server that gets the key of `ANTHROPIC_API_KEY` [default: `ANTHROPIC_API_TARGET`, else
    /// api.anthropic.com]
    #[arg(long, value_name = "HOST", help_heading = API)]
    pub anthropic_api_target: Option<String>,

    /// Server that gets the token of `COPILOT_GITHUB_TOKEN`, or the key of
    /// `COPILOT_PROVIDER_API_KEY` [default: `COPILOT_API_TARGET`, else the one that belongs to
    /// `GITHUB_SERVER_URL` or `COPILOT_PROVIDER_BASE_URL`]
    #[arg(long, value_name = "HOST", help_heading = API)]
    pub copilot_api_target: Option<String>,

    /// Server that gets the key of `GEMINI_API_KEY` [default: `GEMINI_API_TARGET`, else
    /// generativelanguage.googleapis.com]
    #[arg(long, value_name = "HOST", help_heading = API)]
    pub gemini_api_target: Option<String>,

    /// Server that gets the key of `GOOGLE_API_KEY` [default: `VERTEX_API_TARGET`, else
    /// aiplatform.googleapis.com]
    #[arg(long, value_name = "HOST", help_heading = API)]
    pub vertex_api_target: Option<String>,

    /// What goes before the path of each request to `OpenAI`'s server [default:
    /// `OPENAI_API_BASE_PATH`, else /v1 for api.openai.com and nothing for others]
    #[arg(long, value_name = "PATH", help_heading = API)]
    pub openai_api_base_path: Option<String>,

    /// Likewise for Anthropic's [default: `ANTHROPIC_API_BASE_PATH`, else nothing]
    #[arg(long, value_name = "PATH", help_heading = API)]
    pub anthropic_api_base_path: Option<String>,

    /// Likewise for Gemini's [default: `GEMINI_API_BASE_PATH`, else nothing]
    #[arg(long, value_name = "PATH", help_heading = API)]
    pub gemini_api_base_path: Option<String>,

    /// Likewise for Vertex's [default: `VERTEX_API_BASE_PATH`, else nothing]
    #[arg(long, value_name = "PATH", help_heading = API)]
    pub vertex_api_base_path: Option<String>,
}

/// Reads a command line, program name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    // Not derived: clap would keep the text for good, and the table of codes is not a literal.
    let line = match parser().try_get_matches_from(arguments) {
        Ok(matches) => <CommandLine as clap::FromArgMatches>::from_arg_matches(&matches),
        Err(error) => Err(error),
    };
    match line {
        Ok(CommandLine { verb: Some(Verb::Plan(args)), .. }) => Ok(Request::Plan(args)),
        Ok(CommandLine { verb: Some(Verb::Predownload(args)), .. }) => {
            Ok(Request::Predownload(args))
        }
        Ok(CommandLine { verb: Some(Verb::Init { gate, alive }), .. }) => {
            Ok(Request::Init(gate.zip(alive)))
        }
        Ok(CommandLine { verb: Some(Verb::Hold { alive, messages, program }), .. }) => {
            Ok(Request::Hold { alive, messages, program })
        }
        Ok(CommandLine { verb: None, args }) => run(args),
        Err(error) => explain(&error),
    }
}

/// The parser, also for what is derived from it: manual and completions.
pub fn parser() -> clap::Command {
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
