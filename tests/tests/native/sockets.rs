//! Unix sockets: those of the host are out of reach wherever the sandbox shows their directory, the sandbox's own work.
//!
//! The positive control is an ordinary user of the host with the agent's own number.

use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use awf_tests::{Run, Scratch, lab};

use crate::stage::{PYTHON, as_user, complaint, open_to_all, text};

/// Connects to each address in turn; `@` in front means an abstract name.
const CONNECT: &str = r"
import socket, sys
for name in sys.argv[1:]:
    address = '\0' + name[1:] if name.startswith('@') else name
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        end = socket.socket(socket.AF_UNIX, kind)
        try:
            end.connect(address)
            end.send(b'let me in')
            print('reached', name)
        except OSError as error:
            print('refused', name, error.errno, file=sys.stderr)
";

/// A listener of the host that counts its visitors.
struct Listener {
    listener: UnixListener,
    seen: Cell<usize>,
}

impl Listener {
    fn on(listener: UnixListener) -> Self {
        listener.set_nonblocking(true).expect("make it non-blocking");
        Self { listener, seen: Cell::new(0) }
    }

    fn at(path: &Path) -> Self {
        drop(fs::remove_file(path));
        let listener = UnixListener::bind(path).expect("bind");
        open_to_all(path);
        Self::on(listener)
    }

    /// So many came so far: whoever has connected waits in the queue, accepted or not.
    fn visitors(&self) -> usize {
        loop {
            match self.listener.accept() {
                Ok(_visitor) => self.seen.set(self.seen.get() + 1),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.seen.get(),
                Err(error) => panic!("accept: {error}"),
            }
        }
    }
}

/// Removes a path of the machine when the test ends, however it ends.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn directory(path: PathBuf) -> Removed {
    fs::create_dir_all(&path).expect("make it");
    open_to_all(&path);
    Removed(path)
}

#[test]
fn sockets_of_the_host_are_out_of_reach() {
    let scratch = Scratch::new("sockets");
    open_to_all(scratch.path());
    let name = scratch.path().file_name().expect("a name").display().to_string();
    let in_tmp = directory(PathBuf::from("/tmp").join(&name));
    let in_run = directory(PathBuf::from("/run").join(&name));
    let work = directory(scratch.path().join("work"));
    let home = directory(scratch.path().join("home"));
    let tools = directory(home.0.join(".cache"));
    let mount = directory(scratch.path().join("mount"));
    let paths: Vec<PathBuf> = [&in_tmp, &in_run, &work, &tools, &mount]
        .iter()
        .map(|place| place.0.join("stream"))
        .collect();
    let mut listeners: Vec<Listener> = paths.iter().map(|path| Listener::at(path)).collect();
    // Names without a file belong to the network namespace: the lab's host for awf and for the positive control.
    let abstract_listener = lab()
        .in_host(|| Ok(UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?))
        .expect("bind an abstract name");
    listeners.push(Listener::on(abstract_listener));
    let datagram = in_tmp.0.join("datagram");
    let receiver = UnixDatagram::bind(&datagram).expect("bind");
    open_to_all(&datagram);
    receiver.set_nonblocking(true).expect("make it non-blocking");

    let names = paths.iter().map(|path| path.display().to_string());
    let names: Vec<String> =
        names.chain([format!("@{name}"), datagram.display().to_string()]).collect();
    let control = as_user(PYTHON).args(["-c", CONNECT]).args(&names).output().expect("python runs");
    assert_eq!(
        text(&control).lines().count(),
        names.len(),
        "the positive control failed: {control:#?}"
    );
    assert!(listeners.iter().all(|listener| listener.visitors() == 1));
    receiver.recv(&mut [0; 16]).expect("the control's message");

    let arguments: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    let outcome = Run::new()
        .caller_variable("HOME", &home.0.display().to_string())
        .in_directory(&work.0)
        .option("--mount", &format!("{0}:{0}:rw", mount.0.display()))
        .option("--env", &format!("CONNECT={CONNECT}"))
        .run(&format!("{PYTHON} -c \"$CONNECT\" {}", arguments.join(" ")))
        .succeeded();
    assert_eq!(outcome.stdout, "", "{outcome:#?}");
    assert_eq!(outcome.stderr.matches("refused").count(), 2 * names.len(), "{outcome:#?}");
    assert!(
        listeners.iter().all(|listener| listener.visitors() == 1),
        "somebody came: {outcome:#?}"
    );
    assert!(receiver.recv(&mut [0; 16]).is_err(), "a message came: {outcome:#?}");
}

