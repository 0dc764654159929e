//! Who made a request: Squid's logs joined with `egress.jsonl`.
//!
//! Takes the record; gives the process behind a client's port at a time. Exact: the kernel gives a port to one socket at a
//! time, and the record has the time of every connection. Must never guess: what is not on record has no process; nor grow
//! without bound.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use jiff::Timestamp;

use super::attempts::{self, Line, Read};
use super::entry::Entry;

/// How much later than the relay saw a connection end Squid may put it into its log. A port is not given anew so soon: Linux
/// goes through the whole range first.
const LATER_MS: i64 = 2000;
/// Squid cuts its times to milliseconds.
pub(super) const EARLIER_MS: i64 = 2;

/// Connections that are remembered: some 32 MiB. Those of one port make room for later ones of the same.
const MOST: usize = 1 << 20;
/// Processes that share their descriptions.
const SHARED: usize = 1 << 16;
/// Connections of a port that are looked at for one request: more than one began before it and may still be open only where the
/// command chose the port itself.
const LOOKED_AT: usize = 256;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) comm: String,
    pub(super) exe: Option<String>,
}

/// A connection of one.
#[derive(Debug)]
struct Span {
    begin_ms: i64,
    end_ms: i64,
    process: Rc<Process>,
}

/// Processes by the ports of their connections.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// By when they began.
    by_port: HashMap<u16, VecDeque<Span>>,
    remembered: usize,
    last: HashMap<u32, Rc<Process>>,
}

impl Processes {
    /// Learns from a line of the record.
    pub(super) fn learn(&mut self, text: &[u8]) {
        let Read::Attempt(line, ..) = attempts::parse(text) else { return };
        // A question to the name door has a port of UDP's, which says nothing about the same one of TCP's.
        if line.protocol != "tcp" {
            return;
        }
        let (Some(port), Some(pid)) = (line.client_port, line.pid) else { return };
        let Some((begin_ms, end_ms)) = span(&line) else { return };
        let process = self.process(pid, &line);
        let spans = self.by_port.entry(port).or_default();
        if self.remembered < MOST {
            self.remembered += 1;
        } else if spans.pop_front().is_none() {
            return;
        }
        // A record is written at the end of its connection, so that the place is near the end.
        let place = spans.partition_point(|span| span.begin_ms <= begin_ms);
        spans.insert(place, Span { begin_ms, end_ms, process });
    }

    /// Most processes make many connections: they share one description.
    fn process(&mut self, pid: u32, line: &Line<'_>) -> Rc<Process> {
        let exe = Some(&*line.exe).filter(|exe| !exe.is_empty());
        let known = self.last.get(&pid);
        let known = known.filter(|it| it.comm == line.comm && it.exe.as_deref() == exe);
        if let Some(known) = known {
            return Rc::clone(known);
        }
        let (comm, exe) = (line.comm.clone().into_owned(), exe.map(str::to_owned));
        let process = Rc::new(Process { pid, comm, exe });
        if self.last.len() >= SHARED {
            self.last.clear();
        }
        self.last.insert(pid, Rc::clone(&process));
        process
    }

    /// The process behind a request.
    pub(super) fn of(&self, entry: &Entry<'_>) -> Option<&Process> {
        let spans = self.by_port.get(&entry.client_port.parse().ok()?)?;
        let begun = spans.partition_point(|span| span.begin_ms - EARLIER_MS <= entry.time_ms);
        let mut latest = spans.range(..begun).rev().take(LOOKED_AT);
        let last = latest.find(|span| entry.time_ms <= span.end_ms.saturating_add(LATER_MS))?;
        Some(&last.process)
    }
}

