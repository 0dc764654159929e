//! Home, workspace, `/tmp`, mounts, and the run's own directories.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use awf_tests::{Outcome, Run, Scratch, unconfined};

use crate::stage::{Conversation, USER, bare, eventually, open_to_all, text};

/// A home with tools, credentials and private files.
fn home(scratch: &Scratch) -> PathBuf {
    let home = scratch.path().join("home");
    for (path, content) in [
        (".bashrc", "private"),
        ("Documents/diary.txt", "private"),
        (".ssh/id_rsa", "secret"),
        (".ssh/id_unheard_of", "secret"),
        (".aws/credentials", "secret"),
        (".npmrc", "secret"),
        (".netrc", "secret"),
        (".git-credentials", "secret"),
        (".docker/config.json", "secret"),
        (".cargo/credentials.toml", "secret"),
        (".config/gh/hosts.yml", "secret"),
        (".config/gcloud/application_default_credentials.json", "secret"),
        (".claude/.credentials.json", "secret"),
        (".cargo/config.toml", "tool"),
        (".config/gh/config.yml", "tool"),
        (".cache/thing", "tool"),
        (".local/bin/thing", "tool"),
        (".local/share/thing", "tool"),
    ] {
        let path = home.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("make it");
        fs::write(path, format!("{content}\n")).expect("write");
    }
    home
}

fn at_home(home: &Path, scratch: &Scratch) -> Run {
    let work = scratch.path().join("work");
    fs::create_dir_all(&work).expect("make it");
    Run::new().caller_variable("HOME", &home.display().to_string()).in_directory(work)
}

#[test]
fn the_home_is_empty_but_for_tools() {
    let scratch = Scratch::new("home");
    let home = home(&scratch);
    let outcome = at_home(&home, &scratch)
        .run("cd && pwd && find . -type f -size +0 | sort && stat -c '%u %a' . && touch new && cat .cargo/config.toml")
        .succeeded();
    let expected = format!(
        "{}\n./.cache/thing\n./.cargo/config.toml\n./.config/gh/config.yml\n./.local/bin/thing\n./.local/share/thing\n\
         {USER} 700\ntool\n",
        home.display()
    );
    assert_eq!(outcome.stdout, expected, "{outcome:#?}");
    assert!(!home.join("new").exists(), "the sandbox's home is the host's");
}

#[test]
fn credentials_are_masked_wherever_they_lie() {
    let scratch = Scratch::new("home");
    let home = home(&scratch);
    let control = std::process::Command::new("grep")
        .args(["-rl", "secret"])
        .arg(&home)
        .output()
        .expect("grep runs");
    assert_eq!(text(&control).lines().count(), 11);
    let outcome = at_home(&home, &scratch)
        .run("grep -r secret ~; cat ~/.cargo/credentials.toml ~/.config/gh/hosts.yml ~/.claude/.credentials.json; \
              echo spoiled > ~/.cargo/credentials.toml; rm -f ~/.cargo/credentials.toml; mv ~/.config/gh ~/.config/moved; \
              cat ~/.config/moved/hosts.yml; true")
        .succeeded();
    assert_eq!(outcome.stdout, "", "{outcome:#?}");
    let kept = fs::read_to_string(home.join(".cargo/credentials.toml")).expect("still there");
    assert_eq!(kept, "secret\n");
}

#[test]
fn credentials_stay_masked_when_the_home_is_the_workspace() {
    let scratch = Scratch::new("home");
    let home = home(&scratch);
    let outcome = Run::new()
        .caller_variable("HOME", &home.display().to_string())
        .in_directory(&home)
        .run("cat Documents/diary.txt; grep -r secret .; true")
        .succeeded();
    assert_eq!(outcome.stdout, "private\n", "{outcome:#?}");
}

#[test]
fn tool_directories_are_shared_with_the_host() {
    let scratch = Scratch::new("home");
    let home = home(&scratch);
    at_home(&home, &scratch)
        .run("echo more > ~/.cache/more && rm ~/.local/share/thing")
        .succeeded();
    assert_eq!(fs::read_to_string(home.join(".cache/more")).expect("written"), "more\n");
    assert_eq!(
        fs::metadata(home.join(".cache/more")).expect("written").uid(),
        0,
        "files of root's run are root's"
    );
    assert!(!home.join(".local/share/thing").exists());
}

