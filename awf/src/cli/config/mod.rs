//! `--config`: values for options that are not on the command line.
//!
//! Owns the configuration file: its keys, its reading, and that the command line beats it key by key,
//! without merging. Takes options as typed and the file, gives options as if everything had been
//! typed. Must never change anything, and never put a value of the file into a complaint about
//! another one.

mod merge;
pub(super) mod read;
pub mod schema;

use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::options::Args;
use super::usage::UsageError;
use crate::host::Caller;

/// Nobody writes as much by hand or by program, in bytes; a device would never end.
const MAX_SIZE: u64 = 4 << 20;

/// What only the configuration file can say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileOnly {
    /// `filesystem.allowWrite`.
    pub allow_write: Option<Vec<String>>,
    /// `chroot`.
    pub chroot: schema::Chroot,
    /// `container.runnerToolCachePath`.
    pub runner_tool_cache: Option<String>,
    /// `container.images`.
    pub images: Option<schema::Images>,
    /// `apiProxy`, without what options say.
    pub api_proxy: schema::ApiProxy,
}

/// Fills in what the file named by `--config` says, and tells what of it is not read.
pub(super) fn apply(
    args: &Args,
    caller: &Caller,
    notices: &mut Vec<String>,
) -> Result<Args, UsageError> {
    let Some(name) = &args.config else { return Ok(args.clone()) };
    let document = load(name, caller)?;
    let mut merged = args.clone();
    merge::fill(&mut merged, document, name, notices).map_err(UsageError::Config)?;
    Ok(merged)
}

/// Reads and checks the file, and gives what the user should know about it.
pub fn check(name: &str, caller: &Caller) -> Result<Vec<String>, UsageError> {
    let mut args = Args { config: Some(name.to_owned()), ..Args::default() };
    // Any command will do: the file has none.
    args.command.push("true".to_owned());
    Ok(super::Settings::resolve(&args, caller)?.notices)
}

/// The JSON Schema, 2020-12.
pub(super) fn json_schema() -> serde_json::Value {
    read::schema_of::<schema::File>()
}

/// The schema as text.
pub(super) fn schema_text() -> String {
    format!("{:#}\n", json_schema())
}

fn load(name: &str, caller: &Caller) -> Result<read::Document<schema::File>, UsageError> {
    let text = if name == "-" {
        let mut text = String::new();
        std::io::stdin()
            .take(MAX_SIZE)
            .read_to_string(&mut text)
            .map_err(|source| UsageError::file("--config", Path::new("-"), source))?;
        text
    } else {
        let path = caller.cwd.join(name);
        let refuse = |source| UsageError::file("--config", &path, source);
        let mut text = String::new();
        fs::File::open(&path)
            .and_then(|file| file.take(MAX_SIZE).read_to_string(&mut text))
            .map_err(refuse)?;
        text
    };
    read::read(("config", name), &text).map_err(UsageError::Config)
}
