//! The user database, read from `/etc/passwd` alone.
//!
//! Owns the parsing of passwd(5). Takes its text, gives entries. Must never call the C library for
//! it: awf is linked statically, and a static glibc cannot load the name service modules.

use std::fs;
use std::path::PathBuf;

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Login name.
    pub(super) name: String,
    /// User id.
    pub(super) uid: u32,
    /// Primary group id.
    pub(super) gid: u32,
    /// Home directory.
    pub(super) home: PathBuf,
}

/// The text of `/etc/passwd`, empty if unreadable: a user without entry is an ordinary case.
pub(super) fn read() -> String {
    let bytes = fs::read("/etc/passwd").unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first entry of that user id, as getpwuid(3) answers.
pub(super) fn by_uid(passwd: &str, uid: u32) -> Option<Entry> {
    passwd.lines().filter_map(parse).find(|entry| entry.uid == uid)
}

/// The first entry of that name, as getpwnam(3) answers.
pub(super) fn by_name(passwd: &str, name: &str) -> Option<Entry> {
    passwd.lines().filter_map(parse).find(|entry| entry.name == name)
}

/// The account of the distribution's Squid (Debian, then Fedora and others), else nobody's (the
/// kernel's overflow ids).
pub(super) fn proxy_account(passwd: &str) -> (u32, u32) {
    const NOBODY: (u32, u32) = (65534, 65534);
    let named = ["proxy", "squid"].iter().find_map(|name| by_name(passwd, name));
    named.filter(|entry| entry.uid != 0).map_or(NOBODY, |entry| (entry.uid, entry.gid))
}

/// `name:password:uid:gid:gecos:home:shell`; anything else is not a user.
fn parse(line: &str) -> Option<Entry> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _password, uid, gid, _gecos, home, _shell] = fields.as_slice() else {
        return None;
    };
    Some(Entry {
        name: (*name).to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: PathBuf::from(home),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# comment\nroot:x:0:0:root:/root:/bin/bash\nbroken:x:12\n\
        +nis::::::\nada:x:1001:1001:Ada,,,:/home/ada:/bin/sh\ntwin:x:1001:1001::/home/twin:/bin/sh\n";

    #[test]
    fn users_are_found_by_id_and_name() {
        let ada = Entry { name: "ada".into(), uid: 1001, gid: 1001, home: "/home/ada".into() };
        assert_eq!(by_uid(TEXT, 1001), Some(ada.clone()));
        assert_eq!(by_name(TEXT, "ada"), Some(ada));
        assert_eq!(by_name(TEXT, "twin").map(|entry| entry.home), Some("/home/twin".into()));
    }

    #[test]
    fn squid_runs_as_its_own_account_or_as_nobody_but_never_as_root() {
        assert_eq!(proxy_account("proxy:x:13:14::/bin:/bin/sh\n"), (13, 14));
        assert_eq!(proxy_account("squid:x:23:23::/var:/bin/sh\n"), (23, 23));
        assert_eq!(proxy_account("squid:x:0:0::/root:/bin/sh\n"), (65534, 65534));
        assert_eq!(proxy_account(""), (65534, 65534));
    }

    #[test]
    fn broken_lines_are_not_users() {
        assert_eq!(by_name(TEXT, "broken"), None);
        assert_eq!(by_name(TEXT, "+nis"), None);
        assert_eq!(by_uid(TEXT, 12), None);
    }
}