/// A workspace that belongs to somebody.
fn workspace(scratch: &Scratch, owner: u32) -> PathBuf {
    let work = scratch.path().join("work");
    fs::create_dir_all(work.join("deep")).expect("make it");
    for name in ["read", "write", "deep/run", "remove"] {
        fs::write(work.join(name), "#!/bin/sh\necho ran\n").expect("write");
        fs::set_permissions(work.join(name), fs::Permissions::from_mode(0o700)).expect("close it");
        std::os::unix::fs::chown(work.join(name), Some(owner), Some(owner)).expect("give it away");
    }
    for directory in [&work, &work.join("deep")] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("close it");
        std::os::unix::fs::chown(directory, Some(owner), Some(owner)).expect("give it away");
    }
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("open it");
    work
}

fn works(run: Run, work: &Path, owner: u32) -> Outcome {
    let outcome = run
        .in_directory(work)
        .run("pwd; stat -c %u . read deep/run | sort -u; cat read | wc -l; echo more >> write; deep/run; rm remove; \
              mkdir -p made/here; echo new > made/here/file; ln -s file made/here/link; mv write moved; chmod 640 moved")
        .succeeded();
    assert_eq!(outcome.stdout, format!("{}\n{USER}\n2\nran\n", work.display()), "{outcome:#?}");
    let state = |name: &str| fs::symlink_metadata(work.join(name)).expect("it is there");
    for name in ["read", "moved", "made", "made/here/file", "made/here/link"] {
        assert_eq!((state(name).uid(), state(name).gid()), (owner, owner), "{name}");
    }
    assert_eq!(state("moved").mode() & 0o777, 0o640);
    assert_eq!(fs::read_to_string(work.join("moved")).expect("it is there").lines().count(), 3);
    assert!(!work.join("remove").exists());
    outcome
}

#[test]
fn roots_workspace_can_be_worked_in_and_stays_roots() {
    let scratch = Scratch::new("work");
    let work = workspace(&scratch, 0);
    works(Run::new(), &work, 0);
}

#[test]
fn the_workspace_of_a_user_behind_sudo_stays_the_users() {
    let scratch = Scratch::new("work");
    let work = workspace(&scratch, USER);
    let user = USER.to_string();
    let run = Run::new().caller_variable("SUDO_UID", &user).caller_variable("SUDO_GID", &user);
    works(run, &work, USER);
}

#[test]
fn github_workspace_is_the_workspace_whatever_the_directory() {
    let scratch = Scratch::new("work");
    let work = workspace(&scratch, 0);
    let outcome = Run::new()
        .caller_variable("GITHUB_WORKSPACE", &work.display().to_string())
        .in_directory("/usr")
        .run("pwd; echo x > here")
        .succeeded();
    assert_eq!(outcome.stdout, format!("{}\n", work.display()));
    assert!(work.join("here").exists());
}

#[test]
fn tmp_is_shared_both_ways_while_the_command_runs() {
    let scratch = Scratch::new("tmp");
    let name = scratch.path().file_name().expect("a name").display().to_string();
    let shared = PathBuf::from("/tmp").join(&name);
    fs::create_dir(&shared).expect("make it");
    open_to_all(&shared);
    fs::write(shared.join("before"), "from the host\n").expect("write");
    let run = Run::new();
    let mut running = Conversation::begin(run.spawn(&format!(
        "cd /tmp/{name}; cat later 2> /dev/null; echo ready; cat before; echo from inside > inside; until test -s later; \
         do sleep 0.1; done; cat later"
    )));
    assert_eq!(running.hear(), "from the host\n");
    eventually("the file from inside did not appear", || {
        fs::read_to_string(shared.join("inside")).is_ok_and(|text| text == "from inside\n")
    });
    assert_eq!(fs::metadata(shared.join("inside")).expect("it is there").uid(), USER);
    fs::write(shared.join("new"), "later, from the host\n").expect("write");
    fs::rename(shared.join("new"), shared.join("later")).expect("move it");
    let (rest, stderr, code) = running.end();
    fs::remove_dir_all(&shared).expect("remove it");
    assert_eq!((&*rest, code), ("later, from the host\n", Some(0)), "{stderr}");
}

#[test]
fn other_users_files_in_tmp_stay_theirs() {
    let scratch = Scratch::new("tmp");
    let path = PathBuf::from("/tmp").join(scratch.path().file_name().expect("a name"));
    fs::write(&path, "roots\n").expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("close it");
    let line = format!("cat {0}; echo x > {0}; rm -f {0}; mv {0} /tmp/moved; true", path.display());
    let outcome = Run::new().run(&line).succeeded();
    let kept = fs::read_to_string(&path);
    fs::remove_file(&path).expect("remove it");
    assert_eq!(outcome.stdout, "", "{outcome:#?}");
    assert_eq!(kept.expect("still there"), "roots\n");
}

