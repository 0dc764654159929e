//! Attempts that need somebody outside, and that somebody.
//!
//! The accomplice is the same for the attempt inside and for its control: `probe outside SALT` runs on the host with sockets
//! to give away and services to offer, `probe knock SALT` on the internet's side visits the agent's listeners. Both find
//! the agent, and it them, by the salt and by the path in `AWF_PROBE_MEET`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::privilege::{descriptor, errno_of};
use crate::sys::{call, send};
use crate::target::Target;
use crate::{Attempted, Vector, vector};

/// Names the place where both sides meet: a path in a directory that the sandbox shows.
const MEET: &str = "AWF_PROBE_MEET";
/// In the accomplice's environment, for those who read others' environments.
const SECRET: &str = "AWF_PROBE_SECRET";
/// The host's end of the lab's wire.
const HOST: Ipv4Addr = Ipv4Addr::new(100, 64, 77, 2);
/// Milliseconds for which a visitor is waited for.
const VISIT: u16 = 1500;

pub const VECTORS: &[Vector] = &[
    vector("tcp-inbound", |target, name| {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, visited(target)));
        let listener = listener.map_err(|error| errno_of(&error))?;
        wait_for(&listener)?;
        let (mut visitor, _) = listener.accept().map_err(|error| errno_of(&error))?;
        visitor.write_all(&target.payload(name)).map_err(|error| errno_of(&error))
    }),
    vector("udp-inbound", |target, name| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, visited(target)));
        let socket = socket.map_err(|error| errno_of(&error))?;
        wait_for(&socket)?;
        let (_, visitor) = socket.recv_from(&mut [0; 64]).map_err(|error| errno_of(&error))?;
        let sent = socket.send_to(&target.payload(name), visitor);
        sent.map(drop).map_err(|error| errno_of(&error))
    }),
    vector("host-own", |target, _| visit(HOST.into(), target)),
    vector("host-loopback", |target, _| visit(Ipv4Addr::LOCALHOST.into(), target)),
    vector("host-any", |target, _| visit(Ipv4Addr::UNSPECIFIED.into(), target)),
    vector("host-loop6", |target, _| visit(Ipv6Addr::LOCALHOST.into(), target)),
    vector("unix-tmp", |target, name| {
        take(UnixStream::connect(place()?.with_extension("sock")), target, name)
    }),
    vector("unix-run", |target, name| take(UnixStream::connect(in_run(&place()?)), target, name)),
    vector("unix-abstract", |target, name| {
        let address = abstract_name(&place()?).map_err(|error| errno_of(&error))?;
        take(UnixStream::connect_addr(&address), target, name)
    }),
    vector("unix-docker", |_, _| reach("/var/run/docker.sock")),
    vector("unix-containerd", |_, _| reach("/run/containerd/containerd.sock")),
    vector("unix-podman", |_, _| reach("/run/podman/podman.sock")),
    vector("unix-systemd", |_, _| reach("/run/systemd/private")),
    vector("unix-dbus", |_, _| reach("/run/dbus/system_bus_socket")),
    vector("unix-resolved", |_, _| reach("/run/systemd/resolve/io.systemd.Resolve")),
    vector("unix-nscd", |_, _| reach("/var/run/nscd/socket")),
    vector("pidfd-outside", |target, name| {
        let (process, wanted) = (open_process()?, numbers()?[1]);
        let process = descriptor(process.as_raw_fd());
        let taken = call(libc::SYS_pidfd_getfd, [process, wanted, 0, 0, 0, 0])?;
        // SAFETY: the kernel has just made it for us.
        let taken = unsafe { OwnedFd::from_raw_fd(i32::try_from(taken).expect("a descriptor")) };
        speak(&taken, target, name)
    }),
    // Signal 0 is none, but tells whether one could be sent.
    vector("signal-outside", |_, _| by_number(libc::SYS_kill, 0)),
    vector("pidfd-signal", |_, _| {
        let process = open_process()?;
        let process = descriptor(process.as_raw_fd());
        call(libc::SYS_pidfd_send_signal, [process, 0, 0, 0, 0, 0]).map(drop)
    }),
    vector("priority", |_, _| call(libc::SYS_setpriority, [0, pid()?, 1, 0, 0, 0]).map(drop)),
    vector("madvise-outside", |_, _| {
        let process = open_process()?;
        // MADV_COLD on nothing.
        let arguments = [descriptor(process.as_raw_fd()), 0, 0, 20, 0, 0];
        call(libc::SYS_process_madvise, arguments).map(drop)
    }),
    // PTRACE_SEIZE; it ends with the attempt's process.
    vector("ptrace-outside", |_, _| call(libc::SYS_ptrace, [0x4206, pid()?, 0, 0, 0, 0]).map(drop)),
    vector("vm-outside", |_, _| by_number(libc::SYS_process_vm_readv, 0)),
    vector("mem-outside", |_, _| {
        let memory = fs::File::open(format!("/proc/{}/mem", pid()?));
        memory.map(drop).map_err(|error| errno_of(&error))
    }),
    vector("setns-outside", |_, _| {
        let space = fs::File::open(format!("/proc/{}/ns/net", pid()?));
        let space = space.map_err(|error| errno_of(&error))?;
        call(libc::SYS_setns, [descriptor(space.as_raw_fd()), 0, 0, 0, 0, 0]).map(drop)
    }),
    vector("environ-any", |_, _| {
        let secret = secret(&place()?);
        found(fs::read_dir("/proc").map_err(|error| errno_of(&error))?.flatten().any(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.windows(secret.len()).any(|part| part == secret.as_bytes())
        }))
    }),
    vector("proc-net", |target, _| {
        // The accomplice's listener, as the table spells its port.
        let wanted = format!(":{:04X} ", offered(target));
        let table = |name: &str| fs::read_to_string(name).unwrap_or_default();
        found((table("/proc/net/tcp") + &table("/proc/1/net/tcp")).contains(&wanted))
    }),
];

