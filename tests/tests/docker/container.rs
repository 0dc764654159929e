//! The containers of a run: what they are, what is executed in them, and how they end.

use std::process::{Child, Output};
use std::time::{Duration, Instant};

use awf_tests::{Outcome, Run, kernel_version, leftovers, unconfined};
use serde_json::Value;

use crate::daemon;

/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A run whose command lives until it is told to end, with its container.
pub(crate) struct Living {
    run: Run,
    child: Child,
    began: Instant,
    /// Name of the agent's container.
    pub(crate) name: String,
}

impl Living {
    /// Starts it and waits until its command does. Tests run side by side, so the command's own mark tells its container.
    pub(crate) fn begin(run: Run) -> Self {
        let mark = format!("{}-{:?}", std::process::id(), std::thread::current().id());
        let mark: String = mark.chars().filter(char::is_ascii_alphanumeric).collect();
        let child = run.spawn(&format!("exec -a {mark} sleep 100"));
        let mut living = Self { run, child, began: Instant::now(), name: String::new() };
        let shows = |name: &String| {
            let top = daemon().ask(&["top", name, "-o", "pid,args"]);
            top.is_ok_and(|list| list.lines().any(|line| line.contains(&format!(" {mark} "))))
        };
        while living.name.is_empty() {
            assert!(living.began.elapsed() < PATIENCE, "no container runs the command");
            let names = daemon().containers("awf-agent-").expect("the daemon answers");
            living.name = names.into_iter().find(shows).unwrap_or_default();
        }
        living
    }

    /// A field of a container of this run, by a template of Docker's.
    pub(crate) fn field(&self, role: &str, template: &str) -> String {
        let name = self.name.replace("awf-agent-", &format!("awf-{role}-"));
        let format = format!("{{{{json {template}}}}}");
        daemon().ask(&["inspect", "--format", &format, &name]).expect("the container is there")
    }

    /// Executes a shell line in the agent's container.
    fn execute(&self, line: &str) -> Output {
        let mut client = daemon().client().expect("docker is installed");
        client.args(["exec", &self.name, "bash", "-c", line]).output().expect("it runs")
    }

    /// Ends it by its container.
    pub(crate) fn end(self, how: &str) -> Outcome {
        daemon().ask(&[how, &self.name]).expect("the daemon does it");
        self.ended()
    }

    /// Waits for its end.
    pub(crate) fn ended(self) -> Outcome {
        let output = self.child.wait_with_output().expect("awf ends");
        self.run.outcome(&output, self.began.elapsed())
    }
}

#[test]
fn the_agents_container_has_no_network_and_only_what_its_first_process_needs() {
    let living = Living::begin(Run::allowing("example.com"));
    let field = |template: &str| living.field("agent", template);
    assert_eq!(field(".HostConfig.NetworkMode"), "\"none\"");
    assert_eq!(field(".HostConfig.CgroupnsMode"), "\"private\"");
    assert_eq!(field(".HostConfig.IpcMode"), "\"private\"");
    assert_eq!(field(".HostConfig.PidMode"), "\"\"");
    assert_eq!(field(".HostConfig.Privileged"), "false");
    assert_eq!(field(".HostConfig.ReadonlyRootfs"), "true");
    assert_eq!(field(".HostConfig.CapDrop"), "[\"ALL\"]");
    for absent in ["NET_ADMIN", "NET_RAW", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "BPF"] {
        assert!(!field(".HostConfig.CapAdd").contains(absent), "{absent}");
    }
    assert!(field(".HostConfig.SecurityOpt").contains("no-new-privileges"));
    assert!(matches!(&*field(".HostConfig.PortBindings"), "null" | "{}"));
    let mounts = field(".Mounts");
    let sources: Value = serde_json::from_str(&mounts).expect("JSON");
    let sources: Vec<&str> =
        sources.as_array().unwrap().iter().map(|mount| mount["Source"].as_str().unwrap()).collect();
    // awf itself, its sign of life and the directory of the gate: nothing of the user's, no socket of a daemon.
    assert_eq!(sources.len(), 3, "{mounts}");
    assert!(sources.iter().all(|source| !source.contains("docker")), "{mounts}");
    assert!(field(".Config.Labels").contains("\"awf.role\":\"agent\""));
    // Nothing of the run is readable for whoever may look at containers.
    assert_eq!(
        field(".Config.Env"),
        "[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"]"
    );
    living.end("kill");
}

