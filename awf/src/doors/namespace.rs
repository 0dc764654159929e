//! A network namespace that holds nothing but loopback.
//!
//! The agent's address sits on loopback too and leads nowhere: with 127.0.0.1 alone glibc's `getaddrinfo` with
//! `AI_ADDRCONFIG` believes the host to be offline and fails for every name (measured).
#![expect(unsafe_code, reason = "interface ioctls (netdevice(7))")]

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Moves this thread into a new network namespace, sets it up and gives it.
pub(super) fn enter_new(agent: Ipv4Addr) -> Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET).context("make the agent's network namespace")?;
    let namespace =
        File::open("/proc/thread-self/ns/net").context("open the agent's network namespace")?;
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .context("open a socket to configure loopback")?;
    // The alias makes the second address; the flags make the interface live.
    set_address(&control, c"lo:0", agent).context("give the agent its address")?;
    set_up(&control, c"lo").context("bring up loopback")?;
    // Without this the kernel refuses a ping socket before awf's program sees it, and the attempt would not be on record.
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
        .context("let ping sockets reach awf's own refusal")?;
    Ok(namespace.into())
}

fn request(name: &std::ffi::CStr) -> libc::ifreq {
    // SAFETY: `ifreq` is plain data for which all zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *slot = byte.cast_signed();
    }
    request
}

fn set_address(control: &OwnedFd, name: &std::ffi::CStr, address: Ipv4Addr) -> io::Result<()> {
    for (command, value) in
        [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, Ipv4Addr::BROADCAST)]
    {
        let mut request = request(name);
        let octets = value.octets();
        let mut data = [0; 14];
        // `sockaddr_in` after its family: two bytes of port, then the address in network byte order.
        for (slot, octet) in data.iter_mut().skip(2).zip(octets) {
            *slot = octet.cast_signed();
        }
        let family = libc::sa_family_t::try_from(libc::AF_INET).map_err(io::Error::other)?;
        request.ifr_ifru.ifru_addr = libc::sockaddr { sa_family: family, sa_data: data };
        ioctl(control, command, &request)?;
    }
    Ok(())
}

fn set_up(control: &OwnedFd, name: &std::ffi::CStr) -> io::Result<()> {
    let mut request = request(name);
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    ioctl(control, libc::SIOCSIFFLAGS, &request)
}

fn ioctl(control: &OwnedFd, command: libc::c_ulong, request: &libc::ifreq) -> io::Result<()> {
    // SAFETY: the three commands read an `ifreq`, which outlives the call, and write nothing.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), command, std::ptr::from_ref(request)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
