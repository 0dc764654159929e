//! A server of the tests' own in the lab's host namespace, where awf runs: what host access opens.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lab;

/// How long it waits for more of a request that does not end like one.
const PATIENCE: Duration = Duration::from_millis(300);

/// Listens until the tests end, and keeps what it heard.
#[derive(Debug)]
pub struct Server {
    address: String,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    /// Answers every connection with a page that names the address it listens on.
    pub fn at(address: &str) -> Self {
        let page = page(address);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        );
        Self::serve(address, move |mut stream| {
            let heard = hear(&mut stream);
            // A client that has gone does not hear it.
            drop(stream.write_all(answer.as_bytes()));
            heard
        })
    }

    /// Speaks first, as databases do.
    pub fn greeting(address: &str, words: &'static str) -> Self {
        Self::serve(address, move |mut stream| {
            drop(stream.write_all(words.as_bytes()));
            hear(&mut stream)
        })
    }

    fn serve(address: &str, answer: impl Fn(TcpStream) -> Vec<u8> + Send + 'static) -> Self {
        let listener = lab().in_host(|| Ok(TcpListener::bind(address)?)).expect("a free port");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let words = answer(stream);
                log.lock().expect("no test died with it").push(words);
            }
        });
        Self { address: address.to_owned(), heard }
    }

    /// What it answers.
    pub fn page(&self) -> String {
        page(&self.address)
    }

    /// What each connection said so far.
    pub fn heard(&self) -> Vec<String> {
        let heard = self.heard.lock().expect("no test died with it");
        heard.iter().map(|words| String::from_utf8_lossy(words).into_owned()).collect()
    }
}

fn page(address: &str) -> String {
    format!("served-at-{address}\n")
}

fn hear(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).expect("a duration that is not zero");
    let (mut heard, mut chunk) = (Vec::new(), [0; 4096]);
    while !heard.ends_with(b"\r\n\r\n") {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(length) => heard.extend_from_slice(&chunk[..length]),
        }
    }
    heard
}
