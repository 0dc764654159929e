//! The lab's Docker daemon: dockerd and containerd inside the host namespace, started when somebody asks for them.
//!
//! Takes a lab that is up. Owns `docker*` in its state directory, `/var/lib/awf-lab/NAME` (images and containers, as a file
//! system in one file) and the cgroup `awf-lab-NAME`. Gives a [`Docker`] that sees the machine's files as they are (/run
//! included, where awf keeps what it mounts into containers) and no network but the lab. Must never touch the machine's own
//! Docker, nor forward a packet: containers reach each other and the host namespace, the played internet only with
//! `--network host`.

use super::{
    Lab,
    lock::Lock,
    process::{self, recorded, serve, tool, wait_until},
};
use crate::docker::Docker;
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where networks of containers lie: away from Docker's usual 172.17.0.1, which the lab plays as an address of the internet.
const SUBNETS: &str = r#"{
  "bip": "192.168.77.1/24",
  "default-address-pools": [{ "base": "192.168.128.0/17", "size": 24 }]
}
"#;
/// The data of every lab's daemon.
const DATA: &str = "/var/lib/awf-lab";
/// How the daemon is called in the `pids` file.
const SERVER: &str = "dockerd";
/// How long the daemon may take until it answers. Two seconds on an idle machine.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// What runs when a container is started: named here, so that a missing one is said before anything is started.
pub(super) const PROGRAMS: [&str; 5] = ["dockerd", "containerd", "runc", "iptables", "docker"];
/// Everything that shapes the daemon; see [`super::servers::TEMPLATES`].
pub(super) const TEMPLATES: [&str; 2] =
    [include_str!("files/docker.sh"), include_str!("files/containerd.toml")];

impl Lab {
    /// The lab's Docker daemon, started if it does not answer; without images. It ends with the lab.
    ///
    /// A daemon that was killed is started again: its containers are ended, its images are kept.
    pub fn docker(&self) -> Result<Docker> {
        if let Some(defect) = self.defect() {
            bail!("lab {} is not up: {defect}", self.name);
        }
        for program in PROGRAMS {
            process::find(program)?;
        }
        let lock = Lock::take()?;
        let daemon = Daemon::of(self);
        if !daemon.answers() {
            remove_forgotten()?;
            daemon.end().context("end what a dead Docker daemon left")?;
            if let Err(error) = daemon.start() {
                let log = fs::read_to_string(self.state.join("dockerd.out")).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let last = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default();
                return Err(error.context(format!("dockerd said:\n{}", last.join("\n"))));
            }
        }
        lock.release()?;
        Ok(Docker::at(&format!("unix://{}", daemon.socket().display())))
    }
}

/// What there may be of a lab's daemon.
#[derive(Debug)]
pub(super) struct Daemon<'a> {
    lab: &'a Lab,
}

impl<'a> Daemon<'a> {
    pub(super) fn of(lab: &'a Lab) -> Self {
        Self { lab }
    }

    fn socket(&self) -> PathBuf {
        self.lab.state.join("docker.sock")
    }

    fn data(&self) -> PathBuf {
        Path::new(DATA).join(&self.lab.name)
    }

    /// Name of the cgroup at the root of the hierarchy. Not Docker's default `/docker`, which several labs would share
    /// with the machine.
    fn cgroup(&self) -> String {
        format!("awf-lab-{}", self.lab.name)
    }

    fn answers(&self) -> bool {
        let alive = recorded(&self.lab.state)
            .iter()
            .any(|server| server.name == SERVER && server.is_alive());
        alive && ping(&self.socket()).is_ok()
    }

    fn start(&self) -> Result<()> {
        let state = &self.lab.state;
        let own = state.join("docker");
        for directory in [&own, &self.data()] {
            fs::create_dir_all(directory)
                .with_context(|| format!("make {}", directory.display()))?;
        }
        let [script, containerd] = TEMPLATES;
        let files =
            [("docker.sh", script), ("containerd.toml", containerd), ("daemon.json", SUBNETS)];
        for (name, text) in files {
            fs::write(own.join(name), text).with_context(|| format!("write {name}"))?;
        }
        let mut server = tool("unshare")?;
        server.args(["--mount", "--propagation", "slave", "sh"]).arg(state.join("enter.sh"));
        server.arg(state).arg("sh").arg(own.join("docker.sh")).arg(state).arg(self.data());
        server.arg(self.cgroup());
        serve(state, &self.lab.namespaces.host_path(), SERVER, &server)?;
        wait_until(START_PATIENCE, "wait for the Docker daemon", || {
            let alive = recorded(state).pop().is_some_and(|server| server.is_alive());
            ensure!(alive, "it ended at once");
            Ok(ping(&self.socket()).is_ok())
        })
    }

