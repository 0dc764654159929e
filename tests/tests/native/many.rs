//! Runs beside each other.

use std::thread;
use std::time::{Duration, Instant};

use awf_tests::Run;

const RUNS: usize = 20;

/// Asks for a page of each of the twenty names and says which ones came.
fn line() -> String {
    format!(
        "for n in $(seq 0 {}); do curl -s -m 60 -o /dev/null https://n$n.bulk.test/ && echo -n \"$n \"; done; true",
        RUNS - 1
    )
}

#[test]
fn twenty_runs_with_twenty_policies_do_not_disturb_each_other() {
    let _alone = crate::stage::heavy();
    let alone = Run::allowing("n7.bulk.test").run(&line()).succeeded();
    assert_eq!(alone.stdout, "7 ");
    let shape = |outcome: &awf_tests::Outcome| {
        let mut shape: Vec<String> = outcome
            .records
            .iter()
            .filter(|record| record["protocol"] == "tcp")
            .map(|record| format!("{} {} {}", record["verdict"], record["rule"], record["name"]))
            .collect();
        shape.sort();
        shape
    };
    let began = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> = (0..RUNS)
            .map(|number| {
                scope.spawn(move || Run::allowing(&format!("n{number}.bulk.test")).run(&line()))
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("the run ends")).collect()
    });
    assert!(began.elapsed() < Duration::from_mins(2));
    let mut ids = Vec::new();
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let outcome = outcome.succeeded();
        assert_eq!(outcome.stdout, format!("{number} "), "{outcome:#?}");
        assert_eq!(shape(&outcome).len(), RUNS, "{outcome:#?}");
        assert_eq!(outcome.access_log.matches(" 200 TCP_TUNNEL").count(), 1, "{outcome:#?}");
        assert!(outcome.records.iter().all(|record| record["run"] == outcome.records[0]["run"]));
        ids.push(outcome.records[0]["run"].to_string());
        if number == 7 {
            assert_eq!(shape(&outcome), shape(&alone));
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), RUNS);
}
