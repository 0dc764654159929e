//! What a command needs before it makes sense to start it.
//!
//! Takes the shell line, gives programs that must be there; the sandbox's last process looks for them, in the
//! place and with the rights of the command, and ends with code 127 where one is missing. Pure.

use crate::host::Host;
use crate::runtime::native::Need;

/// A program that is recognised, what it needs, and what the user is told if that is missing.
const KNOWN: [(&str, &str, &str); 2] = [
    ("copilot", "node", "the Copilot CLI runs on it; install Node.js or put it on PATH"),
    ("codex", "codex", "the command calls it; install the Codex CLI or put it on PATH"),
];

/// What may stand before a program's name.
const BEFORE: [&str; 6] = ["exec", "env", "command", "time", "nice", "sudo"];

/// What the command needs. A tool cache counts as well: its directories are put on PATH by the command itself.
pub fn needs(command: &str, host: &Host) -> Vec<Need> {
    let known = KNOWN.iter().filter(|(program, _needed, _why)| calls(command, program));
    known
        .map(|(_program, needed, why)| Need {
            program: (*needed).to_owned(),
            places: host.tool_programs.clone(),
            why: (*why).to_owned(),
        })
        .collect()
}

/// The original's names for it.
pub fn variables(command: &str) -> Vec<(String, String)> {
    let names = [("copilot", "AWF_REQUIRE_NODE", "1"), ("codex", "AWF_PREFLIGHT_BINARY", "codex")];
    let called = names.iter().filter(|(program, _name, _value)| calls(command, program));
    called.map(|(_program, name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Whether a shell line calls a program: its name where a command stands, or its full path anywhere, because
/// harnesses get it as an argument. Quotes are not understood: a line within a line counts.
fn calls(line: &str, program: &str) -> bool {
    let mut at_command = true;
    let spaced = line.replace([';', '|', '&', '(', ')', '`', '\n'], " ; ");
    for word in spaced.split_whitespace() {
        let word = word.trim_matches(['"', '\'']);
        let by_path = word.starts_with('/') && word.rsplit('/').next() == Some(program);
        if by_path || (at_command && word == program) {
            return true;
        }
        let assignment = word.split_once('=').is_some_and(|(name, _value)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        // The word behind -c is a line itself.
        at_command =
            word == ";" || word == "-c" || (at_command && (assignment || BEFORE.contains(&word)));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_recognised_where_they_are_called() {
        for line in [
            "copilot --version",
            "cd x && copilot -p hi",
            "A=1 copilot",
            "exec env B=2 copilot",
            "/bin/bash -c 'copilot -p hi'",
            "/bin/bash -c 'export PATH=/x:$PATH; node h.cjs /usr/local/bin/copilot --add-dir /tmp'",
            "(copilot)",
            "echo hi | copilot",
        ] {
            assert!(calls(line, "copilot"), "{line}");
        }
        for line in [
            "",
            "echo copilot",
            "grep copilot file",
            "git clone https://example.com/copilot",
            "copilot-setup",
            "cat ./docs/copilot",
            "node copilot_harness.cjs",
        ] {
            assert!(!calls(line, "copilot"), "{line}");
        }
    }

    #[test]
    fn each_needs_its_own() {
        let needs = |line| {
            needs(line, &Host::sample()).into_iter().map(|need| need.program).collect::<Vec<_>>()
        };
        assert_eq!(needs("copilot"), ["node"]);
        assert_eq!(needs("codex exec hi"), ["codex"]);
        assert!(needs("curl https://example.com").is_empty());
        assert_eq!(variables("codex"), [("AWF_PREFLIGHT_BINARY".to_owned(), "codex".to_owned())]);
    }
}
