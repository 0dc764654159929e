//! The lab: an offline internet in two network namespaces, for running awf where nothing real can be reached.
//!
//! ```text
//!  awf-NAME-host                        wire (veth)           awf-NAME-net
//!  awf, Squid, test daemons   100.64.77.2 ------> 100.64.77.1  every public address, DNS, web, git, attackers
//!  default routes (v4, v6)     2600:77:1ab::2        |         answers for 0.0.0.0/0 and ::/0
//!                                                  sink: every packet and DNS query on record
//! ```
//!
//! Owns the namespaces `awf-NAME-host` and `awf-NAME-net`, the processes in them, and `/run/awf-lab/NAME`. Takes a name
//! (`AWF_LAB`, by default `lab`), so that several labs live side by side. Gives [`Lab`]: commands in the host namespace
//! ([`Lab::host_command`]), the test CA ([`Lab::ca`]), and the record of all that left ([`Lab::sink`]). Must never
//! touch the machine's own network, trust store or resolver, nor any process or namespace it did not make: no interface
//! of the lab is ever in the machine's namespace, and nothing forwards out of it. Needs root.
//!
//! # Names
//!
//! Everything else is NXDOMAIN; no query is ever forwarded. DNS: 8.8.8.8, 8.8.4.4, `2001:4860:4860::8888` and `::8844`.
//!
//! | name | leads to | there |
//! |---|---|---|
//! | `example.com`, `www.example.com` | 93.184.216.34, 2606:2800:220:1:248:1893:25c8:1946 | page, echo ports |
//! | `api.example.com`, `a.b.example.com` | 93.184.216.35 | page |
//! | `example.org`, `example.net`, `denied.example.net` | 93.184.216.36 to .38; org and denied also v6 | page |
//! | `github.com` | 140.82.112.3 | `/lab/hello.git`: clone, fetch and push; archives |
//! | `codeload.github.com`, `api.github.com` | 140.82.112.10, 140.82.112.6 | archives; page |
//! | `cdn-a.test`, `cdn-b.test` | 151.101.1.91, shared | pages, for fronting |
//! | `ws.test`, `sse.test`, `files.test`, `h2.test` | 93.184.216.40 to .43 | pages, see endpoints |
//! | `pypi.lab.test`, `npm.lab.test` | 93.184.216.44, .45 | `/simple/` with `lab-hello`; npm's `lab-hello` |
//! | `crates.lab.test`, `goproxy.lab.test` | 93.184.216.46, .47 | sparse index with `lab-hello`; module `lab.test/hello` |
//! | `xn--mnchen-3ya.test` | 93.184.216.48 | page (an IDNA name) |
//! | `*.bulk.test` (`n0.bulk.test` ...) | 93.184.216.50, `2606:2800:220:1::50` | page |
//! | `alias.test` | a CNAME of `goproxy.lab.test` | its files |
//! | `v6only.test` | `2600:1ab::6` | page, no A record |
//! | `mixed.test` | 93.184.216.34 and 10.1.2.3 | page, or the internal service |
//! | `attacker.test` | 203.0.113.66, `2600:1ab::66` | echo on 80 and 443 too, raw or TLS |
//! | `metadata.test` | 169.254.169.254 | port 80: a fake secret |
//! | `private.test` | 10.1.2.3 | ports 80 and 443: internal service |
//! | `cgnat.test`, `ula.test`, `linklocal6.test` | 100.64.1.1, `fd00::1`, `fe80::1` | reserved ranges |
//! | `mapped.test`, `zero.test` | `::ffff:10.1.2.3`, 0.0.0.0 | odd spellings |
//! | `loop.test`, `loop6.test` | 127.0.0.1, `::1` | the host namespace itself |
//! | `blackhole.test`, `unreachable.test` | 192.0.2.1, 192.0.2.2 | silence; ICMP host unreachable |
//!
//! *Any* other address answers as well: 80 and 443 with `lab: unknown vhost`, the echo ports with an echo.
//!
//! # Endpoints
//!
//! On every page name, ports 80 and 443, HTTP/1.1 and (443) h2: `/whoami` (server name, Host, SNI, client), `/1GiB`
//! (zeros), `/pattern/BYTES` (a block of 1048573 seeded bytes repeated), `/upload` (counts; `?sha256=1` hashes), `/ws`
//! (WebSocket echo), `/events?n=5&ms=50` (SSE), `/slow?ms=1000`, `/models` and `/chat/completions` (a model), `/dns-query` (DNS over HTTPS). One leaf certificate covers all names, `*.` of
//! `example.com` `example.org` `example.net` `github.com` `lab.test` `bulk.test`, and the echo addresses. Go's checksum database is not played: `GOSUMDB=off`.
//!
//! TCP echo on every address: 22, 853, 3128, 5432, 8080, 8443; on the attacker's and example.com's: 53. TLS and HTTP are
//! recognised by the first bytes: TLS is accepted, HTTP is answered with `lab: listener ADDRESS port PORT reached`.
//! UDP echo on the attacker's and example.com's addresses: 53, 123, 443.
//!
//! # Files in the state directory
//!
//! `ca.pem`, `pids`, `packets.pcap` (the sink), `dnsmasq.log` (queries), `access.log` (one JSON object per request that
//! reached the web server), `nginx.log`, `*.out` (what each server printed). With a Docker daemon ([`Lab::docker`], which has
//! `/var/lib/awf-lab/NAME` too): `docker.sock`, `docker.pid`, `docker`.

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use nix::unistd::geteuid;
use std::{
    env,
    ffi::OsStr,
    fmt, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Instant,
};