#[test]
fn squids_container_has_no_rights_and_serves_nobody_but_the_relay() {
    let living = Living::begin(Run::allowing("example.com"));
    let began = Instant::now();
    let pid = loop {
        let pid = living.field("squid", ".State.Pid");
        if pid != "0" {
            break pid;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "Squid is not started by itself");
    };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(!status.contains("Uid:\t0"), "{status}");
    assert_eq!(living.field("squid", ".HostConfig.ReadonlyRootfs"), "true");
    assert!(matches!(&*living.field("squid", ".HostConfig.PortBindings"), "null" | "{}"));
    // Whoever does not know the run's key is not served, also on the machine itself.
    let ports = unconfined(
        "for port in $(ss -Hltn 'src 127.0.0.1' | awk '{print $4}' | sed 's/.*://'); do \
         curl -s -m 2 -o /dev/null -w '%{http_code}\\n' -x http://127.0.0.1:$port http://example.com/; done",
    );
    let answers = String::from_utf8_lossy(&ports.stdout).into_owned();
    assert!(!answers.contains("200"), "somebody else was served: {answers}");
    living.end("kill");
}

#[test]
fn what_is_executed_in_the_container_is_governed_and_on_record_as_well() {
    let line = "curl -sS -m 5 http://example.org/; echo code $?; \
                (echo x >/dev/udp/203.0.113.66/9999) 2>&1; (echo x >/dev/tcp/203.0.113.66/22) 2>&1; \
                curl -sS -m 5 -o /dev/null -w 'allowed %{http_code}' http://example.com/";
    let control = unconfined("curl -sS -m 5 -o /dev/null -w '%{http_code}' http://example.org/");
    assert_eq!(String::from_utf8_lossy(&control.stdout), "200", "positive control");
    let living = Living::begin(Run::allowing("example.com"));
    let said = living.execute(line);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("is denied by deny-default") && said.contains("allowed 200"), "{said}");
    // Before Linux 5.18 a program cannot choose the errno.
    let errno =
        if kernel_version() < (5, 18) { "Operation not permitted" } else { "Connection refused" };
    assert_eq!(said.matches(&format!("bash: connect: {errno}")).count(), 2, "{said}");
    // Root of the container: what the kernel would grant it leads nowhere either.
    let raw = living.execute(
        "unshare --net true && echo namespace; ip route add default dev lo 2>&1; \
         grep -c : /proc/net/dev; wc -l </proc/net/route; ls -A /.awf/gate /host /proc/1/root/home 2>&1",
    );
    let raw = String::from_utf8_lossy(&raw.stdout).into_owned();
    assert!(raw.contains("\n1\n1\n"), "loopback and no route: {raw}");
    living
        .end("kill")
        .recorded(&[("name", "example.org".into()), ("verdict", "deny".into()), ("uid", 0.into())])
        .recorded(&[("rule", "udp".into()), ("port", 9999.into())])
        .recorded(&[("rule", "port".into()), ("port", 22.into())])
        .recorded(&[("name", "example.com".into()), ("verdict", "allow".into())]);
}

#[test]
fn a_container_that_is_stopped_or_killed_ends_the_run_at_once() {
    for how in ["stop", "kill", "restart"] {
        let living = Living::begin(Run::allowing("example.com"));
        let name = living.name.clone();
        let began = Instant::now();
        // It is removed when it ends, which is what restart then complains of.
        drop(daemon().ask(&[how, &name]));
        let outcome = living.ended();
        assert_eq!(outcome.code, 137, "{how}: {outcome:#?}");
        // Docker gives a container that ignores SIGTERM ten seconds; this one is ended by SIGKILL.
        assert!(began.elapsed() < Duration::from_secs(8), "{how}: {:?}", began.elapsed());
    }
}

#[test]
fn a_kept_container_that_is_started_again_runs_nothing() {
    let run = Run::allowing("example.com").flag("--keep-containers");
    // The record of a denial tells the run's id, which its containers carry.
    let outcome = run.run("curl -s http://example.org >/dev/null; echo ran").succeeded();
    assert_eq!(outcome.stdout, "ran\n");
    let id = outcome.records[0]["run"].as_str().expect("an id");
    let filter = format!("label=awf.run={id}");
    let kept = daemon().ask(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]);
    let kept = kept.expect("the daemon answers");
    assert_eq!(kept.lines().count(), 2, "{kept}");
    for name in kept.lines() {
        let started = daemon().ask(&["start", name]);
        assert!(started.is_err(), "{name} runs again without its awf");
        daemon().ask(&["rm", "--force", name]).expect("it can be removed");
    }
}

#[test]
fn a_run_leaves_no_container_behind() {
    let living = Living::begin(Run::allowing("example.com"));
    let id = living.name.trim_start_matches("awf-agent-").to_owned();
    living.end("kill");
    let left = leftovers();
    assert!(left.iter().all(|entry| !entry.contains(&id)), "{left:?}");
}
