//! What is done to a list of mounts at the end: parts are made read-only, credentials are covered.
//!
//! Takes the list as it came about and the facts, gives the steps that follow from where things are
//! visible. Must never cover or open a place by its path on the host: only by where the sandbox shows it.

use std::path::{Path, PathBuf};

use super::{Facts, Found, MountOp, SESSION, lists};
use crate::cli::UsageError;
use crate::cli::files::ALLOW_WRITE;

/// Makes everything of the host read-only but what is `allowed` and the session's state. What is in
/// memory (home, `/var/tmp`, `/dev/shm`) stays as it is: nothing of it reaches the host.
pub(super) fn freeze(
    ops: Vec<MountOp>,
    facts: &Facts<'_>,
    allowed: &[PathBuf],
    look: &dyn Fn(&Path) -> Option<Found>,
) -> Result<Vec<MountOp>, UsageError> {
    let session = facts.told_home.join(SESSION);
    let mut spared: Vec<(usize, &PathBuf)> = Vec::new();
    for path in allowed {
        let number = holder(&ops, path, look).map_err(|problem| {
            let remedy = "name a file or directory of the workspace, /tmp or a writable mount";
            UsageError::value(ALLOW_WRITE, &path.to_string_lossy(), problem, remedy)
        })?;
        let whole = ops.get(number).and_then(MountOp::place) == Some(path);
        // A part of what is spared already needs no step of its own.
        let part = allowed.iter().any(|other| path != other && path.starts_with(other));
        if !whole && !part && !spared.contains(&(number, path)) {
            spared.push((number, path));
        }
    }
    let stays =
        |place: &Path| place == session || allowed.iter().any(|path| place.starts_with(path));
    let frozen: Vec<PathBuf> = ops
        .iter()
        .filter(|op| op.is_writable())
        .filter_map(MountOp::place)
        .filter(|place| !stays(place))
        .map(Path::to_owned)
        .collect();
    let mut finished = Vec::new();
    for (number, op) in ops.into_iter().enumerate() {
        finished.push(op);
        // At once, so that mounts below come to lie on top of it.
        let here = spared.iter().filter(|(holder, _path)| *holder == number);
        finished.extend(here.map(|(_holder, path)| MountOp::Spare { target: (*path).clone() }));
    }
    finished.extend(frozen.into_iter().map(|target| MountOp::Freeze { target }));
    Ok(finished)
}

/// The number of the writable mount that shows `path`, which must really be there.
fn holder(
    ops: &[MountOp],
    path: &Path,
    look: &dyn Fn(&Path) -> Option<Found>,
) -> Result<usize, &'static str> {
    let at = |op: &MountOp| op.place().is_some_and(|place| path.starts_with(place));
    let number = ops.iter().rposition(at).ok_or("the sandbox shows nothing of the host there")?;
    let op = ops.get(number).filter(|op| op.is_writable());
    let shown = op.and_then(MountOp::shown).ok_or("nothing of the host is writable there")?;
    let (source, target) = shown;
    let real = path.strip_prefix(target).map(|rest| source.join(rest));
    // Joining nothing leaves a slash.
    let real: PathBuf = real.unwrap_or_default().components().collect();
    match look(&real) {
        None => Err("there is no such file or directory"),
        // Whoever may turn the link elsewhere would decide what is writable.
        Some(found) if found.real != real => Err("a link is in the way"),
        Some(_there) => Ok(number),
    }
}

/// Covers credentials, and the run's own directories. Comes last: whatever way a file became visible
/// at its own place, or at another one as a part of something, it is covered. Who names a credential
/// itself in `--mount` and another place for it, wants it to be seen there.
pub(super) fn hide(
    ops: &mut Vec<MountOp>,
    facts: &Facts<'_>,
    look: &dyn Fn(&Path) -> Option<Found>,
) {
    let mut covers = Vec::new();
    let homes = [facts.home, facts.told_home];
    let homes = if homes[0] == homes[1] { &homes[..1] } else { &homes[..] };
    let named = lists::CREDENTIALS.split_whitespace();
    let named = named.flat_map(|name| homes.iter().map(move |home| home.join(name)));
    let sockets = lists::SOCKETS.split_whitespace().map(PathBuf::from);
    let own = Path::new("/run/user").join(facts.caller_uid.to_string());
    let more = lists::USER_SOCKETS.split_whitespace().map(|name| own.join(name));
    let sockets = sockets.chain(more).filter(|_path| is_shown(ops, Path::new("/run")));
    for path in named.chain(sockets).chain(facts.secrets.iter().cloned()) {
        let Some(found) = look(&path) else { continue };
        for target in places(ops, &path, &found.real) {
            covers.push(MountOp::Hide { target });
        }
    }
    for redacted in facts.redacted {
        let Some(found) = look(&redacted.path) else { continue };
        for target in places(ops, &redacted.path, &found.real) {
            covers.push(match &redacted.text {
                Some(content) => MountOp::Replace { target, content: content.clone() },
                None => MountOp::Hide { target },
            });
        }
    }
    covers.extend(facts.hide.iter().cloned().map(|target| MountOp::Hide { target }));
    ops.extend(covers);
}

/// Whether anything shows the directory, one above it or one in it.
fn is_shown(ops: &[MountOp], directory: &Path) -> bool {
    let mut sources = ops.iter().filter_map(MountOp::shown).map(|(source, _target)| source);
    sources.any(|source| source.starts_with(directory) || directory.starts_with(source))
}

