//! One-shot tokens: who asks gets one, and then nobody can read it off the process.

use awf_tests::{Outcome, Run, Scratch};

use crate::stage::PYTHON;

/// A static program that says what it sees of a variable.
const PROBE: &str = env!("CARGO_BIN_EXE_probe");
const LIBRARY: &str = "/run/awf-one-shot.so";

/// Asks the C library, as most programs do, and looks at what the kernel shows of the process. Python itself has read its
/// environment before, without asking.
const ASK: &str = "import ctypes, os, subprocess
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
shown = lambda: b's3cret' in open('/proc/self/environ', 'rb').read()
ask = lambda name: (libc.getenv(name) or b'nothing').decode()
child = lambda: subprocess.run(['env'], capture_output=True).stdout.count(b's3cret')
print(shown(), child(), ask(b'TOKEN_A'), shown(), child(), ask(b'TOKEN_A'), ask(b'PLAIN'), ask(b'MISSING'))";

/// A run with a token and a list.
fn with_token(list: &str) -> Run {
    Run::new()
        .option("-e", "TOKEN_A=s3cret")
        .option("-e", "PLAIN=plain")
        .option("-e", &format!("AWF_ONE_SHOT_TOKENS={list}"))
}

fn said(outcome: Outcome) -> String {
    outcome.succeeded().stdout.trim_end().to_owned()
}

#[test]
fn whoever_asks_gets_the_token_and_nobody_can_read_it_off_the_process() {
    let line = format!("{PYTHON} -c \"{ASK}\"");
    let control = said(with_token("UNRELATED").run(&line));
    assert_eq!(control, "True 1 s3cret True 1 s3cret plain nothing", "positive control");
    let found = said(with_token(" TOKEN_B, TOKEN_A ").run(&line));
    assert_eq!(found, "True 1 s3cret False 0 s3cret plain nothing");
}

#[test]
fn other_processes_do_not_see_it_either() {
    let line = format!(
        "{PYTHON} -c \"{ASK}
print('asked', flush=True)
import time
time.sleep(60)\" >said &
        until grep -q asked said; do sleep 0.1; done
        tr '\\0' '\\n' </proc/$!/environ | grep -c s3cret; kill $!"
    );
    let scratch = Scratch::new("one-shot");
    crate::stage::open_to_all(scratch.path());
    let run = |list| said(with_token(list).in_directory(scratch.path()).run(&line));
    assert_eq!(run("UNRELATED"), "1", "positive control");
    std::fs::remove_file(scratch.path().join("said")).expect("remove it");
    assert_eq!(run("TOKEN_A"), "0");
}

#[test]
fn programs_pass_it_on_to_dynamic_ones_and_not_to_static_ones() {
    let line = format!(
        "bash -c 'sh -c \"echo \\$TOKEN_A\"'; env -u LD_PRELOAD -u AWF_ONE_SHOT_TOKENS {PYTHON} -c \"{ASK}\"; \
         {PROBE} variable TOKEN_A; {PROBE} variable PLAIN; env {PROBE} variable TOKEN_A; \
         {PYTHON} -c \"import os; os.posix_spawn('{PROBE}', ['probe', 'variable', 'TOKEN_A'], os.environ); os.wait()\"; \
         LD_PRELOAD=/other.so env 2>/dev/null | grep -c s3cret; true"
    );
    let run = |list| {
        let mount = format!("{PROBE}:{PROBE}:ro");
        said(with_token(list).option("--mount", &mount).run(&line))
    };
    let asked = "True 1 s3cret True 1 s3cret plain nothing";
    assert_eq!(
        run("UNRELATED"),
        format!("s3cret\n{asked}\ns3cret\nplain\ns3cret\ns3cret\n1"),
        "positive control"
    );
    // A program that drops the library from its child's environment does not open the token.
    let asked = "True 1 s3cret False 0 s3cret plain nothing";
    assert_eq!(run("TOKEN_A"), format!("s3cret\n{asked}\nnone\nplain\nnone\nnone\n0"));
}

#[test]
fn the_library_is_there_when_a_token_is() {
    let line = format!(
        "echo $LD_PRELOAD; echo $AWF_ONE_SHOT_TOKENS; test -e {LIBRARY} && echo there; \
         {{ echo x >>{LIBRARY}; rm -f {LIBRARY}; }} 2>/dev/null; test -s {LIBRARY} && echo unharmed; true"
    );
    let run = |run: Run| said(run.run(&line));
    assert_eq!(run(Run::new().option("-e", "TOKEN_A=x")), "");
    assert_eq!(run(with_token("TOKEN_A")), format!("{LIBRARY}\nTOKEN_A\nthere\nunharmed"));
    let other = "/lib/x86_64-linux-gnu/libm.so.6";
    let both = with_token("TOKEN_A,B").option("-e", &format!("LD_PRELOAD={other}"));
    assert_eq!(run(both), format!("{LIBRARY}:{other}\nTOKEN_A,B\nthere\nunharmed"));
    // The standard list, and a token that awf passes on from its caller.
    let caller = || Run::new().caller_variable("ADO_MCP_AUTH_TOKEN", "s3cret");
    for asked in [caller(), caller().option("-e", "AWF_ONE_SHOT_TOKENS= ")] {
        let found = run(asked);
        assert!(found.contains("GH_TOKEN,") && found.contains("OTEL_EXPORTER_OTLP_HEADERS,"));
        assert!(found.starts_with(LIBRARY) && found.ends_with("there\nunharmed"), "{found}");
    }
}

#[test]
fn a_shell_that_does_not_load_the_library_is_an_error() {
    let scratch = Scratch::new("one-shot-shell");
    let shell = |before: &str| {
        let path = scratch.path().join("shell");
        std::fs::write(&path, format!("#!/bin/sh\n{before}\nexec /real-bash \"$@\"\n"))
            .expect("write");
        crate::stage::open_to_all(&path);
        let path = path.display();
        with_token("TOKEN_A")
            .option("--mount", "/usr/bin/bash:/real-bash:ro")
            .option("--mount", &format!("{path}:/usr/bin/bash:ro"))
            .run("echo started")
    };
    assert_eq!(shell("").succeeded().stdout, "started\n", "positive control");
    let outcome = shell("unset LD_PRELOAD");
    assert_eq!((outcome.code, &*outcome.stdout), (1, ""), "{outcome:#?}");
    assert!(
        outcome.stderr.contains("one-shot") && !outcome.stderr.contains("s3cret"),
        "{outcome:#?}"
    );
}

#[test]
fn many_kinds_of_programs_live_with_the_library() {
    let line = format!(
        "echo a | sed s/a/b/ | sort | awk '{{ print $1 }}'; git --version | cut -c1-3; perl -e 'print \"c\\n\"'; \
         {PYTHON} -c 'import subprocess as s; print(s.run(\"echo d | cat\", shell=True, capture_output=True).stdout)'; \
         find /etc/hosts -exec echo {{}} \\; | xargs -n1 echo; timeout 9 env echo e"
    );
    let found = said(with_token("TOKEN_A").run(&line));
    assert_eq!(found, "b\ngit\nc\nb'd\\n'\n/etc/hosts\ne");
}
