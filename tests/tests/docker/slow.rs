//! A daemon that takes its time to make the agent's container: the tier's own, behind a socket that holds such a request back.
//! The daemon gets it all the same when the client has gone meanwhile, as it does with what waits in its own socket.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use awf_tests::Scratch;

use crate::daemon;

/// How long a connection of a client that has gone is kept.
const LINGERING: Duration = Duration::from_secs(2);

/// See the module text. Dropped, it forgets what it holds back.
pub(crate) struct Slow {
    scratch: Scratch,
    asked: Receiver<String>,
    shared: Arc<Shared>,
}

struct Shared {
    delay: Duration,
    is_over: AtomicBool,
    made: AtomicUsize,
}

impl Slow {
    pub(crate) fn by(delay: Duration) -> Self {
        let scratch = Scratch::new("slow");
        let listener = UnixListener::bind(scratch.path().join("socket")).expect("a socket");
        let (is_over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
        let shared = Arc::new(Shared { delay, is_over, made });
        let (sender, asked) = channel();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (shared, sender) = (Arc::clone(&serving), sender.clone());
                thread::spawn(move || shared.serve(client, &sender));
            }
        });
        Self { scratch, asked, shared }
    }

    /// Its address.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}/socket", self.scratch.path().display())
    }

    /// Id, without its prefix, of the next run that asked for a container. The request is now held back.
    pub(crate) fn asked(&self) -> String {
        self.asked.recv_timeout(Duration::from_secs(20)).expect("a container is asked for")
    }

    /// How many containers the daemon has made of those that were held back.
    pub(crate) fn made(&self) -> usize {
        self.shared.made.load(Ordering::SeqCst)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, mut client: UnixStream, asked: &Sender<String>) {
        let daemon = daemon();
        let socket = daemon.host().and_then(|host| host.strip_prefix("unix://")).expect("a socket");
        let mut server = UnixStream::connect(Path::new(socket)).expect("the daemon listens");
        let (answers, back) = (server.try_clone().expect("a copy"), client.try_clone());
        let (shared, is_held) = (Arc::clone(self), Arc::new(AtomicBool::new(false)));
        let is_awaited = Arc::clone(&is_held);
        thread::spawn(move || shared.answer(answers, back.expect("a copy"), &is_awaited));
        let mut chunk = [0; 8192];
        while let Ok(length @ 1..) = client.read(&mut chunk) {
            let text = String::from_utf8_lossy(&chunk[..length]);
            if let Some((_before, name)) = text.split_once("/containers/create?name=awf-agent-") {
                let name = name.split([' ', '&']).next().unwrap_or_default();
                let _nobody_listens = asked.send(name.to_owned()).is_err();
                if !self.wait() {
                    return;
                }
                is_held.store(true, Ordering::SeqCst);
            }
            if server.write_all(&chunk[..length]).is_err() {
                return;
            }
        }
        thread::sleep(LINGERING);
        let _closed = server.shutdown(Shutdown::Both).is_err();
    }

    /// Whether the test goes on after the delay.
    fn wait(&self) -> bool {
        let began = Instant::now();
        while began.elapsed() < self.delay && !self.is_over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        !self.is_over.load(Ordering::SeqCst)
    }

    fn answer(&self, mut server: UnixStream, mut client: UnixStream, is_awaited: &AtomicBool) {
        let mut chunk = [0; 8192];
        while let Ok(length @ 1..) = server.read(&mut chunk) {
            if is_awaited.swap(false, Ordering::SeqCst) && chunk.starts_with(b"HTTP/1.1 201") {
                self.made.fetch_add(1, Ordering::SeqCst);
            }
            // It may have gone; the daemon goes on.
            let _gone: io::Result<()> = client.write_all(&chunk[..length]);
        }
        let _closed = client.shutdown(Shutdown::Both).is_err();
    }
}
