//! What is measured: awf in a lab, a long run of it that obeys, and Squid without awf.
//!
//! Owns the processes and the directory it makes, and the lab. Must never leave one of them behind.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use xtask::docker::{Docker, HOST_VARIABLE};
use xtask::lab::{Lab, world};

use super::patiently;
use crate::run;

/// The lab, and a directory for everything else; both end with it.
pub(super) struct Rig {
    lab: Lab,
    awf: PathBuf,
    directory: PathBuf,
}

/// What measurements need; see [`Rig::machine`].
#[derive(Debug)]
pub(super) struct Machine {
    lab: Lab,
    awf: PathBuf,
    /// This program, where every user may execute it.
    pub(super) program: PathBuf,
    /// For files of measurements.
    pub(super) directory: PathBuf,
}

impl Rig {
    pub(super) fn new(awf: PathBuf) -> Result<Self> {
        let name = format!("bench{}", std::process::id());
        let directory = PathBuf::from("/var/tmp").join(format!("awf-{name}"));
        let rig = Self { lab: Lab::named(&name)?, awf, directory };
        fs::create_dir(&rig.directory).context("make the directory of the bench")?;
        Lab::up(&name)?;
        fs::copy(std::env::current_exe()?, rig.directory.join("xtask")).context("copy xtask")?;
        Ok(rig)
    }

    pub(super) fn lab(&self) -> &Lab {
        &self.lab
    }

    pub(super) fn machine(&self) -> Machine {
        Machine {
            lab: self.lab.clone(),
            awf: self.awf.clone(),
            program: self.directory.join("xtask"),
            directory: self.directory.clone(),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Err(error) = self.lab.down() {
            eprintln!("the lab {} could not be taken down: {error:#}", self.lab.name());
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("{} could not be removed: {error}", self.directory.display());
        }
    }
}

impl Machine {
    /// awf, without domains and command. The caller is in the lab's network namespace already, but sees the machine's
    /// resolv.conf.
    pub(super) fn awf(&self) -> Command {
        let mut command = Command::new(&self.awf);
        command.args(["--log-level", "error", "--dns-servers", &world::DNS_V4.join(",")]);
        command.args(["--runtime", "native"]);
        command.env("TMPDIR", &self.directory).current_dir(&self.directory);
        command
    }

    /// The same with the Docker runtime: awf lets the last word count.
    pub(super) fn awf_in_docker(&self, docker: &Docker) -> Command {
        let mut command = self.awf();
        command.args(["--runtime", "docker"]);
        command.env(HOST_VARIABLE, docker.host().unwrap_or_default());
        command
    }

    /// awf, without options.
    pub(super) fn plain_awf(&self) -> Command {
        Command::new(&self.awf)
    }

    /// The shell line that measures from within.
    pub(super) fn meter(&self, what: &str) -> String {
        format!("{} bench --meter {what}", self.program.display())
    }

    /// What a shell line prints without awf, in the lab.
    pub(super) fn free(&self, line: &str) -> Result<String> {
        let mut bash = self.lab.host_command("bash");
        bash.args(["-c", line]).env("CURL_CA_BUNDLE", self.lab.ca()).stderr(Stdio::inherit());
        let output = bash.stdin(Stdio::null()).output().context("run a shell")?;
        ensure!(output.status.success(), "{line} failed");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// A run of awf whose command obeys shell lines.
pub(super) struct Sandbox {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// Ends the answer to a line.
const END: &str = "-- end of answer";

impl Sandbox {
    pub(super) fn start(machine: &Machine, allowed: &str) -> Result<Self> {
        let mut command = machine.awf();
        command.args(["--allow-domains", allowed]);
        run::offer_ca(&mut command, &machine.lab);
        let program = machine.program.display();
        command.arg("--mount").arg(format!("{program}:{program}:ro"));
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            command.args(["--exclude-env", name]);
        }
        let line = format!("while read -r line; do eval \"$line\"; echo; echo '{END}'; done");
        let mut child = command
            .args(["--", &line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start awf")?;
        let input = child.stdin.take().context("awf has no input")?;
        let output = BufReader::new(child.stdout.take().context("awf has no output")?).lines();
        Ok(Self { child, input, output })
    }

    /// What a shell line prints in the sandbox.
    pub(super) fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.input, "{line}").context("the run has ended")?;
        let mut answer = String::new();
        loop {
            let line = self.output.next().context("the run has ended")??;
            if line == END {
                return Ok(answer.trim_end().to_owned());
            }
            answer = answer + &line + "\n";
        }
    }

    /// Process id of awf.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Process id of its Squid.
    pub(super) fn squid(&self) -> Result<u32> {
        patiently("look for the run's Squid", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).ok()?;
            let lists =
                tasks.flatten().map(|task| fs::read_to_string(task.path().join("children")));
            let children = lists.flatten().collect::<Vec<_>>().join(" ");
            children.split_whitespace().filter_map(|id| id.parse().ok()).find(|id| is_squid(*id))
        })
    }

