//! Faults at random moments under traffic. `AWF_FAULT_COUNT` says how many (`cargo xtask test soak`: a hundred),
//! `AWF_FAULT_SEED` repeats the faults of another time.

use std::env;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::faults::{Blow, Fault, Victim, inject};
use crate::report;
use crate::world::{Watch, World};

/// Faults of a short tier.
const COUNT: u64 = 10;

/// Numbers that only their seed decides: splitmix64 (Steele, Lea and Flood, 2014).
struct Luck(u64);

impl Luck {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    fn up_to(&mut self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.below(milliseconds))
    }

    fn fault(&mut self) -> Fault {
        use Victim::{Awf, BusyAwf, Command, One, Outer, Squid};
        let pause = self.up_to(500);
        Fault {
            victim: self.one_of(&[Awf, BusyAwf, Squid, Outer, One, Command]),
            blow: self.one_of(&[
                Blow::Kill,
                Blow::Term,
                Blow::Pause(pause),
                Blow::KillStopped(pause),
            ]),
            moment: self.up_to(800),
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    Some(env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn faults_at_random_moments_under_traffic_let_nothing_out() {
    let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = variable("AWF_FAULT_SEED").unwrap_or_else(now);
    let mut luck = Luck(seed);
    let count = variable("AWF_FAULT_COUNT").unwrap_or(COUNT);
    let faults: Vec<Fault> = (0..count).map(|_| luck.fault()).collect();
    println!("AWF_FAULT_SEED={seed}: {faults:#?}");
    report::seeded(seed);
    let watch = Watch::begin();
    let todo = Mutex::new(faults.into_iter().enumerate());
    thread::scope(|scope| {
        for _worker in 0..2 {
            scope.spawn(|| {
                let world = World::new();
                loop {
                    let Some((number, fault)) = todo.lock().unwrap().next() else { return };
                    let logs = world.path().join(format!("logs{number}"));
                    let run = inject(&world, &fault, &["--proxy-logs-dir", logs.to_str().unwrap()]);
                    let whole = fault.victim != Victim::Awf && fault.victim != Victim::BusyAwf;
                    check_record(
                        &logs.join("egress.jsonl"),
                        whole,
                        &format!("{fault:?}: {run:#?}"),
                    );
                    report::lost(run.lost());
                }
            });
        }
    });
    watch.saw_nothing_else();
}

/// Asserts that every line of a record can be read; the last one may be cut short where awf was killed.
fn check_record(path: &Path, whole: bool, context: &str) {
    let Ok(text) = fs::read_to_string(path) else {
        assert!(!whole, "{context}: no record");
        return;
    };
    assert!(!whole || text.is_empty() || text.ends_with('\n'), "{context}");
    let complete = text.rsplit_once('\n').map_or("", |(complete, _cut)| complete);
    for line in complete.lines() {
        let read = serde_json::from_str::<serde_json::Value>(line);
        read.unwrap_or_else(|error| panic!("{context}: {error}: {line}"));
    }
}
