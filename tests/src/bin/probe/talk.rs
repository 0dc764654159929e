//! Conversations with servers, all at once, each on a task of its own name.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, Instant};

use crate::dialogue::{Answer, Dialogue, Step};
use crate::sys::name_task;

/// How long a connection or the first byte of an answer may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a server may be silent before its answer counts as complete.
const SILENCE: Duration = Duration::from_millis(300);

/// The name could not be resolved.
const UNRESOLVED: i32 = -2;

/// Reads dialogues from standard input, holds them and prints the answers in the order of the questions.
pub fn all() {
    let dialogues: Vec<Dialogue> =
        serde_json::from_reader(std::io::stdin().lock()).expect("dialogues come on standard input");
    let threads: Vec<_> =
        dialogues.into_iter().map(|dialogue| std::thread::spawn(move || hold(&dialogue))).collect();
    for thread in threads {
        let answer = thread.join().expect("a dialogue does not panic");
        println!("{}", serde_json::to_string(&answer).expect("an answer is plain data"));
    }
}

fn hold(dialogue: &Dialogue) -> Answer {
    name_task(&dialogue.name);
    let began = Instant::now();
    let mut heard = Vec::new();
    let ended =
        if dialogue.udp { datagrams(dialogue, &mut heard) } else { stream(dialogue, &mut heard) };
    let (errno, closed) = match ended {
        Ok(closed) => (0, closed),
        Err(errno) => (errno, false),
    };
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    Answer { name: dialogue.name.clone(), errno, heard, closed, micros }
}

fn address(to: &str) -> Result<SocketAddr, i32> {
    let found = to.to_socket_addrs().map_err(|_| UNRESOLVED)?;
    found.into_iter().next().ok_or(UNRESOLVED)
}

fn errno_of(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn stream(dialogue: &Dialogue, heard: &mut Vec<u8>) -> Result<bool, i32> {
    let stream =
        TcpStream::connect_timeout(&address(&dialogue.to)?, PATIENCE).map_err(|e| errno_of(&e))?;
    if dialogue.steps.is_empty() {
        return Ok(false);
    }
    stream.set_nodelay(true).map_err(|error| errno_of(&error))?;
    for step in &dialogue.steps {
        match step {
            Step::Say(bytes) => {
                if let Err(error) = (&stream).write_all(bytes) {
                    // The server may have said why before it closed.
                    listen(&stream, heard, |_| false).ok();
                    return if heard.is_empty() { Err(errno_of(&error)) } else { Ok(true) };
                }
            }
            Step::Hear(wanted) => {
                let has = |heard: &[u8]| heard.windows(wanted.len()).any(|part| part == wanted);
                if listen(&stream, heard, has)? {
                    return Ok(true);
                }
            }
            Step::Pause(milliseconds) => std::thread::sleep(Duration::from_millis(*milliseconds)),
        }
    }
    listen(&stream, heard, |_| false)
}

/// Reads until there is enough, the server closes (true) or is silent.
fn listen(
    stream: &TcpStream,
    heard: &mut Vec<u8>,
    enough: impl Fn(&[u8]) -> bool,
) -> Result<bool, i32> {
    let mut block = [0; 4096];
    let before = heard.len();
    while !enough(heard) {
        let patience = if heard.len() == before { PATIENCE } else { SILENCE };
        stream.set_read_timeout(Some(patience)).map_err(|error| errno_of(&error))?;
        match (&*stream).read(&mut block) {
            Ok(0) => return Ok(true),
            Ok(count) => heard.extend_from_slice(&block[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if heard.is_empty() => return Err(errno_of(&error)),
            Err(_reset) => return Ok(true),
        }
        if heard.len() > 1 << 16 {
            break;
        }
    }
    Ok(false)
}

fn datagrams(dialogue: &Dialogue, heard: &mut Vec<u8>) -> Result<bool, i32> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|error| errno_of(&error))?;
    let to = address(&dialogue.to)?;
    for step in &dialogue.steps {
        match step {
            Step::Say(bytes) => drop(socket.send_to(bytes, to).map_err(|error| errno_of(&error))?),
            Step::Hear(_) => {}
            Step::Pause(milliseconds) => std::thread::sleep(Duration::from_millis(*milliseconds)),
        }
    }
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(|error| errno_of(&error))?;
    let mut block = [0; 4096];
    let count = socket.recv(&mut block).map_err(|error| errno_of(&error))?;
    heard.extend_from_slice(&block[..count]);
    Ok(false)
}