#[test]
fn a_listener_that_comes_later_is_out_of_reach_too() {
    let scratch = Scratch::new("sockets");
    let name = scratch.path().file_name().expect("a name").display().to_string();
    let in_tmp = directory(PathBuf::from("/tmp").join(&name));
    let path = in_tmp.0.join("late");
    let run = Run::new().option("--env", &format!("CONNECT={CONNECT}"));
    let running = crate::stage::Conversation::begin(run.spawn(&format!(
        "echo ready; until test -e {0}/go; do sleep 0.1; done; sleep 1.5; {PYTHON} -c \"$CONNECT\" {1}",
        in_tmp.0.display(),
        path.display()
    )));
    let listener = Listener::at(&path);
    fs::write(in_tmp.0.join("go"), "").expect("write");
    let (said, stderr, code) = running.end();
    assert_eq!((&*said, code), ("", Some(0)), "{stderr}");
    assert_eq!(listener.visitors(), 0);
    let control = as_user(PYTHON).args(["-c", CONNECT]).arg(&path).output().expect("python runs");
    assert_eq!(
        text(&control).lines().count(),
        1,
        "the positive control failed: {}",
        complaint(&control)
    );
    assert_eq!(listener.visitors(), 1);
}

/// A server and a client, both in the sandbox.
const TALK: &str = r"
import os, socket, sys
for name in sys.argv[1:]:
    address = '\0' + name[1:] if name.startswith('@') else name
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(address)
    other, _ = server.accept()
    client.sendall(b'hello')
    assert other.recv(5) == b'hello'
    print('talked', name)
    if not name.startswith('@'):
        os.unlink(address)
";

#[test]
fn sockets_of_the_sandbox_work() {
    let scratch = Scratch::new("sockets");
    let work = directory(scratch.path().join("work"));
    let socket = format!("{}.sock", scratch.path().file_name().expect("a name").display());
    let names = [
        format!("/tmp/{socket}"),
        format!("/var/tmp/{socket}"),
        format!("/dev/shm/{socket}"),
        format!("{}/{socket}", work.0.display()),
        format!("@{socket}"),
    ];
    let outcome = Run::new()
        .in_directory(&work.0)
        .option("--env", &format!("TALK={TALK}"))
        .run(&format!("{PYTHON} -c \"$TALK\" {}", names.join(" ")))
        .succeeded();
    let talked: Vec<&str> =
        outcome.stdout.lines().filter_map(|line| line.strip_prefix("talked ")).collect();
    assert_eq!(talked, names);
}

#[test]
fn a_socket_of_one_run_is_out_of_reach_for_another() {
    let scratch = Scratch::new("sockets");
    let name = scratch.path().file_name().expect("a name").display().to_string();
    let in_tmp = directory(PathBuf::from("/tmp").join(&name));
    let path = in_tmp.0.join("listener").display().to_string();
    let listen = format!(
        "exec {PYTHON} -c 'import os, socket, time; s = socket.socket(socket.AF_UNIX); s.bind(\"{path}\"); \
         os.chmod(\"{path}\", 0o777); s.listen(); print(\"ready\", flush=True); time.sleep(60)'"
    );
    let first = Run::new();
    let listening = crate::stage::Conversation::begin(first.spawn(&listen));
    // Where /tmp is a mount of its own, what a command makes in it stays its own.
    let device = |path: &str| fs::metadata(path).expect("it is there").dev();
    let is_shared = device("/tmp") == device("/");
    let mode = fs::metadata(&path).ok().map(|socket| socket.permissions().mode() & 0o777);
    assert_eq!(mode, is_shared.then_some(0o777));
    let test = if is_shared { "test -S" } else { "! test -e" };
    let second = Run::new()
        .option("--env", &format!("CONNECT={CONNECT}"))
        .run(&format!("{test} {path} && {PYTHON} -c \"$CONNECT\" {path}"));
    listening.signal(nix::sys::signal::Signal::SIGTERM);
    listening.end();
    assert_eq!((second.code, &*second.stdout), (0, ""), "{second:#?}");
}
