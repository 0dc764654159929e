//! Rows of the command line: what settings, notices, output or error words give.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use awf::cli::{Request, Settings, parse};
use awf::host::Caller;
use awf_tests::Scratch;
use serde::Deserialize;

use crate::rows::{Row, Words};

/// A row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    awf: Words,
    /// The words are the whole line; otherwise a command is added.
    #[serde(default)]
    whole: bool,
    /// Variables of the caller.
    #[serde(default)]
    caller: BTreeMap<String, String>,
    means: Option<String>,
    says: Option<String>,
    prints: Option<String>,
    error: Option<String>,
    /// What no message may hold.
    silent: Option<String>,
    differs: Option<String>,
}

/// What `openssl genpkey -algorithm ed25519` wrote once.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIIx6FLshemXmVySS0Uvt7ZDc5R5wKpEe0AO/BJsAa3cU
-----END PRIVATE KEY-----
";

/// A directory with the files that rows name.
pub fn scratch() -> Scratch {
    let scratch = Scratch::new("compat");
    let place = |name: &str| scratch.path().join(name);
    fs::write(place("list"), "# c\none.example\ntwo.example, three.example # c\n\nfour.example\n")
        .expect("a list");
    fs::write(place("empty"), "").expect("a file");
    fs::write(place("file"), "").expect("a file");
    fs::write(place("vars"), "A=1\n").expect("variables");
    fs::write(place("rules.yml"), "version: 1\nrules:\n  - domain: r.example\n").expect("rules");
    fs::write(place("key"), KEY).expect("a key");
    fs::set_permissions(place("key"), fs::Permissions::from_mode(0o600)).expect("a private key");
    fs::create_dir(place("dir")).expect("a directory");
    symlink("/tmp", place("link")).expect("a link");
    scratch
}

/// The row's words with its places filled in.
pub fn filled(text: &str, scratch: &Scratch) -> String {
    text.replace("@/", &format!("{}/", scratch.path().display()))
        .replace("@hex64", &"0123456789abcdef".repeat(4))
        .replace("@version", env!("CARGO_PKG_VERSION"))
}

/// Somebody without variables but these.
pub fn caller(variables: &BTreeMap<String, String>, scratch: &Scratch) -> Caller {
    let mut env: BTreeMap<String, String> = [("HOME".to_owned(), "/home/user".to_owned())].into();
    env.extend(variables.iter().map(|(name, value)| (name.clone(), filled(value, scratch))));
    Caller {
        euid: 0,
        uid: 1000,
        gid: 1000,
        user: "user".to_owned(),
        home: "/home/user".into(),
        env,
        cwd: scratch.path().to_owned(),
        search_path: String::new(),
        notices: Vec::new(),
    }
}

/// What awf makes of words: settings and notices, or output, or an error.
pub enum Sense {
    /// A run with these.
    Run(Box<Settings>),
    /// This is printed.
    Print(String),
    /// This is wrong.
    Error(String),
}

/// Reads a line.
pub fn sense(words: &[String], caller: &Caller) -> Sense {
    let line = std::iter::once("awf".into()).chain(words.iter().map(Into::into));
    match parse(line) {
        Ok(Request::Run(args)) => match Settings::resolve(&args, caller) {
            Ok(settings) => Sense::Run(Box::new(settings)),
            Err(error) => Sense::Error(error.to_string()),
        },
        Ok(Request::Say(text)) => Sense::Print(text),
        Ok(other) => Sense::Error(format!("not a run: {other:?}")),
        Err(error) => Sense::Error(error.to_string()),
    }
}

/// Whether a text holds what the row says.
pub fn holds(
    what: &str,
    text: &str,
    part: Option<&String>,
    scratch: &Scratch,
) -> Result<(), String> {
    match part.map(|part| filled(part, scratch)) {
        Some(part) if !text.contains(&part) => Err(format!("{what} lacks `{part}`: {text}")),
        _ => Ok(()),
    }
}

impl Row for Line {
    fn what(&self) -> String {
        let variables = self.caller.iter().map(|(name, value)| format!("{name}={value}"));
        variables.chain(self.awf.list()).collect::<Vec<_>>().join(" ")
    }

    fn becomes(&self) -> String {
        match (&self.error, &self.says) {
            (Some(_), _) => "refused".to_owned(),
            (None, Some(words)) => format!("told: {words}"),
            _ => "accepted".to_owned(),
        }
    }

    fn differs(&self) -> Option<&str> {
        self.differs.as_deref()
    }

    fn check(&self) -> Result<(), String> {
        let scratch = scratch();
        let caller = caller(&self.caller, &scratch);
        let mut words: Vec<String> =
            self.awf.list().iter().map(|word| filled(word, &scratch)).collect();
        if !self.whole {
            words.extend(["--".to_owned(), "true".to_owned()]);
        }
        match sense(&words, &caller) {
            Sense::Error(error) => {
                if self.silent.as_ref().is_some_and(|word| error.contains(word)) {
                    return Err(format!("tells: {error}"));
                }
                match &self.error {
                    Some(_) => holds("the error", &error, self.error.as_ref(), &scratch),
                    None => Err(error),
                }
            }
            Sense::Print(text) => holds("the output", &text, self.prints.as_ref(), &scratch),
            Sense::Run(_) if self.error.is_some() => Err("accepted".to_owned()),
            Sense::Run(settings) => {
                holds("the notices", &settings.notices.join("\n"), self.says.as_ref(), &scratch)?;
                holds("the meaning", &format!("{settings:?}"), self.means.as_ref(), &scratch)
            }
        }
    }
}
