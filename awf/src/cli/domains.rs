//! Lists: domains and name servers.
//!
//! Owns the splitting of lists and list files. Takes text and files, gives entries with the place
//! they came from, so that a complaint about one can name it. The grammar of an entry is
//! `policy`'s; nothing here looks inside.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::usage::UsageError;
use super::{ruleset, services};
use crate::host::Caller;

/// Largest file that an option may name, in bytes. 100,000 domains are about 3 MB; what is larger
/// is a device or a mistake, and would be read for ever.
const MAX_FILE: u64 = 64 << 20;

/// One entry of a domain list, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainEntry {
    /// As written, without surrounding space.
    pub text: String,
    /// Where it was written.
    pub origin: Origin,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On the command line, behind this option.
    Flag(&'static str),
    /// In a file.
    Line {
        /// The option that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Line { flag, path, line } => write!(f, "{flag} {}:{line}", path.display()),
        }
    }
}

/// The entries of a comma-separated list.
pub(super) fn from_flag(flag: &'static str, list: &str) -> Vec<DomainEntry> {
    let entry = |text: &str| DomainEntry { text: text.to_owned(), origin: Origin::Flag(flag) };
    items(list).map(entry).collect()
}

/// The entries of a file: one or several a line, `#` starts a comment anywhere.
pub(super) fn from_file(flag: &'static str, path: &Path) -> Result<Vec<DomainEntry>, UsageError> {
    let text = read_text(path).map_err(|source| UsageError::file(flag, path, source))?;
    let mut entries = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.split('#').next().unwrap_or_default();
        entries.extend(items(content).map(|text| DomainEntry {
            text: text.to_owned(),
            origin: Origin::Line { flag, path: path.to_owned(), line },
        }));
    }
    Ok(entries)
}

/// A list however it is given: a file as `--allow-domains-file` or `--ruleset-file` takes it, else entries separated by commas.
pub fn listed(
    flag: &'static str,
    said: &str,
    caller: &Caller,
) -> Result<Vec<DomainEntry>, UsageError> {
    let path = caller.cwd.join(said);
    if !path.is_file() {
        let is_path = said.contains('/') && !said.contains("://") && !said.contains(',');
        return if is_path {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            Err(UsageError::file(flag, &path, missing))
        } else {
            Ok(from_flag(flag, said))
        };
    }
    let text = read_text(&path).map_err(|source| UsageError::file(flag, &path, source))?;
    let is_ruleset = text.trim_start().starts_with('{')
        || text.lines().any(|line| line.trim_end().starts_with("rules:"));
    let mut entries = Vec::new();
    if is_ruleset {
        ruleset::extend(&mut entries, &[said.to_owned()], caller)?;
    } else {
        entries = from_file(flag, &path)?;
    }
    services::replace_localhost(&mut entries);
    Ok(entries)
}

/// `--dns-servers`: addresses, each once.
pub(super) fn name_servers(list: &str) -> Result<Vec<IpAddr>, UsageError> {
    let refuse = |value: &str, problem: &str| {
        let remedy = "write addresses separated by commas, such as 1.1.1.1,2606:4700:4700::1111";
        UsageError::value("--dns-servers", value, problem, remedy)
    };
    let mut servers = Vec::new();
    for item in items(list) {
        let server: IpAddr = item.parse().map_err(|_form| refuse(item, "not an IP address"))?;
        let plain = server.to_canonical();
        if plain.is_unspecified() || plain.is_multicast() || item == "255.255.255.255" {
            return Err(refuse(item, "no server can have this address"));
        }
        if !servers.contains(&plain) {
            servers.push(plain);
        }
    }
    if servers.is_empty() { Err(refuse(list, "the list is empty")) } else { Ok(servers) }
}

/// A text file of bounded size, without byte order mark.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB"));
    }
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The non-empty items of a comma-separated list.
pub(super) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn texts(entries: &[DomainEntry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.text.as_str()).collect()
    }

    #[test]
    fn lists_are_split_at_commas() {
        assert_eq!(texts(&from_flag("--allow-domains", " a.com, ,b.com,,")), ["a.com", "b.com"]);
        assert!(from_flag("--allow-domains", "").is_empty());
    }

    #[test]
    fn files_hold_lists_and_comments() {
        let path = std::env::temp_dir().join(format!("awf-domains-{}", std::process::id()));
        let text =
            "\u{feff}a.com\r\n# all\n\nb.com, c.com # two\n  *.d.com,# none\nhttps://e.com#x\n";
        fs::write(&path, text).unwrap();
        let entries = from_file("--allow-domains-file", &path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(texts(&entries), ["a.com", "b.com", "c.com", "*.d.com", "https://e.com"]);
        let origin = entries[2].origin.to_string();
        assert_eq!(origin, format!("--allow-domains-file {}:4", path.display()));
    }

    #[test]
    fn an_unreadable_file_is_named_with_its_option() {
        for path in ["/nowhere/list", "/", "/proc/self/mem"] {
            let sentence =
                from_file("--block-domains-file", Path::new(path)).unwrap_err().to_string();
            assert!(
                sentence.starts_with(&format!("--block-domains-file '{path}': ")),
                "{sentence}"
            );
        }
    }

    #[test]
    fn endless_files_are_refused() {
        let error = read_text(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn name_servers_are_addresses() {
        let check = |list: &str, expected: &[&str]| {
            let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(name_servers(list).unwrap(), expected, "{list}");
        };
        check("1.1.1.1", &["1.1.1.1"]);
        check(" 1.1.1.1 ,2001:4860:4860::8888,1.1.1.1", &["1.1.1.1", "2001:4860:4860::8888"]);
        check("::ffff:9.9.9.9,127.0.0.1", &["9.9.9.9", "127.0.0.1"]);
        for list in [
            "",
            ",",
            "dns.example",
            "1.1.1.1:53",
            "1.1.1",
            "0x1.1.1.1",
            "01.1.1.1",
            "256.1.1.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1%eth0",
            "[::1]",
            "1.1.1.1;8.8.8.8",
            "1.1.1.1 8.8.8.8",
        ] {
            let sentence = name_servers(list).unwrap_err().to_string();
            assert!(sentence.starts_with("--dns-servers '"), "{sentence}");
        }
    }
}
