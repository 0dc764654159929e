//! A command that takes more memory than it may. With the memory controller the kernel kills it, without one (as where
//! v1 has taken it) its allocations fail.

use std::fs;

use crate::report;
use crate::world::World;

/// Takes 256 MiB and touches all of it.
const GREEDY: &str = "python3 -c 'kept = bytearray(256 << 20); print(len(kept))'; echo ended $?";

#[test]
fn a_command_that_eats_all_memory_is_stopped_and_said_so() {
    let world = World::new();
    let control = world.run(&["--memory-limit", "1g"], GREEDY);
    assert_eq!(control.stdout, "268435456\nended 0\n", "positive control: {control:#?}");

    report::injected("out of memory", "the running command");
    let run = world.run(&["--memory-limit", "96m"], GREEDY);
    let controllers = fs::read_to_string(world.outside().join("../cgroup.controllers")).unwrap();
    if controllers.split_whitespace().any(|controller| controller == "memory") {
        assert_eq!(run.stdout, "ended 137\n", "{run:#?}");
        assert!(run.stderr.contains("out of memory: the kernel killed 1 "), "{run:#?}");
    } else {
        assert_eq!(run.stdout, "ended 1\n", "{run:#?}");
        assert!(run.stderr.contains("MemoryError"), "{run:#?}");
        assert!(run.stderr.contains("--memory-limit holds for each process"), "{run:#?}");
    }
    assert_eq!(run.code, 0, "{run:#?}");
    assert_eq!(world.left(), [""; 0], "{run:#?}");
}
