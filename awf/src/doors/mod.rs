//! Step 6 of 9: the only ways out. Takes nothing but addresses, gives listening sockets inside a fresh, empty network
//! namespace, and the namespace.
//!
//! Owns: the namespace and the sockets of the doors. The sockets belong to the loader's cgroup, so that the agent's
//! programs judge only the agent. Must never: put an interface other than loopback, or a route, into the namespace.

pub mod name;
pub mod names;
mod namespace;

use std::net::{SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use nix::sys::socket::{Backlog, listen};

use crate::plan::addresses;

/// Connections the kernel queues for a door while the loader is busy: the kernel's own ceiling (`net.core.somaxconn`
/// is 4096 since 5.4).
const BACKLOG: i32 = 4096;

/// The namespace and its doors, not served yet.
#[derive(Debug)]
pub struct Doors {
    /// For clients that know of no proxy.
    pub transparent: TcpListener,
    /// For clients that speak to the proxy's address.
    pub proxy: TcpListener,
    /// For opened ports of this machine and of containers.
    pub service: TcpListener,
    /// For resolvers, by datagram.
    pub name_udp: UdpSocket,
    /// For resolvers, by stream.
    pub name_tcp: TcpListener,
    /// The agent's network namespace.
    pub namespace: OwnedFd,
}

impl Doors {
    /// Makes the namespace and opens the doors, on a thread of its own: a thread that has entered a namespace must not
    /// go back to serve others.
    pub fn open() -> Result<Self> {
        thread::Builder::new()
            .name("awf-doors".into())
            .spawn(open_in_new_namespace)
            .context("start the thread that makes the agent's network namespace")?
            .join()
            .map_err(|_panic| anyhow!("the thread that makes the agent's network namespace died"))?
    }
}

fn open_in_new_namespace() -> Result<Doors> {
    let namespace = namespace::enter_new(addresses::AGENT)?;
    let at = |port| SocketAddrV4::new(addresses::DOOR, port);
    let tcp = |port| -> Result<TcpListener> {
        let listener =
            TcpListener::bind(at(port)).with_context(|| format!("open the door {}", at(port)))?;
        listen(&listener, Backlog::new(BACKLOG).context("backlog")?)
            .context("raise the backlog")?;
        listener.set_nonblocking(true).context("make a door non-blocking")?;
        Ok(listener)
    };
    let name_udp = UdpSocket::bind(at(addresses::NAME_DOOR_PORT)).context("open the name door")?;
    name_udp.set_nonblocking(true).context("make the name door non-blocking")?;
    Ok(Doors {
        transparent: tcp(addresses::TRANSPARENT_DOOR_PORT)?,
        proxy: tcp(addresses::PROXY_DOOR_PORT)?,
        service: tcp(addresses::SERVICE_DOOR_PORT)?,
        name_tcp: tcp(addresses::NAME_DOOR_PORT)?,
        name_udp,
        namespace,
    })
}
