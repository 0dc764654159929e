//! Rights, processes and kernel file systems as the command sees them.

use std::collections::HashMap;

use awf_tests::{Run, docker, unconfined};

use crate::stage::{PYTHON, USER};

fn status(text: &str) -> HashMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect()
}

#[test]
fn the_command_has_no_rights() {
    let outcome = Run::new().run("cat /proc/self/status").succeeded();
    let status = status(&outcome.stdout);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(status[set], 16), Ok(0), "{set}");
    }
    assert_eq!(status["NoNewPrivs"], "1");
    // A container has one of its own.
    let filters = if docker().is_some() { "2" } else { "1" };
    assert_eq!((status["Seccomp"], status["Seccomp_filters"]), ("2", filters));
    let ids = vec![USER.to_string(); 4].join("\t");
    assert_eq!((status["Uid"], status["Gid"]), (&*ids, &*ids));
    assert_eq!(status["Groups"], USER.to_string());
}

#[test]
fn set_user_id_programs_give_no_rights() {
    // The positive control is root's: the program exists and has the bit.
    let outcome =
        Run::new().run("test -u /usr/bin/su && su -c id root < /dev/null; id -u").succeeded();
    assert_eq!(outcome.stdout, format!("{USER}\n"));
}

#[test]
fn only_the_commands_own_processes_are_visible() {
    let control = unconfined("ls -d /proc/[0-9]* | wc -l");
    let control: u32 = String::from_utf8_lossy(&control.stdout).trim().parse().expect("a number");
    assert!(control > 10);
    let outcome = Run::new()
        .run("sleep 30 & cd /proc; echo [0-9]* ; cat 1/comm 2> /dev/null; test -e 1 && echo first; kill -0 1; kill %1")
        .succeeded();
    let mut lines = outcome.stdout.lines();
    let pids: Vec<&str> = lines.next().expect("process ids").split(' ').collect();
    assert_eq!(pids.len(), 2, "{outcome:#?}");
    assert!(!pids.contains(&"1"), "{outcome:#?}");
    assert_eq!(lines.next(), None, "{outcome:#?}");
    assert!(outcome.stderr.contains("kill: (1)"), "process 1 can be signalled: {outcome:#?}");
}

#[test]
fn kernel_file_systems_are_the_sandboxes_own() {
    let line = "echo x > /proc/sys/kernel/hostname; echo x > /sys/kernel/uevent_seqnum; \
                ls /proc/kcore /proc/keys /proc/timer_list > /dev/null; wc -c < /proc/keys; ls /sys/class/net /sys/firmware \
                /sys/fs/bpf; ls -A /dev; hostname; stat -c %a /dev/shm; true";
    let outcome = Run::new().run(line).succeeded();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.first(), Some(&"0"), "{outcome:#?}");
    assert!(lines.contains(&"lo"), "{outcome:#?}");
    assert!(
        !lines.iter().any(|line| line.starts_with("eth") || line.contains("wire")),
        "{outcome:#?}"
    );
    assert!(lines.ends_with(&["awf-agent", "1777"]), "{outcome:#?}");
    for device in ["mem", "kmsg", "kvm", "fuse", "loop-control", "vsock", "net"] {
        assert!(!lines.contains(&device), "/dev/{device}: {outcome:#?}");
    }
    for refused in ["hostname", "uevent_seqnum"] {
        let named = |line: &str| {
            line.contains(refused) && (line.contains("Read-only") || line.contains("denied"))
        };
        assert!(outcome.stderr.lines().any(named), "{refused}: {outcome:#?}");
    }
}

#[test]
fn system_directories_are_read_only() {
    for place in ["/", "/usr", "/usr/bin", "/etc", "/opt", "/run", "/dev", "/sys", "/proc"] {
        let outcome =
            Run::new().run(&format!("touch {place}/awf-test-write && echo written")).failed();
        assert_eq!(outcome.stdout, "", "{place}: {outcome:#?}");
    }
}

#[test]
fn what_tells_of_the_host_is_not_there() {
    let line = "cat /etc/shadow /etc/sudoers /etc/machine-id /root/.bashrc; ls -A /etc/ssl/private /var/lib /var/log \
                /boot /mnt /media /srv /run/awf /run/systemd /run/docker.sock; true";
    let outcome = Run::new().run(line).succeeded();
    let shown: Vec<&str> =
        outcome.stdout.lines().filter(|line| !line.is_empty() && !line.ends_with(':')).collect();
    assert_eq!(shown, [""; 0], "{outcome:#?}");
}

/// Finding L2 of the review: nothing limited what the agent used.
#[test]
fn memory_and_processes_are_limited() {
    let line = format!("{PYTHON} -c 'bytearray(1 << 30)' && echo had");
    assert_eq!(Run::new().option("--memory-limit", "2g").run(&line).succeeded().stdout, "had\n");
    let outcome = Run::new().option("--memory-limit", "256m").run(&line).failed();
    assert_eq!(outcome.stdout, "", "{outcome:#?}");
    let line = "for i in $(seq 200); do sleep 20 & done; jobs -p | wc -l; kill $(jobs -p)";
    let all = Run::new().run(line).succeeded();
    assert_eq!(all.stdout, "200\n");
    let few = Run::new().option("--pids-limit", "100").run(line);
    assert!(few.stdout != "200\n", "{few:#?}");
}
