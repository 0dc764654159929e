//! The lab's daemon: what it is for, and that it leaves nothing, however it ended. If it did, the other tests of the tier would
//! prove less than they say.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use awf_tests::docker;
use nix::sys::signal::Signal;
use xtask::docker::Docker;

use crate::borrowed::Borrowed;
use crate::{AGENT, SQUID, daemon};

#[test]
fn it_answers_and_has_both_images() {
    let daemon = daemon();
    assert_ne!(daemon.version().expect("it answers"), "");
    for image in [AGENT, SQUID] {
        assert!(daemon.image(image).is_some(), "{image}");
    }
}

#[test]
fn a_container_without_network_has_no_route() {
    // Nothing but the table's head.
    let routes = ["run", "--rm", "--network", "none", AGENT, "sh", "-c", "wc -l </proc/net/route"];
    assert_eq!(daemon().ask(&routes).expect("it runs"), "1");
}

#[test]
fn a_container_in_the_host_namespace_sees_the_played_internet() {
    let line = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://example.com/"];
    let run = ["run", "--rm", "--network", "host", AGENT];
    assert_eq!(daemon().ask(&[&run[..], &line].concat()).expect("it runs"), "200");
}

#[test]
fn containers_of_one_network_reach_each_other_by_name_and_nothing_else() {
    let daemon = daemon();
    let name = format!("peers-{}", std::process::id());
    daemon.ask(&["network", "create", &name]).expect("a network can be made");
    let squid = ["run", "--detach", "--rm", "--network", &name, "--name", &name, SQUID];
    daemon.ask(&squid).expect("Squid starts");
    let client = |line: &str| {
        daemon
            .ask(&["run", "--rm", "--network", &name, AGENT, "bash", "-c", line])
            .expect("it runs")
    };
    let found = client(&format!(
        "for try in $(seq 100); do curl -s -o /dev/null -w '%{{http_code}}' {name}:3128 && break; sleep 0.1; done"
    ));
    let out = client("curl -s -m 2 http://93.184.216.34/ >/dev/null; echo $?");
    daemon.ask(&["kill", &name]).expect("Squid ends");
    // The network is in use until the daemon has removed the container, a moment after its end.
    let removed = (0..100).any(|_try| {
        std::thread::sleep(Duration::from_millis(50));
        daemon.ask(&["network", "rm", &name]).is_ok()
    });
    assert!(removed, "the network stays");
    assert!(found.ends_with("400"), "{found}");
    // 28 of curl(1): the time is over.
    assert_eq!(out, "28");
}

/// A container that sleeps: the id of its process, and the directory of its cgroup.
fn sleeper(docker: &Docker, options: &[&str]) -> (u32, PathBuf) {
    let run = [&["run", "--detach"], options, &[AGENT, "sleep", "1000"]].concat();
    let id = docker.ask(&run).expect("a container starts");
    let pid = docker.ask(&["inspect", "--format", "{{.State.Pid}}", &id]).expect("it runs");
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).expect("cgroup v2");
    (pid.parse().expect("a process id"), cgroup_root().join(group))
}

pub(crate) fn cgroup_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("procfs is mounted");
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup v2");
    PathBuf::from(mount.split(' ').nth(4).expect("a mount point"))
}

fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("sleep"))
}

#[test]
fn a_killed_daemon_is_started_again_and_nothing_outlives_its_lab() {
    assert!(docker().is_some(), "run the tests with `cargo xtask test docker`");
    let borrowed = Borrowed::with(&[AGENT]);
    let (lab, name) = (borrowed.lab().clone(), format!("awftest-{}", std::process::id()));
    let parent = format!("/{name}");
    let own = lab.docker().expect("it runs");
    let elsewhere = ["--network", "none", "--cgroupns", "private", "--cgroup-parent", &parent];
    let first = [sleeper(&own, &[]), sleeper(&own, &elsewhere)];
    assert!(first[1].1.starts_with(cgroup_root().join(&name)), "{first:?}");

    borrowed.signal_dockerd(Signal::SIGKILL);
    let again = lab.docker().expect("it is started again");
    assert!(first.iter().all(|(pid, cgroup)| !lives(*pid) && !cgroup.exists()), "{first:?}");
    assert!(again.image(AGENT).is_some(), "its images are gone");

    let second = [sleeper(&again, &["--network", "host"]), sleeper(&again, &elsewhere)];
    borrowed.signal_dockerd(Signal::SIGKILL);
    drop(borrowed);
    assert!(second.iter().all(|(pid, cgroup)| !lives(*pid) && !cgroup.exists()), "{second:?}");
    let data = Path::new("/var/lib/awf-lab").join(lab.name());
    let cgroup = cgroup_root().join(format!("awf-lab-{}", lab.name()));
    assert!([lab.state(), &data, &cgroup].iter().all(|place| !place.exists()));
    let data = data.display().to_string();
    let mounted = mount_tables().filter(|table| table.contains(&data)).count();
    assert_eq!(mounted, 0, "something still mounts its data");
    fs::remove_dir(cgroup_root().join(name)).expect("the test's own cgroup is empty");
}

/// What every process sees mounted.
fn mount_tables() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").expect("procfs is mounted").flatten();
    entries.filter_map(|entry| fs::read_to_string(entry.path().join("mountinfo")).ok())
}
