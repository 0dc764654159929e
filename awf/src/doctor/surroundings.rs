//! What the rest of the machine must give: root, programs, name servers, room, ports, and an orderly past.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Error, anyhow};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{Facts, Finding, remedies};
use crate::host::privilege::Way;
use crate::plan::PlanError;
use crate::proxy::Ports;
use crate::relay::capacity;
use crate::session::run_dir::RUNS;

/// The first version that everything was seen to work with.
const OLDEST_SQUID: (u32, u32) = (5, 7);
/// With less, a run's record may not even begin; with less than the second, a long run's may not end, in bytes.
const LEAST: u64 = 1 << 20;
const COMFORTABLE: u64 = 100 << 20;
/// When this was written; a clock before it was never set.
const WRITTEN: &str = "2026-01-01T00:00:00Z";

pub(super) fn privilege(facts: &Facts) -> Finding {
    let finding = Finding::new("root", "loading programs and making the sandbox");
    let fix = format!("sudo {} doctor", facts.host.program.display());
    match &facts.way {
        Ok(Way::Here) => finding.pass("awf is root, with every capability that it needs"),
        Ok(Way::Sudo { sudo, .. }) => {
            finding.pass(format!("{} lets {} become root", sudo.display(), facts.host.caller.user))
        }
        Err(error) => finding.fail(error.clone(), fix),
    }
}