#[test]
fn mounts_show_what_was_asked_for_and_nothing_around_it() {
    let scratch = Scratch::new("mount");
    let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
    for directory in [&one, &two] {
        fs::create_dir(directory).expect("make it");
        fs::write(directory.join("file"), "content\n").expect("write");
    }
    fs::write(scratch.path().join("beside"), "beside\n").expect("write");
    let outcome = Run::new()
        .option("--mount", &format!("{}:/data/one:ro", one.display()))
        .option("-v", &format!("{}:/host/data/two:rw", two.display()))
        .option("--mount", &format!("{}/file:/data/file", two.display()))
        .run(&format!(
            "cat /data/one/file /data/two/file /data/file; echo x > /data/one/new; rm -f /data/one/file; \
             echo new > /data/two/new; ls {0} /data; true",
            scratch.path().display()
        ))
        .succeeded();
    assert_eq!(
        outcome.stdout, "content\ncontent\ncontent\n/data:\nfile\none\ntwo\n",
        "{outcome:#?}"
    );
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome:#?}");
    assert!(!one.join("new").exists() && one.join("file").exists());
    assert_eq!(fs::read_to_string(two.join("new")).expect("written"), "new\n");
}

#[test]
fn a_read_only_directory_shows_files_and_no_service_of_the_host() {
    let scratch = Scratch::new("mount-sockets");
    let path = scratch.path().join("service");
    fs::write(scratch.path().join("file"), "content\n").expect("write");
    let _service = UnixListener::bind(&path).expect("bind");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("open it to all");
    let visit = |path: &str| {
        format!("python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('{path}')\"")
    };
    let control = unconfined(&visit(&path.display().to_string()));
    assert!(control.status.success(), "positive control: {control:?}");
    let outcome = Run::new()
        .option("--mount", &format!("{}:/data:ro", scratch.path().display()))
        .run(&format!("cat /data/file; {}", visit("/data/service")))
        .failed();
    assert_eq!(outcome.stdout, "content\n", "{outcome:#?}");
    assert!(outcome.stderr.contains("ConnectionRefusedError"), "{outcome:#?}");
}

#[test]
fn the_command_starts_where_it_was_told_to() {
    let outcome = Run::new()
        .option("--container-workdir", "/usr/share")
        .run("pwd; echo $AWF_WORKDIR")
        .succeeded();
    assert_eq!(outcome.stdout, "/usr/share\n/usr/share\n");
    let outcome =
        Run::new().option("--container-workdir", "/nowhere/at/all").run("pwd").succeeded();
    assert_eq!(outcome.stdout, "/\n");
    assert!(outcome.stderr.contains("/nowhere/at/all"), "{outcome:#?}");
    // What awf says of the place must be true without the option too.
    let outcome = Run::new().in_directory("/tmp").run("pwd; echo $AWF_WORKDIR").succeeded();
    assert_eq!(outcome.stdout, "/tmp\n/tmp\n");
}

#[test]
fn the_runs_own_directories_are_hidden_from_the_command() {
    let scratch = Scratch::new("hide");
    // In /tmp, which the command shares.
    let base = PathBuf::from("/tmp").join(scratch.path().file_name().expect("a name"));
    let place = |name: &str| base.join(name).display().to_string();
    let (work, logs, audit) = (place("work"), place("logs"), place("audit"));
    let line = format!(
        "find {}; cat {work}/* {logs}/* {audit}/*; echo x > {logs}/access.log",
        base.display()
    );
    let output = bare(
        &scratch,
        &["--work-dir", &work, "--proxy-logs-dir", &logs, "--audit-dir", &audit, "--", &line],
    )
    .output()
    .expect("awf runs");
    let mut shown: Vec<String> = text(&output).lines().map(str::to_owned).collect();
    shown.sort();
    let kept = fs::read_to_string(format!("{logs}/access.log"));
    let config = fs::read_to_string(format!("{audit}/squid.conf"));
    let work_is_gone = !Path::new(&work).exists();
    fs::remove_dir_all(&base).expect("remove it");
    assert_eq!(shown, [base.display().to_string(), audit, logs, work], "{output:#?}");
    assert!(!kept.expect("the log is there").starts_with('x'));
    assert!(config.expect("the configuration is there").contains("http_access"));
    assert!(work_is_gone);
}

#[test]
fn kept_files_stay_where_they_are_and_are_named() {
    let scratch = Scratch::new("keep");
    let work = scratch.path().join("work");
    let work_dir = work.display().to_string();
    let output = bare(&scratch, &["--work-dir", &work_dir, "--keep-containers", "--", "true"])
        .output()
        .expect("awf runs");
    assert_eq!(output.status.code(), Some(0), "{output:#?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&work_dir), "{said}");
    for file in ["squid-logs/access.log", "squid-logs/egress.jsonl", "audit/squid.conf"] {
        assert!(work.join(file).exists(), "{file}");
    }
}