pub mod world;
mod certs;
mod docker;
mod lock;
mod network;
mod packet;
mod process;
mod servers;
mod sink;

pub use packet::{Packet, Proto};
pub use process::Server;
pub(crate) use process::tool;
pub use servers::DOWNLOAD_BYTES;
pub use sink::{Mark, Sink};

use docker::Daemon;
use lock::Lock;
use network::Namespaces;

/// Where the labs keep their state. On a tmpfs, so that a reboot leaves no half-dead lab.
const ROOT: &str = "/run/awf-lab";
/// Names the lab to use; see [`default_name`].
const NAME_VARIABLE: &str = "AWF_LAB";
/// Longest name: namespaces and paths of Unix sockets (108 bytes, unix(7)) are made of it.
const NAME_LIMIT: usize = 32;

/// `cargo xtask lab ...`
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum LabCommand {
    /// Bring the lab up; fine when it is up already, repaired when it is half dead.
    Up,
    /// End it and remove everything it made.
    Down,
    /// Tell what of it is there.
    Status,
}

impl LabCommand {
    /// Does it, for the lab named by `AWF_LAB`, and says so on stdout.
    pub fn run(self) -> Result<()> {
        let begin = Instant::now();
        let text = match self {
            Self::Up => {
                let lab = up()?;
                let seconds = begin.elapsed().as_secs_f32();
                format!("lab {} is up ({seconds:.2} s); its CA: {}\n", lab.name, lab.ca().display())
            }
            Self::Down => {
                down()?;
                format!("lab {} is down ({:.2} s)\n", default_name(), begin.elapsed().as_secs_f32())
            }
            Self::Status => status()?.to_string(),
        };
        io::stdout().write_all(text.as_bytes()).context("write to stdout")
    }
}

/// The lab that commands without a name mean: `AWF_LAB`, else `lab`.
pub fn default_name() -> String {
    env::var(NAME_VARIABLE).unwrap_or_else(|_| "lab".to_owned())
}

/// Debian packages the lab needs. None of their services has to run; the lab starts its own.
pub fn requirements() -> &'static [&'static str] {
    &process::PACKAGES
}

/// Brings the default lab up; see [`Lab::up`].
pub fn up() -> Result<Lab> {
    Lab::up(&default_name())
}

/// Ends the default lab; see [`Lab::down`].
pub fn down() -> Result<()> {
    Lab::named(&default_name())?.down()
}

