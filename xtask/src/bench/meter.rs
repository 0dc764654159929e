//! The client that measures calls from within, inside and outside of the sandbox: this very program.
//!
//! Prints the median time of a call in microseconds, or calls a second. Must never count a call that did not do what it should.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use super::figure::median;

/// What to measure.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Meter {
    /// `connect()` to a listener on loopback.
    Connect,
    /// `connect()` to a port that is not open to anybody, until the refusal.
    Refusal,
    /// Datagrams to one address, as many a second as go.
    Flood,
    /// Datagrams to ever another port.
    Scan,
    /// A `ClientHello` with a name that is not allowed, until the alert.
    TlsRefusal,
}

/// A public address in no policy; the lab plays it.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
/// A name in no policy.
const DENIED: &[u8] = b"denied.example.net";

impl Meter {
    /// The median time of a call in microseconds, or calls a second.
    pub(super) fn measure(self) -> Result<f64> {
        match self {
            Self::Connect => connect(),
            Self::Refusal => repeat(1000, || {
                let began = Instant::now();
                let refused = TcpStream::connect(SocketAddrV4::new(ELSEWHERE, 22)).is_err();
                let took = began.elapsed();
                ensure!(refused, "port 22 is open");
                Ok(took)
            }),
            Self::Flood => flood(|_number| 9999),
            Self::Scan => flood(|number| 1024 + number % 60_000),
            Self::TlsRefusal => repeat(200, tls_refusal),
        }
    }
}

fn repeat(count: usize, call: impl Fn() -> Result<Duration>) -> Result<f64> {
    let times = (0..count).map(|_| call().map(|took| took.as_secs_f64() * 1e6));
    Ok(median(times.collect::<Result<_>>()?))
}

/// Datagrams of one flood.
const FLOOD: u16 = 60_000;

/// Datagrams a second, whatever becomes of them.
fn flood(port: impl Fn(u16) -> u16) -> Result<f64> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("make a socket")?;
    let began = Instant::now();
    let gone = (0..FLOOD).filter(|number| socket.send_to(b"x", (ELSEWHERE, port(*number))).is_ok());
    // Without awf they go; inside, none does.
    let gone = gone.count();
    ensure!(gone == 0 || gone == usize::from(FLOOD), "{gone} datagrams went");
    Ok(f64::from(FLOOD) / began.elapsed().as_secs_f64())
}

fn connect() -> Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let address = listener.local_addr().context("find the port")?;
    thread::spawn(move || listener.incoming().for_each(drop));
    repeat(3000, || {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).context("connect to loopback")?;
        let took = began.elapsed();
        // Until the other side has closed: what ends a connection is not part of the next call.
        stream.read_exact(&mut [0]).err().context("the listener speaks")?;
        Ok(took)
    })
}

fn tls_refusal() -> Result<Duration> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(SocketAddrV4::new(ELSEWHERE, 443)).context("connect")?;
    stream.write_all(&client_hello(DENIED)).context("say hello")?;
    let mut alert = [0; 7];
    stream.read_exact(&mut alert).context("wait for the alert")?;
    let took = began.elapsed();
    // RFC 8446, 5.1 and 6: an alert record, fatal, access_denied(49).
    let denied = matches!(alert, [21, _, _, 0, 2, 2, 49]);
    ensure!(denied, "not an alert of access_denied: {alert:?}");
    Ok(took)
}

/// The smallest `ClientHello` with a server name: RFC 8446, 4.1.2, and RFC 6066, 3.
fn client_hello(name: &[u8]) -> Vec<u8> {
    let list = counted::<2>(&[&[0], counted::<2>(name).as_slice()].concat());
    let extension = [&[0, 0], counted::<2>(&list).as_slice()].concat();
    let (suites, extensions) = (counted::<2>(&[0x13, 0x01]), counted::<2>(&extension));
    let parts: [&[u8]; 6] = [&[3, 3], &[7; 32], &[0], &suites, &[1, 0], &extensions];
    let handshake = [&[1], counted::<3>(&parts.concat()).as_slice()].concat();
    [&[22, 3, 1], counted::<2>(&handshake).as_slice()].concat()
}

/// Bytes behind their number, which takes `N` bytes.
fn counted<const N: usize>(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    let (_, length) = length.split_at(length.len().saturating_sub(N));
    [length, bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_counts_its_parts() {
        let hello = client_hello(b"a.b");
        assert_eq!(hello.get(..6), Some(&[22, 3, 1, 0, 0x3b, 1][..]));
        assert_eq!(hello.len(), 5 + 0x3b);
        assert!(hello.ends_with(b"\0\0\0\x08\0\x06\0\0\x03a.b"));
    }
}
