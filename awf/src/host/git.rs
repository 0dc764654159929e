//! Credentials in git's configuration: `actions/checkout` leaves the job's token in it.
//!
//! Owns the search for such files and the text of each without its credentials. Takes the directories that
//! the sandbox will show, gives [`Redacted`] files. Must never show more of a file than the agent could have
//! read without awf: what only root may read is covered and not copied.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How far below `modules` the repository of a submodule may lie, which is named by its path.
const MODULE_DEPTH: usize = 6;
/// How many directories are read. Enough for any workspace to this depth; more take seconds.
const DIRECTORIES: usize = 4096;
/// How deep files include others, git's own limit.
const INCLUDES: usize = 10;
/// Bytes of a file; no configuration is larger, and a device would never end.
const MAX_SIZE: u64 = 1 << 20;

/// A file that is not shown as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// Where it is.
    pub path: PathBuf,
    /// What is shown instead; `None` means nothing.
    pub text: Option<String>,
}

/// A directory to search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub path: PathBuf,
    /// How far below it a repository may begin.
    pub depth: usize,
    /// Whether the agent may read there what only its owner may, if that is the caller.
    pub own: bool,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Files with credentials beside other things.
    pub redacted: Vec<Redacted>,
    /// Files that are credentials.
    pub secrets: Vec<PathBuf>,
    /// What the user should be told once.
    pub notices: Vec<String>,
}

/// Searches `places` for repositories, and reads them and the `files` beside them. `uid` is the caller's.
pub fn search(places: &[Place], files: &[PathBuf], (home, uid): (&Path, u32)) -> Found {
    let mut search =
        Search { home, uid, left: DIRECTORIES, seen: BTreeMap::new(), found: Found::default() };
    for file in files {
        search.read(file, true, INCLUDES);
    }
    for place in places {
        search.walk(&place.path, place.own, place.depth);
    }
    if search.left == 0 {
        search.found.notices.push(format!(
            "only the first {DIRECTORIES} directories were searched for git configurations with credentials"
        ));
    }
    search.found
}

struct Search<'a> {
    home: &'a Path,
    uid: u32,
    left: usize,
    /// What was read, and whether as something of the caller's own.
    seen: BTreeMap<PathBuf, bool>,
    found: Found,
}