/// Looks at the default lab; see [`Lab::status`].
pub fn status() -> Result<Status> {
    Lab::named(&default_name())?.status()
}

/// A handle on one lab. Dropping it leaves the lab as it is.
#[derive(Debug, Clone)]
pub struct Lab {
    name: String,
    state: PathBuf,
    namespaces: Namespaces,
}

impl Lab {
    /// A handle on the lab `name` (lower-case letters, digits and dashes), up or not.
    pub fn named(name: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=NAME_LIMIT).contains(&name.len()) && name.bytes().all(allowed);
        ensure!(
            fits,
            "lab name {name:?}: use 1 to {NAME_LIMIT} lower-case letters, digits and dashes"
        );
        let state = Path::new(ROOT).join(name);
        Ok(Self { name: name.to_owned(), state, namespaces: Namespaces::of(name) })
    }

    /// The default lab, which must be up already.
    pub fn load() -> Result<Self> {
        let lab = Self::named(&default_name())?;
        match lab.defect() {
            None => Ok(lab),
            Some(defect) => {
                bail!("lab {} is not up ({defect}); run `cargo xtask lab up`", lab.name)
            }
        }
    }

    /// Brings the lab up. A sound lab stays untouched; of anything else the remains are removed first.
    pub fn up(name: &str) -> Result<Self> {
        let lab = Self::named(name)?;
        ensure!(geteuid().is_root(), "the lab makes network namespaces: run as root");
        for (program, _) in process::PROGRAMS {
            process::find(program)?;
        }
        let lock = Lock::take()?;
        if lab.defect().is_some() {
            lab.clear().context("remove the remains of an earlier lab")?;
            if let Err(error) = lab.build() {
                let logs = lab.last_words();
                lab.clear().context("remove a lab that did not come up")?;
                return Err(error.context(format!("bring the lab up; its servers said:\n{logs}")));
            }
        }
        lock.release()?;
        Ok(lab)
    }

    /// Ends every process of the lab and removes its namespaces and state; fine when there is nothing.
    ///
    /// "Every process" includes what was started by [`Self::host_command`] and stayed in the host namespace.
    pub fn down(&self) -> Result<()> {
        ensure!(geteuid().is_root(), "the lab's namespaces belong to root: run as root");
        let lock = Lock::take()?;
        self.clear()?;
        lock.release()
    }

    /// Looks at the lab without changing anything.
    pub fn status(&self) -> Result<Status> {
        Ok(Status {
            name: self.name.clone(),
            defect: self.defect(),
            servers: process::recorded(&self.state),
        })
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The test CA that signed every server's certificate (PEM).
    pub fn ca(&self) -> PathBuf {
        self.state.join("ca.pem")
    }

    /// Requests that reached the web server, one JSON object per line.
    pub fn access_log(&self) -> PathBuf {
        self.state.join("access.log")
    }

    /// The record of everything that left the host namespace.
    pub fn sink(&self) -> Sink {
        Sink::new(&self.state, &self.namespaces)
    }

    /// A command that runs `program` in the host namespace, with the lab's resolv.conf, nsswitch.conf and hosts.
    ///
    /// The child's id is the program's: every step on the way replaces itself. Signals, stdin and the exit code
    /// therefore pass through. Mounts made by the program do not reach the machine, those of the machine reach it.
    pub fn host_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespaces.host_path().display()));
        command.args(["unshare", "--mount", "--propagation", "slave", "sh"]);
        command.arg(self.state.join("enter.sh")).arg(&self.state).arg(program);
        command
    }

    /// A command that runs `program` on the internet's side, for listeners a test needs beyond the played ones.
    pub fn internet_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespaces.internet_path().display())).arg(program);
        command
    }

    /// Runs `act` on a thread inside the host's network namespace: sockets it opens belong to the lab.
    pub fn in_host<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        process::inside(&self.namespaces.host_path(), act)
    }

    /// What is wrong with the lab; none when it is up, complete and made by this version of the lab.
    fn defect(&self) -> Option<String> {
        if !self.state.exists() {
            return Some("nothing there".to_owned());
        }
        if !geteuid().is_root() {
            return Some("only root can look inside".to_owned());
        }
        if fs::read_to_string(self.state.join("fingerprint")).ok() != Some(fingerprint()) {
            return Some("incomplete, or made by another version".to_owned());
        }
        if let Some(missing) = self.namespaces.paths().iter().find(|path| !path.exists()) {
            return Some(format!("{} is missing", missing.display()));
        }
        let servers = process::recorded(&self.state);
        let alive =
            |name: &str| servers.iter().any(|server| server.name == name && server.is_alive());
        if let Some(dead) = servers::SERVERS.into_iter().find(|name| !alive(name)) {
            return Some(format!("{dead} is dead"));
        }
        let silent = servers::silent(&self.state, &self.namespaces.internet_path());
        if !silent.is_empty() {
            return Some(format!("without an answer: {}", silent.join(", ")));
        }
        self.sink().mark().err().map(|error| format!("{error:#}"))
    }

    /// Makes everything, slow independent things beside each other. The fingerprint comes last: only a lab that has it
    /// was ever complete.
    fn build(&self) -> Result<()> {
        let internet = self.namespaces.internet_path();
        fs::create_dir_all(&self.state).context("create the state directory")?;
        publish(&self.state, 0o755)?;
        servers::write_content(&self.state)?;
        thread::scope(|scope| {
            let content = scope.spawn(|| servers::make_content(&self.state));
            certs::make(&self.state).context("make the test CA")?;
            publish(&self.ca(), 0o644)?;
            self.namespaces.create().context("make the namespaces")?;
            servers::start_capture(&self.state, &internet, network::WIRE)?;
            self.namespaces.connect().context("connect the namespaces")?;
            servers::start(&self.state, &internet)?;
            content.join().map_err(|_payload| anyhow::anyhow!("making content panicked"))?
        })?;
        self.sink().mark().context("try the sink")?;
        fs::write(self.state.join("fingerprint"), fingerprint()).context("finish the lab")
    }

    /// Removes whatever there is. Processes come first, and nothing else happens while one of them lives: without the
    /// namespaces' names and the record of servers nobody could find it again.
    fn clear(&self) -> Result<()> {
        let daemon = Daemon::of(self);
        process::kill_all(&self.state, &self.namespaces.paths(), || daemon.processes())?;
        let unnamed = self.namespaces.remove();
        // Before the state directory, which tells where the daemon's containers were.
        let undone = daemon.remove();
        let removed = match fs::remove_dir_all(&self.state) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.state.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        };
        unnamed.and(undone).and(removed)
    }

    /// The last lines of the servers' logs, for the error message of a lab that did not come up.
    fn last_words(&self) -> String {
        let names = servers::SERVERS.map(|name| format!("{name}.out"));
        let logs = names.iter().map(String::as_str).chain(["nginx.log", "dnsmasq.log"]);
        let tail = |log: &str| {
            let text = fs::read_to_string(self.state.join(log)).unwrap_or_default();
            let lines: Vec<_> =
                text.lines().rev().take(3).map(|line| format!("  {log}: {line}\n")).collect();
            lines.into_iter().rev().collect::<String>()
        };
        logs.map(tail).collect()
    }
}