/// Where something of the host can be seen: at its own place, and in whatever shows a directory above it.
fn places(ops: &[MountOp], path: &Path, real: &Path) -> Vec<PathBuf> {
    let mut places = vec![path.to_owned()];
    for (source, target) in ops.iter().filter_map(MountOp::shown) {
        let rest = real.strip_prefix(source).ok().filter(|rest| rest != &Path::new(""));
        if let Some(place) = rest.map(|rest| target.join(rest))
            && !places.contains(&place)
        {
            places.push(place);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Fallback, Sharing};
    use super::*;

    fn shared(source: &str, target: &str) -> MountOp {
        MountOp::Shared {
            source: source.into(),
            target: target.into(),
            access: Access::Own,
            sharing: Sharing::Direct,
            fallback: Fallback::Direct,
        }
    }

    fn bind(path: &str) -> MountOp {
        MountOp::Bind { source: path.into(), target: path.into(), access: Access::ReadOnly }
    }

    fn memory(path: &str) -> MountOp {
        MountOp::Tmpfs { target: path.into(), mode: 0o700, agent: true }
    }

    fn facts() -> Facts<'static> {
        Facts { workspace: Path::new("/w"), ..Facts::sample() }
    }

    /// Everything is there but what is called missing, and nothing is a link but what is called so.
    fn look(path: &Path) -> Option<Found> {
        let text = path.to_str().unwrap();
        let real = text.replace("link", "elsewhere").into();
        (!text.contains("missing")).then_some(Found { link: None, real, directory: true })
    }

    /// The new steps.
    fn frozen(allowed: &[&str]) -> Result<Vec<String>, String> {
        let ops = vec![
            bind("/usr"),
            shared("/tmp", "/tmp"),
            memory("/home/me"),
            shared("/data/w", "/w"),
            shared("/data/w/below", "/w/below"),
            shared("/state", "/home/me/.copilot/session-state"),
        ];
        let allowed: Vec<PathBuf> = allowed.iter().map(PathBuf::from).collect();
        let ops = freeze(ops, &facts(), &allowed, &look).map_err(|error| error.to_string())?;
        let new = |op: &&MountOp| matches!(op, MountOp::Spare { .. } | MountOp::Freeze { .. });
        Ok(ops.iter().filter(new).map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_not_named_becomes_read_only() {
        let freeze = |places: &[&str]| -> Vec<String> {
            places.iter().map(|place| format!("{place} (read-only from here on)")).collect()
        };
        assert_eq!(frozen(&[]).unwrap(), freeze(&["/tmp", "/w", "/w/below"]));
        assert_eq!(frozen(&["/w"]).unwrap(), freeze(&["/tmp"]));
        assert_eq!(frozen(&["/w", "/w/x"]).unwrap(), freeze(&["/tmp"]));
        assert_eq!(frozen(&["/w/below"]).unwrap(), freeze(&["/tmp", "/w"]));
        let part = [vec!["/w/x (stays writable)".to_owned()], freeze(&["/tmp", "/w", "/w/below"])];
        assert_eq!(frozen(&["/w/x", "/w/x", "/w/x/y"]).unwrap(), part.concat());
    }

    #[test]
    fn what_is_mounted_below_lies_on_top_of_what_is_spared() {
        let ops = vec![shared("/w", "/w"), shared("/w/a/below", "/w/a/below")];
        let ops = freeze(ops, &facts(), &["/w/a".into()], &look).unwrap();
        let spare = MountOp::Spare { target: "/w/a".into() };
        let freeze = MountOp::Freeze { target: "/w".into() };
        let expected = [shared("/w", "/w"), spare, shared("/w/a/below", "/w/a/below"), freeze];
        assert_eq!(ops, expected);
    }

    #[test]
    fn only_what_is_there_and_writable_can_stay_so() {
        for (path, problem) in [
            ("/usr/bin", "nothing of the host is writable there"),
            ("/home/me/x", "nothing of the host is writable there"),
            ("/nowhere", "the sandbox shows nothing of the host there"),
            ("/w/missing", "there is no such file"),
            ("/w/link/x", "a link is in the way"),
        ] {
            let sentence = frozen(&[path]).unwrap_err();
            let expected = format!("filesystem.allowWrite '{path}': {problem}");
            assert!(sentence.starts_with(&expected), "{sentence}");
        }
    }

    #[test]
    fn credentials_are_covered_wherever_something_shows_them() {
        let mut ops = vec![shared("/home/me", "/x"), bind("/home/me/.ssh"), shared("/", "/all")];
        hide(&mut ops, &facts(), &|path| look(path).filter(|_| path.ends_with(".ssh/id_rsa")));
        let hidden = ["/home/me/.ssh/id_rsa", "/x/.ssh/id_rsa", "/all/home/me/.ssh/id_rsa"];
        let hidden = hidden.map(|target| MountOp::Hide { target: target.into() });
        assert_eq!(ops[3..], hidden);
    }

    #[test]
    fn a_file_with_more_than_credentials_is_shown_without_them() {
        let redacted = |text: Option<&str>| crate::host::git::Redacted {
            path: "/data/w/.git/config".into(),
            text: text.map(str::to_owned),
        };
        let both = [redacted(Some("[core]\n")), redacted(None)];
        let mut ops = vec![shared("/data/w", "/w")];
        hide(&mut ops, &Facts { redacted: &both[..1], ..facts() }, &|path| {
            look(path).filter(|_| path.starts_with("/data"))
        });
        let target = PathBuf::from("/w/.git/config");
        let content = "[core]\n".to_owned();
        assert!(ops.contains(&MountOp::Replace { target: target.clone(), content }));
        hide(&mut ops, &Facts { redacted: &both[1..], ..facts() }, &|path| {
            look(path).filter(|_| path.starts_with("/data"))
        });
        assert!(ops.contains(&MountOp::Hide { target }));
    }
}