impl Search<'_> {
    fn walk(&mut self, directory: &Path, own: bool, depth: usize) {
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        let Ok(entries) = fs::read_dir(directory) else { return };
        let entries: Vec<_> = entries.flatten().collect();
        let has = |name: &str| entries.iter().any(|entry| entry.file_name() == name);
        // A repository without files.
        if has("HEAD") && has("objects") && has("config") {
            self.repository(directory, own);
            return;
        }
        for entry in &entries {
            let path = entry.path();
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if entry.file_name() == ".git" {
                self.repository_at(&path, own);
            } else if is_directory && depth > 0 && entry.file_name() != "node_modules" {
                self.walk(&path, own, depth - 1);
            }
        }
    }

    /// What `.git` is: a repository, or a file or link that names one elsewhere.
    fn repository_at(&mut self, git: &Path, own: bool) {
        let Ok(facts) = fs::symlink_metadata(git) else { return };
        if facts.is_dir() {
            return self.repository(git, own);
        }
        let elsewhere = if facts.is_symlink() {
            fs::canonicalize(git).ok()
        } else {
            let text = content(git).ok().map(|(text, _facts)| text).unwrap_or_default();
            let named = text.lines().find_map(|line| line.strip_prefix("gitdir:"));
            named.and_then(|named| fs::canonicalize(git.with_file_name(named.trim())).ok())
        };
        // Somewhere else: nobody knows whether it is the caller's to show.
        if let Some(directory) = elsewhere.filter(|path| path.is_dir()) {
            self.repository(&directory, false);
            let common = content(&directory.join("commondir")).ok();
            let common =
                common.and_then(|(text, _)| fs::canonicalize(directory.join(text.trim())).ok());
            if let Some(common) = common {
                self.repository(&common, false);
            }
        }
    }

    fn repository(&mut self, git: &Path, own: bool) {
        for name in ["config", "config.worktree"] {
            self.read(&git.join(name), own, INCLUDES);
        }
        self.modules(&git.join("modules"), own, MODULE_DEPTH);
        for tree in fs::read_dir(git.join("worktrees")).into_iter().flatten().flatten() {
            self.read(&tree.path().join("config.worktree"), own, INCLUDES);
        }
    }

    fn modules(&mut self, directory: &Path, own: bool, depth: usize) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if path.join("HEAD").exists() {
                self.repository(&path, own);
            } else if let Some(depth) = depth.checked_sub(1) {
                self.modules(&path, own, depth);
            }
        }
    }

    fn read(&mut self, path: &Path, own: bool, includes: usize) {
        // A link is read where it leads, where the file may be somebody else's.
        let (path, own) = match fs::symlink_metadata(path) {
            Ok(facts) if facts.is_symlink() => match fs::canonicalize(path) {
                Ok(real) => (real, false),
                Err(_dangling) => return,
            },
            Ok(_file) => (path.to_owned(), own),
            Err(_nothing) => return,
        };
        if self.seen.insert(path.clone(), own).is_some() {
            return;
        }
        let (text, facts) = match content(&path) {
            Ok(read) => read,
            // What awf cannot read, git cannot either.
            Err(_unreadable) => return self.found.redacted.push(Redacted { path, text: None }),
        };
        let reading = redact(&text);
        for named in reading
            .includes
            .iter()
            .filter_map(|named| self.resolve(named, &path))
            .collect::<Vec<_>>()
        {
            match includes.checked_sub(1) {
                Some(left) => self.read(&named, false, left),
                None => self.found.secrets.push(named),
            }
        }
        let stores = reading
            .stores
            .iter()
            .filter_map(|named| self.resolve(named, &path))
            .collect::<Vec<_>>();
        self.found.secrets.extend(stores);
        if !reading.changed {
            return;
        }
        let readable = facts.mode() & 0o004 != 0 || (own && facts.uid() == self.uid);
        if readable {
            self.found.notices.push(format!(
                "{} holds credentials: the command sees it without them, and its changes to it stay in the sandbox",
                path.display()
            ));
        }
        let text = readable.then_some(reading.text);
        self.found.redacted.push(Redacted { path, text });
    }

    /// As git finds a file that another one names.
    fn resolve(&self, named: &str, from: &Path) -> Option<PathBuf> {
        let path = match named.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => from.parent()?.join(named),
        };
        path.exists().then_some(path)
    }
}

/// The text of a regular file, and what is known of it. Not through a link: it could have been put there meanwhile.
fn content(path: &Path) -> std::io::Result<(String, fs::Metadata)> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() || facts.len() > MAX_SIZE {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE).read_to_end(&mut bytes)?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), facts))
}

/// What a configuration says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reading {
    /// Without its credentials.
    text: String,
    /// Whether there were any.
    changed: bool,
    /// Files that it includes, as written.
    includes: Vec<String>,
    /// Files in which it stores credentials, as written.
    stores: Vec<String>,
}

/// Reads a configuration, git-config(1), line by line; a backslash at its end continues one.
fn redact(text: &str) -> Reading {
    let mut reading = Reading::default();
    let mut section = String::new();
    let mut lines = text.split_inclusive('\n');
    while let Some(first) = lines.next() {
        let mut line = first.to_owned();
        while is_continued(&line)
            && let Some(next) = lines.next()
        {
            line.push_str(next);
        }
        let (header, body) = header(&line);
        if let Some(name) = header.trim_start().strip_prefix('[') {
            let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
            section =
                name.get(..end.unwrap_or(name.len())).unwrap_or_default().to_ascii_lowercase();
        }
        let (key, value) = body.split_once('=').unwrap_or((body, ""));
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
        if section.starts_with("include") && key == "path" {
            reading.includes.push(value.to_owned());
        }
        if section == "credential" && key == "helper" {
            let file = value
                .split_once("--file")
                .map(|(_store, file)| file.trim_start_matches(['=', ' ']));
            reading
                .stores
                .extend(file.and_then(|file| file.split_whitespace().next()).map(str::to_owned));
        }
        if is_secret(&section, &key, value) {
            reading.changed = true;
            reading.text.push_str(header);
            reading.text.push('\n');
        } else {
            let clean = without_userinfo(&line);
            reading.changed |= clean != line;
            reading.text.push_str(&clean);
        }
    }
    reading
}

