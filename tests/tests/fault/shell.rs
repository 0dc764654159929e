//! A run that answers each line of input with one line of output, after executing it.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Instant;

use crate::world::{Ended, World, finish, id_of};

/// Prints curl's exit code.
pub const REQUEST: &str = "curl -s -m 20 -o /dev/null https://example.com; echo $?";

/// See the module text.
pub struct Shell {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    began: Instant,
}

impl Shell {
    pub fn start(world: &World) -> Self {
        Self::start_with(world, &[])
    }

    pub fn start_with(world: &World, options: &[&str]) -> Self {
        let began = Instant::now();
        let line = "while read -r line; do eval \"$line\"; done";
        let mut command = world.awf();
        let command = command.args(options).args(["--", line]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said, began }
    }

    /// awf's process id.
    pub fn awf(&self) -> i32 {
        id_of(&self.child)
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn hear(&mut self) -> String {
        self.said.next().expect("the run is alive").unwrap()
    }

    /// Ends the command by the end of its input.
    pub fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        finish(self.child, self.began)
    }

    /// Waits for an end that comes by itself.
    pub fn ended(self) -> Ended {
        let Self { mut child, began, said: _said } = self;
        // Kept open: the end of its input must not be what ends the command.
        let input = child.stdin.take();
        let ended = finish(child, began);
        drop(input);
        ended
    }
}