/// Where the accomplice listens, and where it visits. One of each for every salt.
fn offered(target: &Target) -> u16 {
    31_000 + u16::from(target.salt)
}

fn visited(target: &Target) -> u16 {
    32_000 + u16::from(target.salt)
}

fn place() -> Result<PathBuf, Errno> {
    std::env::var_os(MEET).map(PathBuf::from).ok_or(Errno::ENOENT)
}

fn secret(place: &Path) -> String {
    format!("secret-of-{}", place.file_name().unwrap_or_default().display())
}

fn in_run(place: &Path) -> PathBuf {
    Path::new("/run").join(place.file_name().unwrap_or_default()).with_extension("sock")
}

fn abstract_name(place: &Path) -> std::io::Result<UnixAddress> {
    UnixAddress::from_abstract_name(place.file_name().unwrap_or_default().as_encoded_bytes())
}

/// The accomplice's process, and its descriptor to give away.
fn numbers() -> Result<[usize; 2], Errno> {
    let text = fs::read_to_string(place()?).map_err(|error| errno_of(&error))?;
    let mut words = text.split(' ').filter_map(|word| word.parse().ok());
    Ok([words.next().ok_or(Errno::EIO)?, words.next().ok_or(Errno::EIO)?])
}

fn pid() -> Result<usize, Errno> {
    numbers().map(|[pid, _]| pid)
}

fn open_process() -> Result<OwnedFd, Errno> {
    let opened = call(libc::SYS_pidfd_open, [pid()?, 0, 0, 0, 0, 0])?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(opened).expect("a descriptor")) })
}

fn by_number(number: libc::c_long, argument: usize) -> Attempted {
    call(number, [pid()?, argument, 0, 0, 0, 0]).map(drop)
}

fn found(is_there: bool) -> Attempted {
    if is_there { Ok(()) } else { Err(Errno::ENOENT) }
}

fn wait_for(socket: &impl std::os::fd::AsFd) -> Attempted {
    let mut waited = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    match poll(&mut waited, PollTimeout::from(VISIT))? {
        0 => Err(Errno::ETIMEDOUT),
        _visitor => Ok(()),
    }
}

fn visit(address: IpAddr, target: &Target) -> Attempted {
    let stream = TcpStream::connect(SocketAddr::new(address, offered(target)));
    stream.map(drop).map_err(|error| errno_of(&error))
}

fn reach(path: &str) -> Attempted {
    UnixStream::connect(path).map(drop).map_err(|error| errno_of(&error))
}

/// Takes a descriptor from the accomplice and speaks through it.
fn take(stream: std::io::Result<UnixStream>, target: &Target, name: &str) -> Attempted {
    let stream = stream.map_err(|error| errno_of(&error))?;
    let mut byte = [0];
    let mut pieces = [std::io::IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(i32);
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut pieces, Some(&mut space), MsgFlags::empty())?;
    let given = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made it for us.
    let given = unsafe { OwnedFd::from_raw_fd(given.ok_or(Errno::EBADMSG)?) };
    speak(&given, target, name)
}

/// Sends through the accomplice's socket; an answer to an earlier datagram may wait on it as an error.
fn speak(given: &OwnedFd, target: &Target, name: &str) -> Attempted {
    let payload = target.payload(name);
    send(given, &payload).or_else(|_earlier| send(given, &payload))
}

/// Offers a connected socket and a service, says `ready`, and stays until its standard input ends.
pub fn accompany(target: &Target) {
    let place = place().expect("the accomplice is told where to meet");
    let given = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket can be made");
    given.connect((target.v4, 443)).expect("the target is there");
    let _service = TcpListener::bind((Ipv6Addr::UNSPECIFIED, offered(target))).expect("listens");
    let paths = [place.with_extension("sock"), in_run(&place)];
    let by_path = paths.each_ref().map(|path| UnixListener::bind(path).expect("listens"));
    let by_name = UnixListener::bind_addr(&abstract_name(&place).expect("a short name"));
    for listener in by_path.into_iter().chain([by_name.expect("listens")]) {
        let given = given.as_raw_fd();
        std::thread::spawn(move || give(&listener, given));
    }
    fs::write(&place, format!("{} {}", std::process::id(), given.as_raw_fd())).expect("written");
    for path in paths.iter().chain([&place]) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("open to all");
    }
    assert_eq!(std::env::var(SECRET).as_deref(), Ok(secret(&place).as_str()));
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the input ends");
    for path in paths.iter().chain([&place]) {
        fs::remove_file(path).expect("what was made is there");
    }
}

fn give(listener: &UnixListener, given: i32) {
    for visitor in listener.incoming().flatten() {
        let rights = [ControlMessage::ScmRights(&[given])];
        let piece = [std::io::IoSlice::new(b"x")];
        sendmsg::<()>(visitor.as_raw_fd(), &piece, &rights, MsgFlags::empty(), None).ok();
    }
}

/// Visits the agent's listeners until its standard input ends.
pub fn knock(target: &Target) {
    let to = SocketAddr::from((HOST, visited(target)));
    std::thread::spawn(move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket can be made");
        loop {
            socket.send_to(b"knock", to).ok();
            if let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_millis(100)) {
                stream.read_to_end(&mut Vec::new()).ok();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the input ends");
}
