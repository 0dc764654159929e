//! What the configuration file says about files and the user, credentials in git's configuration, the session's state.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use awf_tests::{Outcome, Run, Scratch};

use crate::stage::{USER, text};

/// A run with a configuration file.
fn configured(scratch: &Scratch, config: &str) -> Run {
    let path = scratch.path().join("awf.yml");
    fs::write(&path, config).expect("write");
    Run::new().option("--config", &path.display().to_string())
}

/// A directory that everybody may enter, with a file of root's own.
fn directory(scratch: &Scratch, name: &str) -> PathBuf {
    let path = scratch.path().join(name);
    fs::create_dir_all(&path).expect("make it");
    fs::write(path.join("file"), "content\n").expect("write");
    path
}

/// Everything below a directory, with owner, size and mode.
fn listing(path: &Path) -> String {
    let output = Command::new("find")
        .arg(path)
        .args(["-printf", "%P %U %s %m\n"])
        .output()
        .expect("find runs");
    let mut lines: Vec<String> = text(&output).lines().map(str::to_owned).collect();
    lines.sort();
    lines.join("\n")
}

fn git(repository: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args([
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.test",
        "-c",
        "init.defaultBranch=main",
        "-C",
    ]);
    let status = command.arg(repository).args(arguments).status().expect("git runs");
    assert!(status.success(), "git {arguments:?}");
}

/// A repository with everything that actions/checkout and people leave in its configuration.
fn repository(scratch: &Scratch) -> PathBuf {
    let work = directory(scratch, "work");
    git(&work, &["init", "--quiet"]);
    git(&work, &["add", "file"]);
    git(&work, &["commit", "--quiet", "--message", "first"]);
    git(&work, &["remote", "add", "origin", "https://x-access-token:s3cret@github.com/a/b"]);
    git(&work, &["config", "http.https://github.com/.extraheader", "AUTHORIZATION: basic s3cret"]);
    work
}

#[test]
fn git_works_without_the_credentials_in_its_configuration() {
    let scratch = Scratch::new("git");
    let work = repository(&scratch);
    let before = fs::read_to_string(work.join(".git/config")).expect("read");
    assert_eq!(before.matches("s3cret").count(), 2);
    let outcome = Run::new()
        .in_directory(&work)
        .run(
            "grep -rs s3cret . && echo FOUND; git config --get-regexp extraheader; git remote -v | head -1; \
             git config user.name me && git config user.email me@example.com && git config user.name; \
             echo more >> file && git commit --quiet --all --message second && git checkout --quiet -b new && \
             git log --oneline | wc -l; git branch --quiet --set-upstream-to=main; git status --short --branch; \
             rm -f .git/config 2> /dev/null; mv .git/config x 2> /dev/null; ln .git/config x 2> /dev/null; \
             mv .git moved; grep -rs s3cret . && echo FOUND; mv moved .git; git rev-parse --abbrev-ref HEAD",
        )
        .succeeded();
    let expected = "origin\thttps://github.com/a/b (fetch)\nme\n2\n## new...main [ahead 1]\nnew\n";
    // The branch is where main was: one commit ahead of nothing.
    let expected = expected.replace(" [ahead 1]", "");
    assert_eq!(outcome.stdout, expected, "{outcome:#?}");
    assert!(outcome.stderr.contains("holds credentials"), "{outcome:#?}");
    assert_eq!(
        fs::read_to_string(work.join(".git/config")).expect("read"),
        before,
        "awf or the command changed it"
    );
    let log = Command::new("git")
        .arg("-C")
        .arg(&work)
        .args(["log", "--oneline", "new"])
        .output()
        .expect("git runs");
    assert_eq!(text(&log).lines().count(), 2, "what was committed inside is there outside");
}

#[test]
fn a_configuration_without_credentials_is_the_hosts_own() {
    let scratch = Scratch::new("git");
    let work = directory(&scratch, "work");
    git(&work, &["init", "--quiet"]);
    let outcome = Run::new().in_directory(&work).run("git config user.name me").succeeded();
    assert!(!outcome.stderr.contains("credentials"), "{outcome:#?}");
    assert!(fs::read_to_string(work.join(".git/config")).expect("read").contains("name = me"));
}

