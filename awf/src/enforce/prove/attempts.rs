//! The attempts of the proof, made by the very process that then becomes the agent.
//!
//! Takes nothing but addresses, gives one report for each attempt. All destinations are documentation addresses
//! (RFC 5737, RFC 3849): if everything failed open, the packets would still reach nobody. Must never: block for long.
#![expect(unsafe_code, reason = "three system calls that no safe wrapper makes")]

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6,
    SockaddrLike, UnixAddr, bind, connect, sendto, setsockopt, socket, sockopt,
};

use super::Report;
use crate::plan::addresses;
use crate::relay::client_hello::alert_access_denied;

/// TEST-NET-1: nobody.
const NOBODY4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Documentation prefix: nobody.
const NOBODY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Discard (RFC 863): never open in a policy.
const CLOSED_PORT: u16 = 9;
/// A name that no policy allows (RFC 6761).
const DENIED_NAME: &str = "proof.awf.invalid";
/// How long a door may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Name of an abstract Unix socket that every awf listens on in the host's network namespace while it proves. Whoever
/// holds it, the probe must not reach it.
pub const HOST_SOCKET: &str = "awf-proof";

/// Makes every attempt.
pub fn fire(report: &mut dyn FnMut(&Report)) {
    let mut tell = |attempt: &str, result: Result<(), Errno>| {
        let errno = result.err().map_or(0, |errno| errno as i32);
        report(&Report { attempt: attempt.to_owned(), errno });
    };
    let nobody4 = SockaddrIn::from(SocketAddrV4::new(NOBODY4, CLOSED_PORT));
    let nobody6 = SockaddrIn6::from(SocketAddrV6::new(NOBODY6, 443, 0, 0));
    let mapped = SockaddrIn6::from(SocketAddrV6::new(NOBODY4.to_ipv6_mapped(), CLOSED_PORT, 0, 0));
    let door = SockaddrIn::from(SocketAddrV4::new(addresses::DOOR, 1));
    let dgram = SockType::Datagram;

    tell("tcp4", dial(AddressFamily::Inet, SockType::Stream, &nobody4));
    tell("tcp6", dial(AddressFamily::Inet6, SockType::Stream, &nobody6));
    tell("tcp-mapped", dial(AddressFamily::Inet6, SockType::Stream, &mapped));
    tell("udp4-connect", dial(AddressFamily::Inet, dgram, &nobody4));
    tell("udp4-send", send(AddressFamily::Inet, &nobody4));
    tell("udp6-send", send(AddressFamily::Inet6, &nobody6));
    tell("ping", make(AddressFamily::Inet, dgram, Some(SockProtocol::Icmp)));
    tell("door", dial(AddressFamily::Inet, SockType::Stream, &door));
    tell(
        "bind-door",
        open(AddressFamily::Inet, SockType::Stream).and_then(|socket| {
            let door = SockaddrIn::from(SocketAddrV4::new(addresses::DOOR, 4000));
            bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &door)
        }),
    );
    tell(
        "device",
        open(AddressFamily::Inet, dgram)
            .and_then(|socket| setsockopt(&socket, sockopt::BindToDevice, &"lo".into())),
    );
    tell("raw", make(AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Raw)));
    tell("packet", make(AddressFamily::Packet, SockType::Raw, None));
    tell("vsock", make(AddressFamily::Vsock, SockType::Stream, None));
    tell("io_uring", io_uring());
    tell("bpf", bpf());
    tell("user-namespace", nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER));
    tell(
        "abstract-socket",
        UnixAddr::new_abstract(HOST_SOCKET.as_bytes())
            .and_then(|host| dial(AddressFamily::Unix, SockType::Stream, &host)),
    );
    tell("name", resolve());
    let door = TcpStream::connect_timeout(&SocketAddr::from((NOBODY4, 443)), PATIENCE);
    let door = door.map_err(|error| errno_of(&error));
    tell("open-door", door.as_ref().map(|_stream| ()).map_err(|errno| *errno));
    tell("denied-name", door.and_then(|door| denial(door).map_err(|error| errno_of(&error))));
}

