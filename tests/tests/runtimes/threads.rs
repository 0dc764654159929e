//! Threads, a channel, a child process and a server on loopback: built by cargo, offline, in the sandbox.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;

fn main() {
    let (sender, receiver) = channel();
    for number in 0..16_u64 {
        let sender = sender.clone();
        thread::spawn(move || sender.send(number).unwrap());
    }
    drop(sender);
    println!("threads {}", receiver.iter().sum::<u64>());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || listener.accept().unwrap().0.write_all(b"served").unwrap());
    let mut text = String::new();
    TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
    server.join().unwrap();
    println!("server {text}");
    let child = Command::new("echo").arg("child").output().unwrap();
    print!("{}", String::from_utf8(child.stdout).unwrap());
}