#[test]
fn credentials_are_covered_in_every_mount_that_shows_them() {
    let scratch = Scratch::new("git");
    let work = repository(&scratch);
    fs::create_dir_all(work.join("home/.aws")).expect("make it");
    fs::write(work.join("home/.aws/credentials"), "s3cret\n").expect("write");
    fs::write(work.join("gha-creds.json"), "s3cret\n").expect("write");
    let mount = |target: &str, mode: &str| format!("{}:{target}:{mode}", work.display());
    let run = || {
        Run::new()
            .in_directory("/usr")
            .caller_variable("HOME", &work.join("home").display().to_string())
            .option("--mount", &mount("/one", "ro"))
            .option("--mount", &mount("/two", "rw"))
    };
    let line = "grep -rls s3cret /one /two; true";
    let control = run().run(line).succeeded();
    assert_eq!(control.stdout, "/one/gha-creds.json\n/two/gha-creds.json\n", "{control:#?}");
    let file = work.join("gha-creds.json").display().to_string();
    let outcome =
        run().caller_variable("GOOGLE_APPLICATION_CREDENTIALS", &file).run(line).succeeded();
    assert_eq!(outcome.stdout, "", "{outcome:#?}");
    let name = format!("GOOGLE_APPLICATION_CREDENTIALS={file}");
    let wanted = run()
        .caller_variable("GOOGLE_APPLICATION_CREDENTIALS", &file)
        .option("-e", &name)
        .run(line);
    assert_eq!(wanted.succeeded().stdout, control.stdout);
}

#[test]
fn a_run_leaves_nothing_in_the_real_home() {
    let scratch = Scratch::new("traces");
    let home = scratch.path().join("home");
    for file in [".config/gh/config.yml", ".cargo/x", ".copilot/x", ".aws/credentials", ".npmrc"] {
        let file = home.join(file);
        fs::create_dir_all(file.parent().expect("a directory")).expect("make it");
        fs::write(file, "x\n").expect("write");
    }
    let work = directory(&scratch, "work");
    let state = scratch.path().join("state");
    let (before, work_before) = (listing(&home), listing(&work));
    Run::new()
        .caller_variable("HOME", &home.display().to_string())
        .in_directory(&work)
        .option("--session-state-dir", &state.display().to_string())
        .option("--mount", &format!("{}:{}/not/there:ro", home.join(".cargo").display(), work.display()))
        .run("ls ~/.cargo ~/.config/gh ~/.copilot/session-state not/there; cat ~/.aws/credentials; touch ~/new; true")
        .succeeded();
    assert_eq!(listing(&home), before);
    assert_eq!(listing(&work), work_before);
}

#[test]
fn no_variable_of_the_caller_is_in_any_process() {
    let line = "cat /proc/[0-9]*/environ /proc/self/task/*/environ | tr '\\0' '\\n' | grep -c OF_THE_CALLER; true";
    let run = || Run::new().caller_variable("SECRET_OF_THE_CALLER", "x");
    let control = run().flag("--env-all").run(line).succeeded();
    assert_ne!(control.stdout, "0\n", "{control:#?}");
    let outcome = run().run(line).succeeded();
    assert_eq!(outcome.stdout, "0\n", "{outcome:#?}");
}

#[test]
fn the_state_of_a_session_is_kept_where_it_was_wanted() {
    let scratch = Scratch::new("session");
    let line =
        "echo state > ~/.copilot/session-state/file && stat -c %u ~/.copilot/session-state/file";
    let check = |run: Run, name: &str, owner: u32| {
        let state = scratch.path().join(name);
        let home = scratch.path().join("home").display().to_string();
        let run = run.caller_variable("HOME", &home);
        let outcome = if name == "variable" {
            run.caller_variable("AWF_SESSION_STATE_DIR", &state.display().to_string()).run(line)
        } else {
            run.option("--session-state-dir", &state.display().to_string()).run(line)
        };
        assert_eq!(outcome.succeeded().stdout, format!("{USER}\n"));
        let file = state.join("file");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "state\n");
        assert_eq!(fs::metadata(&file).expect("it is there").uid(), owner);
    };
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("open it");
    check(Run::new(), "option", 0);
    check(Run::new(), "variable", 0);
    let user = USER.to_string();
    check(
        Run::new().caller_variable("SUDO_UID", &user).caller_variable("SUDO_GID", &user),
        "sudo",
        USER,
    );
    assert!(!scratch.path().join("home").exists(), "a home was made on the host");
}

/// What the command could write to, of these places.
fn writes(run: Run, places: &[&str]) -> Vec<String> {
    let places = places.join(" ");
    let line = format!(
        "for place in {places}; do touch $place/awf-touched 2> /dev/null && echo $place; done; true"
    );
    let Outcome { stdout, .. } = run.run(&line).succeeded();
    stdout.lines().map(str::to_owned).collect()
}