/// When a connection began and ended.
pub(super) fn span(line: &Line<'_>) -> Option<(i64, i64)> {
    let milliseconds = |text: &str| Some(text.parse::<Timestamp>().ok()?.as_millisecond());
    let begin = milliseconds(&line.time)?;
    let last = line.until.as_deref().and_then(milliseconds).unwrap_or(begin);
    Some((begin, last.saturating_add(i64::try_from(line.duration_ms).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::logs::access;

    #[test]
    fn a_request_belongs_to_the_connection_of_its_port_at_its_time() {
        let mut processes = Processes::default();
        for (second, duration, pid) in [(0, 500, 1), (10, 1500, 2), (60, 0, 3)] {
            processes.learn(
                format!(
                    "{{\"_schema\":\"awf-egress/v1\",\"time\":\"2026-11-28T00:00:{second:02}.000100Z\",\"verdict\":\"allow\",\
                     \"layer\":\"proxy\",\"protocol\":\"tcp\",\"pid\":{pid},\"comm\":\"c{pid}\",\"client_port\":40001,\"duration_ms\":{duration}}}"
                )
                .replace("00:00:60", "00:01:00")
                .as_bytes(),
            );
        }
        let base = "2026-11-28T00:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let pid = |port: u16, milliseconds: i64| {
            let (second, rest) =
                (base + milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000));
            let text = format!(
                "{second}.{rest:03} 172.30.0.20:{port} - -:- 1.1 GET 200 TCP_MISS:X http://a/ \"-\""
            );
            processes.of(&access::parse(&text).unwrap()).map(|it| it.pid)
        };
        assert_eq!(pid(40001, 0), Some(1));
        assert_eq!(pid(40001, 2400), Some(1));
        assert_eq!(pid(40001, 5000), None, "between connections");
        assert_eq!(pid(40001, 9999), Some(2), "times are cut to milliseconds");
        assert_eq!(pid(40001, 11_500), Some(2));
        assert_eq!(pid(40001, 60_000), Some(3));
        assert_eq!(pid(40001, -1000), None);
        assert_eq!(pid(40002, 0), None);
    }

    fn learn(processes: &mut Processes, protocol: &str, (pid, second): (u32, u32), port: u16) {
        let line = format!(
            "{{\"_schema\":\"awf-egress/v1\",\"time\":\"2026-11-28T00:00:{second:02}.000000Z\",\"verdict\":\"allow\",\"layer\":\"proxy\",\
             \"protocol\":\"{protocol}\",\"pid\":{pid},\"comm\":\"c\",\"client_port\":{port},\"duration_ms\":1000}}"
        );
        processes.learn(line.as_bytes());
    }

    fn pid(processes: &Processes, port: u16, second: i64) -> Option<u32> {
        let base = "2026-11-28T00:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let time = base + second;
        let text =
            format!("{time}.500 172.30.0.20:{port} - -:- 1.1 GET 200 TCP_MISS:X http://a/ \"-\"");
        processes.of(&access::parse(&text).unwrap()).map(|it| it.pid)
    }

    #[test]
    fn a_question_to_the_name_door_says_nothing_about_a_port_of_tcp() {
        let mut processes = Processes::default();
        learn(&mut processes, "tcp", (1, 10), 40001);
        learn(&mut processes, "dns", (2, 10), 40001);
        learn(&mut processes, "udp", (3, 10), 40002);
        assert_eq!((pid(&processes, 40001, 10), pid(&processes, 40002, 10)), (Some(1), None));
    }

    #[test]
    fn connections_are_found_in_whatever_order_they_ended_and_old_ones_make_room() {
        let mut processes = Processes::default();
        for process in [(3, 30), (1, 10), (2, 20)] {
            learn(&mut processes, "tcp", process, 40001);
        }
        let found =
            |processes: &Processes| [10, 20, 30].map(|second| pid(processes, 40001, second));
        assert_eq!(found(&processes), [Some(1), Some(2), Some(3)]);
        processes.remembered = MOST;
        learn(&mut processes, "tcp", (4, 40), 40001);
        learn(&mut processes, "tcp", (5, 40), 40002);
        assert_eq!(found(&processes), [None, Some(2), Some(3)]);
        assert_eq!((pid(&processes, 40001, 40), pid(&processes, 40002, 40)), (Some(4), None));
    }
}
