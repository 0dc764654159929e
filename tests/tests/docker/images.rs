//! Which images a run takes, and what is said when there are none.

use std::io::Write as _;
use std::process::{Command, Stdio};

use awf_tests::{Run, awf, lab};

use crate::{AGENT, SQUID, daemon};

/// awf in the lab with exactly these arguments.
fn bare(arguments: &[&str]) -> Command {
    let mut command = lab().host_command(awf());
    command.args(arguments).stdin(Stdio::null());
    command
}

#[track_caller]
fn refused(run: Run, needles: &[&str]) {
    let outcome = run.run("echo ran");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (116, ""), "{outcome:#?}");
    let errors: Vec<&str> =
        outcome.stderr.lines().filter(|line| line.starts_with("[ERROR]")).collect();
    assert_eq!(errors.len(), 1, "{outcome:#?}");
    for needle in needles {
        assert!(errors[0].contains(needle), "{needle}: {outcome:#?}");
    }
}

#[test]
fn a_missing_image_is_said_with_the_ways_to_get_it_before_anything_is_started() {
    let tagged = || Run::new().option("--image-tag", "missing");
    refused(tagged(), &["awf-agent:missing", "--build-local", "--image-registry"]);
    refused(tagged().flag("--skip-pull"), &["awf-agent:missing", "--build-local"]);
    // Nothing listens there: a registry that cannot be reached.
    let registry = Run::new().option("--image-registry", "127.0.0.1:9/team");
    refused(registry, &["127.0.0.1:9/team/agent:", "connection refused"]);
}

#[test]
fn a_daemon_that_is_not_there_is_said_and_auto_does_without() {
    let nowhere = ["--docker-host", "unix:///nowhere/docker.sock"];
    let docker = Run::new().option(nowhere[0], nowhere[1]);
    refused(docker, &["unix:///nowhere/docker.sock", "--docker-host", "--runtime native"]);
    let auto = Run::new().option(nowhere[0], nowhere[1]).option("--runtime", "auto");
    let outcome = auto.run("echo ran").succeeded();
    assert_eq!(outcome.stdout, "ran\n");
    assert!(outcome.stderr.contains("Runtime: native (no Docker daemon answers"), "{outcome:#?}");
}

#[test]
fn auto_takes_the_daemon_if_it_has_the_images_and_says_which_runtime_it_is() {
    let outcome = Run::new().option("--runtime", "auto").run("true").succeeded();
    assert!(outcome.stderr.contains("Runtime: docker (unix://"), "{outcome:#?}");
    let missing = Run::new().option("--runtime", "auto").option("--image-tag", "missing");
    let outcome = missing.run("true").succeeded();
    let said = "Runtime: native (the Docker daemon has no image awf-agent:missing)";
    assert!(outcome.stderr.contains(said), "{outcome:#?}");
}

#[test]
fn the_agents_image_needs_nothing_at_all() {
    // An empty archive: two blocks of zeros (ustar).
    let tag = format!("awf-test-empty:{}", std::process::id());
    let mut import = daemon().client().expect("docker is installed");
    let mut import = import
        .args(["import", "-", &tag])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs");
    import.stdin.take().expect("a pipe").write_all(&[0; 1024]).expect("it reads");
    assert!(import.wait().expect("it ends").success());
    let outcome = Run::allowing("example.com").option("--agent-image", &tag);
    let outcome =
        outcome.run("curl -sS -o /dev/null -w '%{http_code}' https://example.com").succeeded();
    assert_eq!(outcome.stdout, "200");
    daemon().ask(&["rmi", &tag]).expect("it can be removed");
}

#[test]
fn images_are_built_by_awf_itself_and_then_taken_as_they_are() {
    // What the build files name as their base is played by ours: nothing can be pulled here.
    let base = concat!("awf-base:", env!("CARGO_PKG_VERSION"));
    let tag = format!("built-{}", std::process::id());
    daemon().ask(&["tag", base, "debian:bookworm-slim"]).expect("the base is there");
    let host = daemon().host().expect("the tier names it").to_owned();
    let built =
        bare(&["predownload", "--docker-host", &host, "--build-local", "--image-tag", &tag]);
    let output = { built }.output().expect("awf runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for role in ["agent", "squid"] {
        assert!(said.contains(&format!("Built awf-{role}:{tag}")), "{said}");
        assert!(daemon().image(&format!("awf-{role}:{tag}")).is_some(), "{said}");
    }
    let outcome = Run::new().option("--image-tag", &tag).flag("--skip-pull").run("echo ran");
    assert_eq!(outcome.succeeded().stdout, "ran\n");
    for image in
        [format!("awf-agent:{tag}"), format!("awf-squid:{tag}"), "debian:bookworm-slim".into()]
    {
        daemon().ask(&["rmi", &image]).expect("it can be removed");
    }
    assert!(daemon().image(AGENT).is_some() && daemon().image(SQUID).is_some());
}

#[test]
fn a_plan_tells_the_containers_and_makes_none() {
    let host = daemon().host().expect("the tier names it").to_owned();
    let plan = bare(&["plan", "--runtime", "docker", "--docker-host", &host, "--", "true"]);
    let output = { plan }.output().expect("awf runs");
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let containers = &plan["containers"];
    assert_eq!(containers["agent"]["image"], AGENT);
    assert_eq!(containers["proxy"]["image"], SQUID);
    assert_eq!(containers["agent"]["body"]["HostConfig"]["NetworkMode"], "none");
    let name = containers["agent"]["name"].as_str().expect("a name");
    assert!(daemon().containers(name).expect("the daemon answers").is_empty());
}