pub(super) fn squid(facts: &Facts) -> Finding {
    let finding = Finding::new("squid", "the proxy that everything goes through");
    let fix = remedies::install("squid");
    let Some(squid) = &facts.host.squid else {
        if has_images(facts) {
            return finding.warn("not installed; --runtime docker has one in its image", fix);
        }
        return finding.fail(PlanError::SquidMissing, fix);
    };
    let place = squid.display();
    let said = Command::new(squid).arg("-v").output().map(|output| {
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    let version = match said {
        Ok(Some(text)) => squid_version(&text),
        Ok(None) => None,
        Err(error) => {
            return finding.fail(Error::new(error).context(format!("start {place}")), fix);
        }
    };
    match version {
        Some(version) if version >= OLDEST_SQUID => {
            finding.pass(format!("{}.{} at {place}", version.0, version.1))
        }
        Some((major, minor)) => {
            finding.warn(format!("{major}.{minor} at {place} is older than 5.7"), fix)
        }
        None => finding.fail(anyhow!("{place} does not say its version (squid -v)"), fix),
    }
}

/// `Squid Cache: Version 5.7`
fn squid_version(text: &str) -> Option<(u32, u32)> {
    let (_before, version) = text.split_once("Version ")?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn has_images(facts: &Facts) -> bool {
    let wanted = facts.settings.images.wanted();
    let has =
        |images: &std::collections::BTreeSet<String>| wanted.iter().all(|one| images.contains(one));
    facts.daemon.as_ref().is_ok_and(|daemon| has(&daemon.images))
}

pub(super) fn docker(facts: &Facts) -> Finding {
    let finding =
        Finding::new("docker", "--runtime docker; without it, awf makes the sandbox alone");
    match &facts.daemon {
        Ok(daemon) if has_images(facts) => {
            finding.pass(format!("the daemon at {} has the images", daemon.address))
        }
        Ok(daemon) => {
            let found = format!("the daemon at {} lacks images", daemon.address);
            finding.warn(found, "awf predownload, or awf predownload --build-local")
        }
        Err(error) => finding.warn(error.to_string(), "--runtime native needs none"),
    }
}

pub(super) fn bash(facts: &Facts) -> Finding {
    let finding = Finding::new("bash", "running the command");
    if facts.host.bash {
        return finding.pass("/bin/bash");
    }
    finding.fail(PlanError::NoBash, remedies::install("bash"))
}

pub(super) fn resolver(facts: &Facts) -> Finding {
    let finding = Finding::new("resolver", "finding the allowed names");
    let servers: Vec<String> = facts.host.resolvers.iter().map(ToString::to_string).collect();
    match facts.host.notices.iter().find(|notice| notice.contains("--dns-servers")) {
        Some(notice) => {
            finding.warn(notice, "name servers in /etc/resolv.conf, or --dns-servers LIST")
        }
        None => finding.pass(servers.join(", ")),
    }
}

pub(super) fn space(facts: &Facts) -> Finding {
    let finding = Finding::new("space", "logs and the record");
    let place = &facts.host.tmp;
    let shown = place.display();
    let fix =
        format!("df -h {shown}, and make room, or name another place: TMPDIR=/DIRECTORY awf ...");
    let facts = match statvfs(place) {
        Ok(facts) => facts,
        Err(errno) => {
            return finding.fail(Error::new(errno).context(format!("look at {shown}")), fix);
        }
    };
    let free = facts.blocks_available().saturating_mul(facts.fragment_size());
    let full = || Error::new(std::io::Error::from_raw_os_error(libc::ENOSPC));
    // A file system without a number of inodes says 0 of 0.
    if facts.files() > 0 && facts.files_available() == 0 {
        return finding.fail(full().context(format!("no inode is left in {shown}")), fix);
    }
    match free {
        ..LEAST => finding.fail(full().context(format!("{free} bytes are left in {shown}")), fix),
        LEAST..COMFORTABLE => finding.warn(format!("{} MiB are left in {shown}", free >> 20), fix),
        COMFORTABLE.. => finding.pass(format!("{} MiB in {shown}", free >> 20)),
    }
}

pub(super) fn directories(facts: &Facts) -> Finding {
    let finding = Finding::new("directories", "what a run makes, and its logs");
    let tmp = facts.host.tmp.clone();
    for place in [PathBuf::from(RUNS), PathBuf::from("/var/lib/awf"), tmp] {
        let existing = place.ancestors().find(|path| path.exists()).unwrap_or(&place);
        let fix = format!("sudo mount -o remount,rw {}", mount_of(existing));
        // An ordinary user becomes root before anything is made; then this is asked again.
        if facts.is_root()
            && let Err(errno) = access(existing, AccessFlags::W_OK | AccessFlags::X_OK)
        {
            return finding
                .fail(Error::new(errno).context(format!("write to {}", place.display())), fix);
        }
    }
    if facts.is_root() {
        return finding
            .pass(format!("{RUNS}, /var/lib/awf and {} are writable", facts.host.tmp.display()));
    }
    finding.unknown(format!("whether {RUNS} and /var/lib/awf are writable, only root can see"))
}

/// The mount point of a path, as far up as the device is the same.
fn mount_of(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| fs::metadata(path).map(|facts| facts.dev()).ok();
    let same = path.ancestors().take_while(|above| device(above) == device(path)).last();
    same.unwrap_or(path).display().to_string()
}

pub(super) fn ports() -> Finding {
    let finding = Finding::new("ports", "three neighbouring free loopback ports for Squid");
    match Ports::choose(0) {
        Ok(ports) => finding.pass(format!("for example {} to {}", ports.tunnel, ports.accel)),
        Err(error) => {
            let fix = "ss -ltnp 'sport >= 20000', end what needs not listen, or sudo sysctl \
                       net.ipv4.ip_local_port_range='32768 60999'";
            finding.fail(error, fix)
        }
    }
}

pub(super) fn open_files() -> Finding {
    let finding = Finding::new("open-files", "connections: six descriptors each");
    match capacity::raise() {
        Ok(()) => finding.pass(format!("enough for {} connections", capacity::connections())),
        Err(error) => {
            finding.fail(error, "ulimit -Hn 24832 (as root), then run awf from that shell")
        }
    }
}

/// Runs whose awf was killed. The next run takes them down.
pub(super) fn leftovers(facts: &Facts) -> Finding {
    let finding =
        Finding::new("leftovers", "no cgroup, mount or container of a killed run in the way");
    let entries = match fs::read_dir(RUNS) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return finding.pass("none"),
        Err(_) if !facts.is_root() => {
            return finding.unknown(format!("only root can look into {RUNS}"));
        }
        Err(error) => {
            return finding
                .fail(Error::new(error).context(format!("look into {RUNS}")), "sudo awf doctor");
        }
    };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let dead: Vec<String> =
        paths.filter(|path| is_dead(path)).map(|path| path.display().to_string()).collect();
    if dead.is_empty() {
        return finding.pass("none");
    }
    finding.warn(format!("of killed runs: {}", dead.join(", ")), "awf -- true, which removes them")
}

/// Whether nobody holds a run's lock, which its awf does for its whole life.
fn is_dead(run: &Path) -> bool {
    let Ok(lock) = File::open(run.join("lock")) else { return false };
    Flock::lock(lock, FlockArg::LockSharedNonblock).is_ok()
}

pub(super) fn clock() -> Finding {
    let finding = Finding::new("clock", "certificates of servers, times of records");
    let now = jiff::Timestamp::now();
    let is_set = WRITTEN.parse::<jiff::Timestamp>().is_ok_and(|written| now > written);
    if is_set {
        return finding.pass(format!("{now:.0}"));
    }
    finding.warn(
        format!("{now:.0} is in the past"),
        "sudo timedatectl set-ntp true, or sudo date -s TIME",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squids_version_is_read() {
        let text = "Squid Cache: Version 5.7\nService Name: squid\nDebian linux\n";
        assert_eq!(squid_version(text), Some((5, 7)));
        assert_eq!(squid_version("Squid Cache: Version 6.13-20250101\n"), Some((6, 13)));
        assert_eq!(squid_version("nonsense"), None);
    }

    #[test]
    fn the_mount_point_of_a_path_is_found() {
        assert_eq!(mount_of(Path::new("/proc/self")), "/proc");
    }
}
