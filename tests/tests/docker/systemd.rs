//! A daemon that leaves cgroups to systemd: a real systemd, as process 1 of namespaces of its own, and a daemon in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use awf_tests::{Scratch, awf, lab};

use crate::daemon::cgroup_root;
use crate::{AGENT, SQUID};

const BOOT: &str = include_str!("systemd/boot.sh");
/// The daemon of the machine, which sees the machine's own /run.
const SOCKET: &str = "unix:///run/docker.sock";
const PATIENCE: Duration = Duration::from_mins(1);

/// See the module text.
struct Machine {
    scratch: Scratch,
    cgroup: PathBuf,
    boot: Child,
    /// systemd, as seen from outside.
    first: u32,
}

impl Machine {
    fn boot() -> Self {
        let scratch = Scratch::new("systemd");
        let cgroup = cgroup_root().join(format!("awf-systemd-{}", std::process::id()));
        fs::create_dir(&cgroup).expect("a cgroup can be made");
        let script = scratch.path().join("boot.sh");
        fs::write(&script, BOOT).expect("it can be written");
        let log = fs::File::create(scratch.path().join("log")).expect("it can be made");
        let mut boot = lab().host_command("sh");
        boot.arg(&script).arg(scratch.path()).arg(&cgroup);
        boot.stdin(Stdio::null()).stdout(log.try_clone().expect("one more")).stderr(log);
        let boot = boot.spawn().expect("a shell starts");
        let mut machine = Self { scratch, cgroup, boot, first: 0 };
        machine.first = machine.until("systemd runs", Self::systemd);
        machine.until("systemd answers", |machine| {
            let state = machine.run(&["systemctl", "is-system-running"]).output().expect("it runs");
            String::from_utf8_lossy(&state.stdout).starts_with("running").then_some(())
        });
        machine
    }

    #[track_caller]
    fn until<T>(&self, what: &str, mut there: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(there) = there(self) {
                return there;
            }
            let log = fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "{what}: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The child of `unshare`, which the shell became.
    fn systemd(&self) -> Option<u32> {
        let pid = self.boot.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let child = children.split_whitespace().next()?.parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (name == "systemd\n").then_some(child)
    }

    /// A command in the machine, in a scope like a session's.
    fn run(&self, command: &[&str]) -> Command {
        let enter = "scope=/sys/fs/cgroup/user.slice/session.scope; mkdir -p $scope; \
                     echo $$ >$scope/cgroup.procs; exec \"$@\"";
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.first.to_string()]);
        nsenter.args(["--mount", "--pid", "--cgroup", "--ipc", "--uts", "--net"]);
        nsenter.args(["sh", "-c", enter, "sh"]).args(command).stdin(Stdio::null());
        nsenter
    }

    /// Starts its daemon and gives it the images.
    fn start_daemon(&self) {
        let log = fs::File::options().append(true).open(self.scratch.path().join("log"));
        let log = log.expect("it is there");
        let data = self.scratch.path().join("data");
        let mut daemon =
            self.run(&["dockerd", "--host", SOCKET, "--bridge=none", "--iptables=false"]);
        // The lab's host namespace, which it shares, forwards nothing.
        daemon.arg("--ip-forward=false");
        daemon.args(["--exec-opt", "native.cgroupdriver=systemd"]);
        daemon.args(["--exec-root=/run/docker-exec", "--pidfile=/run/docker.pid"]);
        daemon.arg("--data-root").arg(data).stdout(log.try_clone().expect("one more")).stderr(log);
        drop(daemon.spawn().expect("dockerd starts"));
        self.until("the daemon answers", |machine| {
            let mut version = machine.run(&["docker", "-H", SOCKET, "version"]);
            version.output().expect("it runs").status.success().then_some(())
        });
        let mut save = crate::daemon().client().expect("docker is installed");
        let mut save =
            save.args(["save", AGENT, SQUID]).stdout(Stdio::piped()).spawn().expect("it runs");
        let mut load = self.run(&["docker", "-H", SOCKET, "load"]);
        let loaded = load.stdin(save.stdout.take().expect("a pipe")).output().expect("it runs");
        assert!(loaded.status.success() && save.wait().expect("it ends").success(), "{loaded:?}");
    }

    fn units(&self) -> String {
        let list = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "awf-*.slice"];
        let units = self.run(&list).output().expect("it runs");
        String::from_utf8_lossy(&units.stdout).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The end of process 1 of a pid namespace ends all others in it.
        drop(fs::write(self.cgroup.join("cgroup.kill"), "1"));
        drop(self.boot.kill());
        drop(self.boot.wait());
        let remove = "find \"$1\" -depth -type d -exec rmdir {} +";
        for _try in 0..100 {
            drop(Command::new("sh").args(["-c", remove, "sh"]).arg(&self.cgroup).output());
            if !self.cgroup.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn directories(below: &Path) -> Vec<String> {
    let list = Command::new("find")
        .arg(below)
        .args(["-mindepth", "1", "-name", "awf-*"])
        .output()
        .expect("it runs");
    String::from_utf8_lossy(&list.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn the_programs_govern_containers_whose_cgroups_systemd_makes() {
    let machine = Machine::boot();
    machine.start_daemon();
    let logs = machine.scratch.path().join("logs");
    let awf = awf();
    let mut run = machine.run(&[awf.to_str().expect("UTF-8")]);
    run.args(["--runtime", "docker", "--docker-host", SOCKET, "--allow-domains", "example.com"]);
    run.args(["--dns-servers", "8.8.8.8", "--proxy-logs-dir"]).arg(&logs);
    run.arg("--audit-dir").arg(logs.join("audit")).env("TMPDIR", machine.scratch.path());
    run.args(["--", "curl -sS -o /dev/null -w '%{http_code}\\n' http://example.com; \
                     (echo x >/dev/udp/203.0.113.66/9999) 2>/dev/null || echo refused; sleep 2; echo ended"]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("awf starts");
    // While it runs, the command is in a scope that systemd made below the slice to which awf's programs are attached.
    let scope = machine.until("a scope below the agent's slice", |machine| {
        assert!(run_goes_on(&mut run), "awf ended");
        let found = directories(&machine.cgroup);
        let below = |path: &String| path.contains("-agent.slice");
        let slice = found.into_iter().find(below)?;
        let entries = fs::read_dir(slice).ok()?.flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).find(|path| path.to_string_lossy().ends_with(".scope"))
    });
    assert!(scope.file_name().unwrap().to_string_lossy().starts_with("docker-"), "{scope:?}");
    let output = run.wait_with_output().expect("awf ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200\nrefused\nended\n", "{output:?}");
    let record = fs::read_to_string(logs.join("egress.jsonl")).expect("there is a record");
    assert!(record.contains("\"rule\":\"udp\"") && record.contains("\"port\":9999"), "{record}");
    assert_eq!(
        (directories(&machine.cgroup), machine.units()),
        (Vec::<String>::new(), String::new())
    );
}

fn run_goes_on(run: &mut Child) -> bool {
    run.try_wait().expect("it can be asked").is_none()
}
