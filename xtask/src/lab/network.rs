//! The lab's two network namespaces and the one wire between them.
//!
//! Takes the namespaces' names; gives a host side whose only way out is the wire, and an internet side that answers for
//! every address. Must never create an interface in, or a route to, the namespace of the machine: the wire's two ends
//! are born inside the lab's namespaces, and nothing forwards or translates.

use super::{
    process::{inside, tool},
    world::{
        self, BLACKHOLE_V4, HOST_V4, HOST_V6, INTERNET_V4, INTERNET_V6, MARKER_V4, UNREACHABLE_V4,
    },
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
};

/// The internet's end of the wire; the sink listens on it.
pub(super) const WIRE: &str = "wire";
/// The host's end of the wire.
const UPLINK: &str = "eth0";
/// Hardware addresses of both ends: fixed, and known to the other side, so that neither ARP nor neighbour discovery
/// is needed and such packets in the sink are somebody's doing.
const WIRE_MAC: &str = "02:1a:b0:00:00:01";
const UPLINK_MAC: &str = "02:1a:b0:00:00:02";

/// The two namespaces of one lab, named as ip-netns(8) does.
#[derive(Debug, Clone)]
pub(super) struct Namespaces {
    /// Where awf runs.
    pub(super) host: String,
    /// The played internet.
    pub(super) internet: String,
}

impl Namespaces {
    /// The namespaces of the lab `name`, whether they exist or not.
    pub(super) fn of(name: &str) -> Self {
        Self { host: format!("awf-{name}-host"), internet: format!("awf-{name}-net") }
    }

    /// Path of the host namespace.
    pub(super) fn host_path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.host)
    }

    /// Path of the internet's namespace.
    pub(super) fn internet_path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.internet)
    }

    /// Both paths.
    pub(super) fn paths(&self) -> [PathBuf; 2] {
        [self.host_path(), self.internet_path()]
    }

    /// Makes both namespaces, the wire, and the internet's addresses. The host's end stays down until
    /// [`Self::connect`], so that the sink can listen before the first packet.
    pub(super) fn create(&self) -> Result<()> {
        ip(None, &format!("netns add {}\nnetns add {}\n", self.host, self.internet))?;
        for path in self.paths() {
            inside(&path, || write_sysctls(&SYSCTLS))?;
        }
        ip(Some(&self.internet), &self.internet_setup())?;
        // Only a forwarding interface answers an unreachable destination with ICMP (ip_error in net/ipv4/route.c).
        // There is nothing to forward to: the namespace has no other interface.
        let forwarding = [(&*format!("ipv4/conf/{WIRE}/forwarding"), "1")];
        inside(&self.internet_path(), || write_sysctls(&forwarding))
    }

    /// Raises the host's end of the wire and gives it its default routes.
    pub(super) fn connect(&self) -> Result<()> {
        ip(
            Some(&self.host),
            &format!(
                "link set lo up
                link set {UPLINK} up
                address add {HOST_V4}/30 dev {UPLINK}
                address add {HOST_V6}/64 dev {UPLINK} nodad
                neighbour add {INTERNET_V4} lladdr {WIRE_MAC} dev {UPLINK} nud permanent
                neighbour add {INTERNET_V6} lladdr {WIRE_MAC} dev {UPLINK} nud permanent
                route add default via {INTERNET_V4}
                route add ::/0 via {INTERNET_V6}\n"
            ),
        )
    }

    /// Removes both namespaces and with them the wire; fine when they are gone already.
    pub(super) fn remove(&self) -> Result<()> {
        for (name, path) in [&self.host, &self.internet].into_iter().zip(self.paths()) {
            if !path.exists() {
                continue;
            }
            // A name left without its mount (a half-dead lab) makes ip fail; then the file is all that is left of it.
            if ip(None, &format!("netns delete {name}\n")).is_err() {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("remove {}", path.display()));
                    }
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// The local default routes go to the main table, where the wire's own subnet is more specific; in the local table,
    /// which is searched first, they would swallow the answers to the host.
    fn internet_setup(&self) -> String {
        let host = &self.host;
        let wire = format!(
            "link set lo up
            link add {WIRE} address {WIRE_MAC} type veth peer name {UPLINK} address {UPLINK_MAC} netns {host}
            link set {WIRE} up
            address add {INTERNET_V4}/30 dev {WIRE}
            address add {INTERNET_V6}/64 dev {WIRE} nodad
            neighbour add {HOST_V4} lladdr {UPLINK_MAC} dev {WIRE} nud permanent
            neighbour add {HOST_V6} lladdr {UPLINK_MAC} dev {WIRE} nud permanent
            route add local 0.0.0.0/0 dev lo table main
            route add local ::/0 dev lo table main
            route add blackhole {BLACKHOLE_V4}
            route add unreachable {UNREACHABLE_V4}
            route add blackhole {MARKER_V4}\n"
        );
        let address = |address: &str| {
            let (prefix, flags) = if address.contains(':') { (128, "nodad") } else { (32, "") };
            format!("address add {address}/{prefix} dev lo {flags}\n")
        };
        [wire].into_iter().chain(world::bound_addresses().map(address)).collect()
    }
}

/// Settings of a fresh namespace that depend on the machine otherwise.
const SYSCTLS: [(&str, &str); 7] = [
    // Containers often switch IPv6 off; the lab must see IPv6 leaks everywhere.
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    // No router solicitations or advertisements: less noise in the sink.
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    // Addresses of all kinds arrive; the machine's defaults may filter them before anyone sees them.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    // What systemd sets on real machines: everybody may ping. A fresh namespace allows nobody.
    ("ipv4/ping_group_range", "0 2147483647"),
];

/// Must run inside the namespace: /proc/sys/net shows the settings of the reader's own.
fn write_sysctls(settings: &[(&str, &str)]) -> Result<()> {
    for (key, value) in settings {
        let path = format!("/proc/sys/net/{key}");
        fs::write(&path, value).with_context(|| format!("write {value} to {path}"))?;
    }
    Ok(())
}

/// Runs lines of ip(8) in one process, optionally inside a namespace.
fn ip(namespace: Option<&str>, lines: &str) -> Result<()> {
    let mut command = tool("ip")?;
    if let Some(namespace) = namespace {
        command.args(["-netns", namespace]);
    }
    command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("run ip")?;
    let mut input = child.stdin.take().context("open the input of ip")?;
    input.write_all(lines.as_bytes()).context("write to ip")?;
    drop(input);
    let output = child.wait_with_output().context("wait for ip")?;
    ensure!(
        output.status.success(),
        "ip failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