    /// Every process the daemon may have left: its own, its shims', its containers'.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.cgroups().iter().flat_map(|cgroup| members(cgroup)).collect()
    }

    /// The daemon's cgroup, and those of containers that were put elsewhere. runc keeps a record of each container, and its
    /// cgroup is called like the container: nothing else is believed.
    fn cgroups(&self) -> Vec<PathBuf> {
        let Some(root) = cgroup_root() else { return Vec::new() };
        let records = self.lab.state.join("docker/exec/runtime-runc/moby");
        let containers = fs::read_dir(records).into_iter().flatten().flatten();
        let elsewhere = containers.filter_map(|container| {
            let state = fs::read(container.path().join("state.json")).ok()?;
            let state: serde_json::Value = serde_json::from_slice(&state).ok()?;
            let cgroup = Path::new(state["cgroup_paths"][""].as_str()?);
            let ours = cgroup.file_name() == Some(&container.file_name());
            let below = cgroup.strip_prefix("/sys/fs/cgroup").ok().filter(|_| ours)?;
            Some(root.join(below))
        });
        [root.join(self.cgroup())].into_iter().chain(elsewhere).collect()
    }

    /// Ends all processes and forgets the containers; images stay.
    fn end(&self) -> Result<()> {
        process::kill_until_gone(|| self.processes())?;
        self.remove_cgroups()?;
        for remains in ["docker", "docker.sock", "docker.pid"] {
            remove(&self.lab.state.join(remains))?;
        }
        Ok(())
    }

    /// Removes what is not in the state directory. All processes must have ended.
    pub(super) fn remove(&self) -> Result<()> {
        self.remove_cgroups()?;
        remove(&self.data())
    }

    fn remove_cgroups(&self) -> Result<()> {
        let cgroups = self.cgroups();
        // A killed process leaves its cgroup a moment after it cannot be seen any more.
        wait_until(Duration::from_secs(5), "remove the daemon's cgroups", || {
            Ok(cgroups.iter().all(|cgroup| remove_tree(cgroup).is_ok()))
        })
    }
}

/// Removes the data of labs that are gone without having been taken down, for example by a reboot.
fn remove_forgotten() -> Result<()> {
    for entry in fs::read_dir(DATA).into_iter().flatten().flatten() {
        if !Path::new(super::ROOT).join(entry.file_name()).exists() {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the empty directories that daemons needed outside of their labs. For when no lab is left: elsewhere, something may
/// be mounted on them, which would be detached.
pub(super) fn remove_places() {
    for place in [DATA, "/run/docker", "/run/containerd"] {
        // Not empty, or never made: then it is somebody else's.
        fs::remove_dir(place).unwrap_or_default();
    }
}

/// Whether a daemon behind the socket is ready.
fn ping(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket).context("connect to the Docker daemon")?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").context("ping the Docker daemon")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("hear the Docker daemon")?;
    ensure!(answer.contains(" 200 "), "the Docker daemon is not ready: {answer}");
    Ok(())
}

/// Where the machine has cgroup v2: the first place in `proc_pid_mountinfo(5)`.
fn cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts
        .lines()
        .find_map(|line| {
            let (mount, filesystem) = line.split_once(" - ")?;
            let whole = mount.split(' ').nth(3) == Some("/");
            (whole && filesystem.starts_with("cgroup2 ")).then(|| mount.split(' ').nth(4))?
        })
        .map(PathBuf::from)
}

/// Processes in a cgroup and those below.
fn members(cgroup: &Path) -> Vec<u32> {
    let listed = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let here = listed.lines().filter_map(|line| line.parse().ok());
    here.chain(below(cgroup).iter().flat_map(|cgroup| members(cgroup))).collect()
}

fn below(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Files of a cgroup cannot be removed and need not be.
fn remove_tree(cgroup: &Path) -> Result<()> {
    below(cgroup).iter().try_for_each(|cgroup| remove_tree(cgroup))?;
    absent(fs::remove_dir(cgroup)).with_context(|| format!("remove {}", cgroup.display()))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    absent(removed).with_context(|| format!("remove {}", path.display()))
}

/// Whatever was to be removed may have been gone before.
fn absent(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