/// What [`Lab::status`] found.
#[derive(Debug, Clone)]
pub struct Status {
    /// The lab's name.
    pub name: String,
    /// Why the lab cannot be used as it is; none when it is up.
    pub defect: Option<String>,
    /// The recorded servers, dead or alive.
    pub servers: Vec<Server>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.defect {
            None => writeln!(f, "lab {}: up", self.name)?,
            Some(defect) => writeln!(f, "lab {}: not up: {defect}", self.name)?,
        }
        for server in &self.servers {
            let life = if server.is_alive() { "alive" } else { "dead" };
            writeln!(f, "  {:<9} {life}, process {}", server.name, server.pid)?;
        }
        Ok(())
    }
}

/// Lets every user read what programs in the lab need, whatever the umask of the caller.
fn publish(path: &Path, mode: u32) -> Result<()> {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions)
        .with_context(|| format!("set the mode of {}", path.display()))
}

/// Changes whenever the played world or its servers do.
fn fingerprint() -> String {
    let mut hasher = DefaultHasher::new();
    (world::NAMES, servers::TEMPLATES, docker::TEMPLATES, env!("CARGO_PKG_VERSION"))
        .hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_state_directory_are_refused() {
        for name in ["", "..", "a/b", "Lab", "a b", &"x".repeat(NAME_LIMIT + 1)] {
            assert!(Lab::named(name).is_err(), "{name:?}");
        }
        assert_eq!(Lab::named("ci-2").unwrap().state(), Path::new("/run/awf-lab/ci-2"));
    }

    #[test]
    fn the_program_gets_its_arguments_unchanged() {
        let mut command = Lab::named("lab").unwrap().host_command("curl");
        let words: Vec<_> = command.arg("a b").get_args().collect();
        assert_eq!(words.last_chunk::<3>().unwrap(), &["/run/awf-lab/lab", "curl", "a b"]);
    }

    /// A lab that ends with the test, also when the test fails.
    struct Borrowed(Lab);

    impl Drop for Borrowed {
        fn drop(&mut self) {
            self.0.down().expect("remove the test's lab");
        }
    }

    fn borrow(name: &str) -> Borrowed {
        Borrowed(Lab::up(name).unwrap())
    }

    #[test]
    #[ignore = "needs root and the packages of `requirements`"]
    fn a_lab_leaves_nothing_behind_even_after_losing_its_namespaces() {
        let borrowed = borrow("test-down");
        let lab = &borrowed.0;
        let server = process::recorded(&lab.state)
            .into_iter()
            .find(|server| server.name == "nginx")
            .unwrap();
        let worker =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid)).unwrap();
        let worker = worker.split_whitespace().next().unwrap().to_owned();
        lab.namespaces.remove().unwrap();
        assert!(lab.defect().is_some());
        lab.down().unwrap();
        assert!(!server.is_alive());
        let remains = fs::read_to_string(format!("/proc/{worker}/cmdline")).unwrap_or_default();
        assert_eq!(remains, "", "an nginx worker survived");
        assert!(!lab.state.exists() && lab.namespaces.paths().iter().all(|path| !path.exists()));
    }

    #[test]
    #[ignore = "needs root and the packages of `requirements`"]
    fn a_lab_with_a_dead_server_is_repaired() {
        let lab = borrow("test-repair");
        let server = process::recorded(&lab.0.state).pop().unwrap();
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(server.pid.try_into().unwrap()),
            nix::sys::signal::SIGKILL,
        )
        .unwrap();
        while server.is_alive() {}
        assert!(lab.0.defect().is_some());
        assert!(Lab::up(lab.0.name()).unwrap().defect().is_none());
    }

    #[test]
    #[ignore = "needs root and the packages of `requirements`"]
    fn the_sink_sees_every_packet_and_query_and_nothing_else() {
        let lab = borrow("test-sink");
        let sink = lab.0.sink();
        let mark = sink.mark().unwrap();
        assert_eq!(sink.traffic_since(&mark).unwrap(), []);
        let send = || {
            let socket = std::net::UdpSocket::bind((world::HOST_V4, 0))?;
            (0..1000)
                .try_for_each(|_| socket.send_to(b"leak", (world::ATTACKER_V4, 9999)).map(drop))?;
            Ok(())
        };
        lab.0.in_host(send).unwrap();
        let leaks = sink.traffic_since(&mark).unwrap();
        assert_eq!(leaks.iter().filter(|packet| packet.payload == b"leak").count(), 1000);
        assert_eq!(leaks.len(), 1000);
        let found =
            lab.0.host_command("getent").args(["ahostsv4", "api.example.com"]).output().unwrap();
        assert!(found.status.success());
        assert_eq!(sink.dns_queries_since(&mark).unwrap(), ["api.example.com"]);
    }
}