    /// Ends the run.
    pub(super) fn end(mut self) -> Result<()> {
        drop(self.input);
        let status = self.child.wait().context("wait for awf")?;
        ensure!(status.success(), "awf ended with {status}");
        Ok(())
    }
}

fn is_squid(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim_end() == "squid")
}

/// Squid as a plain forward proxy for everything, in the lab's host namespace.
pub(super) struct SquidAlone {
    child: Child,
    port: u16,
}

impl SquidAlone {
    pub(super) fn start(machine: &Machine) -> Result<Self> {
        let directory = machine.directory.join("squid");
        fs::create_dir(&directory).context("make Squid's directory")?;
        // Squid leaves root before it opens its logs.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777))?;
        let port = free_port()?;
        let conf = directory.join("squid.conf");
        fs::write(&conf, configuration(&directory, port)).context("write squid.conf")?;
        let messages = File::create(directory.join("messages")).context("make Squid's messages")?;
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
        let child = machine
            .lab
            .host_command("squid")
            .args(["-N", "-n", &format!("bench{}", std::process::id()), "-f"])
            .arg(&conf)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(messages.try_clone()?)
            .stderr(messages)
            .spawn()
            .context("start Squid")?;
        let squid = Self { child, port };
        patiently("wait for Squid alone", || {
            TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(1))
                .ok()
        })?;
        Ok(squid)
    }

    /// The option that leads curl to it.
    pub(super) fn option(&self) -> String {
        format!("-x http://127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for SquidAlone {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("Squid could not be ended: {error}");
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}

fn configuration(directory: &Path, port: u16) -> String {
    let servers = world::DNS_V4.join(" ");
    let directory = directory.display();
    format!(
        "http_port 127.0.0.1:{port}\nhttp_access allow all\ncache deny all\ncache_mem 0 MB\n\
         memory_pools off\npid_filename none\npinger_enable off\nshutdown_lifetime 0 seconds\n\
         max_filedescriptors 4096\ndns_nameservers {servers}\nvisible_hostname bench.invalid\n\
         access_log stdio:{directory}/access.log\ncache_log {directory}/cache.log\n\
         cache_store_log none\ncoredump_dir {directory}\n"
    )
}

/// Processor time of processes so far, in seconds: all their threads (`/proc/PID/task/TID/schedstat`, first field, ns).
pub(super) fn cpu_seconds(ids: &[u32]) -> Result<f64> {
    let mut sum = Duration::ZERO;
    for id in ids {
        let tasks = fs::read_dir(format!("/proc/{id}/task")).context("a process has ended")?;
        for task in tasks {
            let stat = fs::read_to_string(task?.path().join("schedstat"));
            let stat = stat.context("read the time of a thread")?;
            let time = stat.split_whitespace().next().and_then(|time| time.parse().ok());
            sum += Duration::from_nanos(time.context("no time of a thread")?);
        }
    }
    Ok(sum.as_secs_f64())
}

/// Resident memory of a process in MiB (`VmRSS` of proc(5) status, in KiB).
pub(super) fn resident_mib(id: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).context("a process has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.context("no resident size")? / 1024.0)
}