fn open(family: AddressFamily, kind: SockType) -> Result<OwnedFd, Errno> {
    socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}

fn make(
    family: AddressFamily,
    kind: SockType,
    protocol: Option<SockProtocol>,
) -> Result<(), Errno> {
    socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol).map(drop)
}

fn dial(family: AddressFamily, kind: SockType, to: &dyn SockaddrLike) -> Result<(), Errno> {
    let socket = open(family, kind)?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&socket), to)
}

fn send(family: AddressFamily, to: &dyn SockaddrLike) -> Result<(), Errno> {
    let socket = open(family, SockType::Datagram)?;
    sendto(std::os::fd::AsRawFd::as_raw_fd(&socket), b"awf", to, MsgFlags::empty()).map(drop)
}

/// `struct io_uring_params` has 120 bytes (`include/uapi/linux/io_uring.h`); the kernel writes them back.
fn io_uring() -> Result<(), Errno> {
    let mut parameters = [0_u64; 15];
    // SAFETY: the kernel reads and writes 120 bytes of an array that outlives the call. A ring, if one were made, is a
    // descriptor that is closed at exec.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    Errno::result(result).map(drop)
}

/// `BPF_PROG_GET_NEXT_ID` with an attribute of one word: harmless, and refused to whoever may not use bpf(2) at all.
fn bpf() -> Result<(), Errno> {
    let mut attribute = [0_u64; 2];
    // SAFETY: the kernel reads and writes 16 bytes of an array that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, 11, attribute.as_mut_ptr(), 16) };
    Errno::result(result).map(drop)
}

/// Asks any resolver: the name door answers, whoever was asked, and answers for itself that there is no `.invalid`.
fn resolve() -> Result<(), Errno> {
    let ask = || -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect((NOBODY4, 53))?;
        // Header: id, RD, one question (RFC 1035, 4.1.1).
        let mut query = vec![0xa, 0xf, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in DENIED_NAME.split('.') {
            query.push(u8::try_from(label.len()).map_err(io::Error::other)?);
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(&[0, 0, 1, 0, 1]);
        socket.send(&query)?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        // A response to our id with response code NXDOMAIN(3).
        match answer.get(..length) {
            Some([0xa, 0xf, flags, code, ..]) if flags & 0x80 != 0 && code & 0xf == 3 => Ok(()),
            _ => Err(io::Error::from_raw_os_error(libc::EPROTO)),
        }
    };
    ask().map_err(|error| errno_of(&error))
}

/// Says a TLS hello for the denied name and expects the alert that refuses it.
fn denial(mut door: TcpStream) -> io::Result<()> {
    door.set_read_timeout(Some(PATIENCE))?;
    door.write_all(&hello(DENIED_NAME))?;
    let mut alert = [0; 7];
    door.read_exact(&mut alert)?;
    if alert == alert_access_denied() {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EPROTO))
    }
}

/// The smallest TLS 1.2 hello with a server name (RFC 8446 4.1.2, RFC 6066 3).
fn hello(name: &str) -> Vec<u8> {
    fn sized(width: usize, body: &[u8]) -> Vec<u8> {
        let length = body.len().to_be_bytes();
        let mut out = length.iter().skip(length.len() - width).copied().collect::<Vec<u8>>();
        out.extend_from_slice(body);
        out
    }
    let server_name = [vec![0], sized(2, name.as_bytes())].concat();
    let extension = [vec![0, 0], sized(2, &sized(2, &server_name))].concat();
    let body = [
        vec![3, 3],
        vec![0x41; 32],
        sized(1, &[]),
        sized(2, &[0x13, 0x01]),
        sized(1, &[0]),
        sized(2, &extension),
    ]
    .concat();
    let handshake = [vec![1], sized(3, &body)].concat();
    [vec![22, 3, 1], sized(2, &handshake)].concat()
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EPROTO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::client_hello::{Hello, parse};

    #[test]
    fn the_probes_hello_names_the_denied_name() {
        let Hello::Found(hello) = parse(&hello(DENIED_NAME)) else { panic!("not a hello") };
        assert_eq!(hello.sni.as_deref(), Some(DENIED_NAME));
    }
}