#[test]
fn only_what_the_file_allows_stays_writable() {
    let scratch = Scratch::new("allow-write");
    let work = directory(&scratch, "work");
    let data = directory(&scratch, "data");
    for name in ["a", "b/c"] {
        fs::create_dir_all(work.join(name)).expect("make it");
    }
    fs::set_permissions(&work, fs::Permissions::from_mode(0o700)).expect("close it");
    let run = |list: Option<&str>| {
        let config =
            list.map_or_else(String::new, |list| format!("filesystem: {{ allowWrite: {list} }}\n"));
        configured(&scratch, &config)
            .in_directory(&work)
            .option("--mount", &format!("{}:/data", data.display()))
            .option("--session-state-dir", &scratch.path().join("state").display().to_string())
    };
    let work = work.display().to_string();
    let places = [
        &work,
        &format!("{work}/a"),
        &format!("{work}/b/c"),
        "/data",
        "/tmp",
        "/dev/shm",
        "~/.copilot/session-state",
    ];
    let places: Vec<&str> = places.into_iter().map(|place| place as &str).collect();
    let write = |list: Option<&str>| writes(run(list), &places);
    assert_eq!(write(None).len(), places.len());
    fs::remove_file("/tmp/awf-touched").expect("it was made");
    let memory = |of: &[&str]| -> Vec<String> {
        let state = format!("{}/.copilot/session-state", std::env::var("HOME").expect("a home"));
        of.iter().map(|place| (*place).to_owned()).chain(["/dev/shm".to_owned(), state]).collect()
    };
    assert_eq!(write(Some("[]")), memory(&[]));
    assert_eq!(write(Some("[/data]")), memory(&["/data"]));
    assert_eq!(write(Some(&format!("[{work}/a]"))), memory(&[&format!("{work}/a")]));
    assert_eq!(
        write(Some(&format!("[/host{work}/b, {work}]"))),
        memory(&[&work, &format!("{work}/a"), &format!("{work}/b/c")])
    );
    let outcome = run(Some(&format!("[{work}/a/../b]"))).run("true").failed();
    assert!(
        outcome.stderr.contains("filesystem.allowWrite") && outcome.stderr.contains("awf.yml:1"),
        "{outcome:#?}"
    );
    for nonsense in ["/nowhere", "/usr/bin", &format!("{work}/missing")] {
        let outcome = run(Some(&format!("[{nonsense}]"))).run("echo started").failed();
        let named = format!("filesystem.allowWrite '{nonsense}'");
        assert!(outcome.stderr.contains(&named) && outcome.stdout.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn a_read_only_workspace_can_be_read_as_before() {
    let scratch = Scratch::new("read-only");
    let work = directory(&scratch, "work");
    fs::set_permissions(work.join("file"), fs::Permissions::from_mode(0o600)).expect("close it");
    let outcome = configured(&scratch, "filesystem: { allowWrite: [] }\n")
        .in_directory(&work)
        .run("cat file; echo x >> file; rm -f file; cat file")
        .succeeded();
    assert_eq!(outcome.stdout, "content\ncontent\n", "{outcome:#?}");
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome:#?}");
}

#[test]
fn the_command_is_who_the_file_says() {
    let scratch = Scratch::new("identity");
    let work = directory(&scratch, "work");
    let home = scratch.path().join("elsewhere/home").display().to_string();
    let config = format!(
        "chroot: {{ identity: {{ home: {home}, user: stranger, uid: 4321, gid: 4322 }} }}\n"
    );
    let outcome = configured(&scratch, &config)
        .in_directory(&work)
        .run(
            "id -u; id -g; id -un; echo $HOME $USER $LOGNAME; touch ~/x && stat -c %u ~ ~/x; getent passwd 4321 | cut -d: -f6; \
             cat file && echo y > new; env | grep ^AWF_CHROOT_IDENTITY | sort",
        )
        .succeeded();
    let expected = format!(
        "4321\n4322\nstranger\n{home} stranger stranger\n4321\n4321\n{home}\ncontent\nAWF_CHROOT_IDENTITY_GID=4322\n\
         AWF_CHROOT_IDENTITY_HOME={home}\nAWF_CHROOT_IDENTITY_UID=4321\nAWF_CHROOT_IDENTITY_USER=stranger\n"
    );
    assert_eq!(outcome.stdout, expected, "{outcome:#?}");
    assert_eq!(
        fs::metadata(work.join("new")).expect("written").uid(),
        0,
        "files of root's run are root's"
    );
    assert!(!scratch.path().join("elsewhere").exists(), "the home was made on the host");
    for (field, value) in
        [("uid", "0"), ("gid", "0"), ("home", "relative"), ("home", "/usr/none"), ("user", "a:b")]
    {
        let config =
            format!("chroot: {{ identity: {{ {field}: {value:?} }} }}\n").replace("\"0\"", "0");
        let outcome = configured(&scratch, &config).run("echo started").failed();
        let named = format!("chroot.identity.{field}");
        assert!(outcome.stderr.contains(&named) && outcome.stdout.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn programs_of_the_files_choice_are_found_first_and_stay_as_they_are() {
    let scratch = Scratch::new("binaries");
    let programs = directory(&scratch, "programs");
    let ls = programs.join("ls");
    fs::write(&ls, "#!/bin/sh\necho mine\n").expect("write");
    fs::set_permissions(&ls, fs::Permissions::from_mode(0o755)).expect("make it a program");
    let cache = directory(&scratch, "cache");
    let config = format!(
        "chroot: {{ binariesSourcePath: {} }}\ncontainer: {{ runnerToolCachePath: {} }}\n",
        programs.display(),
        cache.display()
    );
    let outcome = configured(&scratch, &config)
        .run(&format!(
            "ls; echo ${{PATH%%:*}}; touch /tmp/awf-runner-bin/x {0}/x; cat {0}/file",
            cache.display()
        ))
        .succeeded();
    assert_eq!(outcome.stdout, "mine\n/tmp/awf-runner-bin\ncontent\n", "{outcome:#?}");
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome:#?}");
    assert!(!Path::new("/tmp/awf-runner-bin").exists(), "a place was made on the host");
    for key in ["chroot: { binariesSourcePath: ", "container: { runnerToolCachePath: "] {
        let outcome =
            configured(&scratch, &format!("{key}/nowhere }}\n")).run("echo started").failed();
        assert!(outcome.stderr.contains("'/nowhere'") && outcome.stdout.is_empty(), "{outcome:#?}");
    }
}

#[test]
fn a_mount_may_have_a_place_that_the_host_does_not_have() {
    let scratch = Scratch::new("places");
    let data = directory(&scratch, "data");
    let name = scratch.path().file_name().expect("a name").display().to_string();
    let outcome = Run::new()
        .option("--mount", &format!("{}:/tmp/{name}/deep/data:ro", data.display()))
        .option("--mount", &format!("{}/file:/tmp/{name}/deep/one:ro", data.display()))
        .run(&format!("cd /tmp/{name}/deep && cat data/file one && stat -c %u ."))
        .succeeded();
    assert_eq!(outcome.stdout, format!("content\ncontent\n{USER}\n"), "{outcome:#?}");
    assert!(!Path::new("/tmp").join(name).exists(), "a place was made on the host");
}

#[test]
fn a_command_that_needs_node_ends_with_127_where_it_is_missing() {
    // Programs of the system only, and a node that nobody may execute in place of the system's, if it has one.
    let scratch = Scratch::new("needs");
    let run = || {
        let run = Run::new().caller_variable("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        if !Path::new("/usr/bin/node").exists() {
            return run;
        }
        let node = directory(&scratch, "node").join("file");
        run.option("--mount", &format!("{}:/usr/bin/node:ro", node.display()))
    };
    for (line, needed) in [("copilot --version", "node"), ("codex exec hi", "codex")] {
        let outcome = run().run(line);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (127, ""), "{outcome:#?}");
        assert!(outcome.stderr.contains(&format!("{needed} is missing")), "{outcome:#?}");
    }
    let program = directory(&scratch, "programs").join("node");
    fs::write(&program, "#!/bin/sh\necho ran\n").expect("write");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it a program");
    let path =
        format!("/usr/bin:/bin:/usr/sbin:/sbin:{}", scratch.path().join("programs").display());
    let outcome = Run::new()
        .caller_variable("PATH", &path)
        .option("--mount", &format!("{0}:{0}:ro", scratch.path().join("programs").display()))
        .run("copilot() { echo ran; }; copilot");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "ran\n"), "{outcome:#?}");
}

#[test]
fn nothing_is_put_into_the_home_for_tools_that_need_no_proxy() {
    let scratch = Scratch::new("seeds");
    let outcome = Run::new()
        .caller_variable("HOME", &scratch.path().join("home").display().to_string())
        .run("find ~ -type f; echo ${JAVA_TOOL_OPTIONS-unset}")
        .succeeded();
    assert_eq!(outcome.stdout, "unset\n", "{outcome:#?}");
}
