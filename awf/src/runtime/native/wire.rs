//! The control socket between the loader and `awf init`: what is said on it, and how.
//!
//! A `SOCK_SEQPACKET` pair keeps message borders and reports the death of either side as end of
//! file, which is what ties the sandbox's life to the loader's. One JSON object per packet; a
//! descriptor may ride along. Must never carry anything of the command itself: that socket end is
//! closed before the command starts.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::sys;

/// Largest packet in bytes. Far below the default socket buffer of 212992 (`net.core.wmem_default`).
const PACKET: usize = 64 * 1024;

/// Most descriptors that ride along with one message.
const DESCRIPTORS: usize = 6;

/// The first words of the loader, with the descriptors of the spec and of the network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Init is in a container: the loader's mount namespace and the three standard streams ride along, too.
    pub contained: bool,
}

/// Loader to init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Enforcement is attached; let the probe try the ways out.
    Prove {
        /// A socket follows that must not arrive: an attempt of the proof.
        handed_in: bool,
    },
    /// Enforcement is proved; execute the command.
    Go,
    /// Deliver this signal to the command.
    Signal(i32),
}

/// Init to loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// A line of the probe's report.
    Report(String),
    /// The probe has ended; init waits for [`Order::Go`].
    Ready,
    /// Something is weaker than planned; worth telling the user.
    Warning(String),
    /// The master of the command's terminal; the descriptor rides along.
    Terminal,
    /// The descriptor on which the system call filter asks rides along.
    Listener,
    /// The sandbox could not be built; nothing ran.
    Failed(String),
    /// The command has ended; the last message.
    Exited(Exit),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It called exit(2).
    Code(u8),
    /// A signal ended it.
    Signal(u8),
}

impl Exit {
    /// The shell's convention: the code, or 128 + signal.
    pub fn status(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }
}

/// A connected pair of control sockets.
pub(super) fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// Send one message, with at most [`DESCRIPTORS`] descriptors.
pub(super) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let packet = serde_json::to_vec(message)?;
    if packet.len() > PACKET {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "control message over 64 KiB"));
    }
    let raw: Vec<_> = fds.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    // NOSIGNAL: the death of the other side is an error to handle here, not a SIGPIPE.
    let flags = MsgFlags::MSG_NOSIGNAL;
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&packet)], control, flags, None) {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receive one message and its descriptors; `None` when the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; PACKET];
    let mut space = cmsg_space!([RawFd; DESCRIPTORS]);
    let mut pieces = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let mut message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut pieces, Some(&mut space), flags) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::ECONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let fds = sys::take_rights(&mut message)?;
    let (length, truncated) = (message.bytes, message.flags.contains(MsgFlags::MSG_TRUNC));
    if truncated {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "control message cut short"));
    }
    match buffer.get(..length) {
        Some([]) | None => Ok(None),
        Some(packet) => Ok(Some((serde_json::from_slice(packet)?, fds))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptor() {
        let (ours, theirs) = pair().unwrap();
        let sent = Notice::Report("line".into());
        send(ours.as_fd(), &sent, &[ours.as_fd()]).unwrap();
        let (received, fds) = receive::<Notice>(theirs.as_fd()).unwrap().unwrap();
        assert_eq!((received, fds.len()), (sent, 1));
    }

    #[test]
    fn the_death_of_the_other_side_is_the_end() {
        let (ours, theirs) = pair().unwrap();
        drop(ours);
        assert!(receive::<Notice>(theirs.as_fd()).unwrap().is_none());
        assert!(send(theirs.as_fd(), &Order::Go, &[]).is_err());
    }

    #[test]
    fn a_message_that_does_not_fit_is_an_error_and_not_cut() {
        let (ours, _theirs) = pair().unwrap();
        assert!(send(ours.as_fd(), &Notice::Report("x".repeat(PACKET)), &[]).is_err());
    }

    #[test]
    fn status_follows_the_shell() {
        assert_eq!(Exit::Code(7).status(), 7);
        assert_eq!(Exit::Signal(9).status(), 137);
        assert_eq!(Exit::Signal(15).status(), 143);
    }
}