fn is_continued(line: &str) -> bool {
    let line = line.trim_end_matches(['\n', '\r']);
    let slashes = line.len() - line.trim_end_matches('\\').len();
    slashes % 2 == 1 && !line.trim_start().starts_with(['#', ';'])
}

/// Cuts a line behind its `[section "name"]`, if it has one; what follows is a key.
fn header(line: &str) -> (&str, &str) {
    if !line.trim_start().starts_with('[') {
        return ("", line);
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in line.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => return line.split_at(at + 1),
            _ => {}
        }
    }
    (line, "")
}

/// Whether the value of a key is a credential or a program with one in it.
fn is_secret(section: &str, key: &str, value: &str) -> bool {
    const ENDS: [&str; 7] =
        ["extraheader", "token", "password", "passwd", "pass", "secret", "apikey"];
    let inline = section == "credential" && key == "helper" && value.starts_with('!');
    ENDS.iter().any(|end| key.ends_with(end)) || (inline && value.contains("password"))
}

/// Takes user and password out of URLs. A user alone is no credential to SSH, but to HTTP it may be a token.
fn without_userinfo(text: &str) -> String {
    let mut clean = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'\\".contains(c));
        let (authority, remainder) = after.split_at(end.unwrap_or(after.len()));
        match authority.rsplit_once('@') {
            None => clean.push_str(authority),
            Some((user, host)) => {
                if before.ends_with("ssh") {
                    clean.push_str(user.split(':').next().unwrap_or_default());
                    clean.push('@');
                }
                clean.push_str(host);
            }
        }
        rest = remainder;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let reading = redact(text);
        assert_eq!(reading.text, expected);
        assert_eq!(reading.changed, text != expected);
        assert!(!redact(expected).changed, "what is clean stays as it is");
    }

    #[test]
    fn the_token_of_actions_checkout_is_taken_out() {
        check(
            "[core]\n\tbare = false\n[http \"https://github.com/\"]\n\textraheader = AUTHORIZATION: basic eA==\n\
             [gc]\n\tauto = 0\n",
            "[core]\n\tbare = false\n[http \"https://github.com/\"]\n\n[gc]\n\tauto = 0\n",
        );
    }

    #[test]
    fn credentials_are_found_in_any_notation() {
        for text in [
            "[http] extraHeader=s3cret\n",
            "[HTTP \"a]b\"]extraheader = s3cret\n",
            "[http.https://x/]\n EXTRAHEADER = \"s3cret\"\n",
            "[http]\n\textraheader = \\\n  s3cret \\\n  s3cret\n",
            "[remote \"o\"]\n\turl = https://x:s3cret@github.com/a/b\n",
            "[remote \"o\"]\n\turl = https://s3cret@github.com/a/b\n",
            "[remote \"o\"]\n\turl = \"https://x:s3cret@github.com/a/b\"\n",
            "[remote \"o\"]\n\turl = ssh://git:s3cret@host/x\n",
            "[url \"https://s3cret@github.com/\"]\n\tinsteadOf = https://github.com/\n",
            "[http]\n\tproxy = http://u:s3cret@proxy:1\n",
            "[github]\n\toauth-token = s3cret\n",
            "[sendemail]\n\tsmtpPass = s3cret\n",
            "[credential]\n\thelper = \"!f() { echo password=s3cret; }; f\"\n",
            "# https://u:s3cret@x/\n",
            "[http]\n\textraheader = s3cret",
        ] {
            let reading = redact(text);
            assert!(reading.changed && !reading.text.contains("s3cret"), "{text}: {reading:?}");
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for text in [
            "",
            "[core]\n\trepositoryformatversion = 0\n\thooksPath = a\\\n b\n",
            "[remote \"o\"]\n\turl = ssh://git@github.com/a/b\n\tfetch = +refs/heads/*:refs/remotes/o/*\n",
            "[remote \"o\"]\n\turl = git@github.com:a/b.git\n",
            "[credential]\n\thelper = !gh auth git-credential\n\thelper =\n",
            "[user]\n\temail = a@b.test\n[bad\n",
            "[branch \"a@b://c\"]\n\tmerge = x\n",
        ] {
            check(text, text);
        }
        check(
            "[remote \"o\"]\n\turl = https://t@github.com/a@b\n",
            "[remote \"o\"]\n\turl = https://github.com/a@b\n",
        );
    }

    /// A directory of this test's own, removed at its end.
    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const TOKEN: &str = "[http]\n\textraheader = s3cret\n";

    fn scratch(name: &str, files: &[(&str, &str)]) -> Scratch {
        let path = std::env::temp_dir().join(format!("awf-git-{name}-{}", std::process::id()));
        for (file, text) in files {
            let file = path.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Scratch(path)
    }

    fn searched(scratch: &Scratch, own: bool) -> Found {
        let uid = nix::unistd::getuid().as_raw();
        let place = Place { path: scratch.0.clone(), depth: 3, own };
        let mut found = search(&[place], &[], (&scratch.0, uid));
        found.redacted.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    #[test]
    fn repositories_are_found_with_modules_worktrees_and_what_they_include() {
        let scratch = scratch(
            "found",
            &[
                (
                    ".git/config",
                    &format!(
                        "{TOKEN}[include]\n\tpath = more\n[credential]\n\thelper = store --file=kept\n"
                    ),
                ),
                (".git/more", TOKEN),
                (".git/kept", "https://u:p@x"),
                (".git/modules/libs/a/HEAD", ""),
                (".git/modules/libs/a/config", TOKEN),
                (".git/worktrees/w/config.worktree", TOKEN),
                ("sub/dir/.git/config", TOKEN),
                ("bare/HEAD", ""),
                ("bare/objects/x", ""),
                ("bare/config", TOKEN),
                ("tree/.git", "gitdir: ../linked\n"),
                ("linked/commondir", "../common\n"),
                ("common/config", TOKEN),
                ("clean/.git/config", "[core]\n"),
                ("node_modules/x/.git/config", TOKEN),
            ],
        );
        let found = searched(&scratch, true);
        let paths: Vec<_> =
            found.redacted.iter().map(|file| file.path.strip_prefix(&scratch.0).unwrap()).collect();
        let expected = [
            ".git/config",
            ".git/modules/libs/a/config",
            ".git/more",
            ".git/worktrees/w/config.worktree",
            "bare/config",
            "common/config",
            "sub/dir/.git/config",
        ];
        assert_eq!(paths, expected.map(Path::new));
        assert_eq!(found.secrets, [scratch.0.join(".git/kept")]);
        let shown = found
            .redacted
            .iter()
            .all(|file| file.text.as_ref().is_some_and(|text| !text.contains("s3cret")));
        assert!(shown && found.notices.len() == expected.len(), "{found:?}");
    }

    #[test]
    fn what_only_its_owner_may_read_is_copied_for_the_owner_only() {
        let scratch = scratch("closed", &[(".git/config", TOKEN)]);
        fs::set_permissions(scratch.0.join(".git/config"), fs::Permissions::from_mode(0o600))
            .unwrap();
        let text = |own| searched(&scratch, own).redacted.remove(0).text;
        assert!(text(true).is_some());
        assert_eq!(text(false), None);
    }

    #[test]
    fn a_link_leads_to_no_file_that_is_not_for_everybody() {
        let scratch = scratch("link", &[("secret", TOKEN), ("a/.git/x", "")]);
        fs::set_permissions(scratch.0.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("../../secret", scratch.0.join("a/.git/config")).unwrap();
        let found = searched(&scratch, true).redacted;
        assert_eq!(found, [Redacted { path: scratch.0.join("secret"), text: None }]);
    }
}
