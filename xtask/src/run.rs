//! `run`: build awf and run it, in the lab if asked.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context as _, Result};
use clap::Args;
use xtask::CA_VARIABLES;
use xtask::docker::HOST_VARIABLE;
use xtask::lab::{self, Lab};

use crate::setup::{self, Purpose};
use crate::{build, images};

/// Options of `run`.
#[derive(Args)]
pub(crate) struct Run {
    /// Run in the lab, an offline internet; it is brought up if it is not, and its CA is offered to the command.
    #[arg(long)]
    lab: bool,
    /// Arguments of awf.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<OsString>,
}

impl Run {
    /// Runs awf and gives its exit code.
    pub(crate) fn run(self) -> Result<ExitCode> {
        // Outside of the lab the daemon is the machine's, and so are its images.
        let docker = self.lab && wants_docker(&self.arguments);
        setup::complete(match (self.lab, docker) {
            (true, true) => Purpose::Docker,
            (true, false) => Purpose::Lab,
            (false, _) => Purpose::Run,
        })?;
        let awf = build::release()?;
        let mut command = if self.lab {
            let lab = lab::up()?;
            let mut command = lab.host_command(&awf);
            offer_ca(&mut command, &lab);
            if docker {
                let docker = images::in_lab(&lab)?;
                command.env(HOST_VARIABLE, docker.host().unwrap_or_default());
            }
            command
        } else {
            Command::new(&awf)
        };
        let status = command.args(self.arguments).status().context("run awf")?;
        Ok(code_of(status))
    }
}

/// Whether awf's own arguments, those before `--`, ask for the Docker runtime. The last word counts, as in awf.
fn wants_docker(arguments: &[OsString]) -> bool {
    let mut wanted = false;
    let mut words = arguments.iter().map(OsString::as_os_str).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        let joined = word.to_str().and_then(|word| word.strip_prefix("--runtime="));
        let value = if word == "--runtime" { words.next() } else { joined.map(OsStr::new) };
        wanted = value.map_or(wanted, |value| value == "docker");
    }
    wanted
}

/// Makes the clients in the sandbox trust the lab's CA, as an operator would: by mounting and naming it.
pub(crate) fn offer_ca(command: &mut Command, lab: &Lab) {
    let ca = lab.ca();
    command.arg("--mount").arg(format!("{0}:{0}:ro", ca.display()));
    for variable in CA_VARIABLES {
        command.arg("--env").arg(format!("{variable}={}", ca.display()));
    }
}

/// The exit code a shell would report.
pub(crate) fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, wanted: bool) {
        let words: Vec<_> = line.split(' ').map(OsString::from).collect();
        assert_eq!(wants_docker(&words), wanted, "{line}");
    }

    #[test]
    fn the_docker_runtime_is_seen_in_the_options_of_awf_only() {
        check("-d example.com --runtime docker -- true", true);
        check("--runtime=docker -- true", true);
        check("--runtime=docker --runtime native -- true", false);
        check("--runtime native -- docker", false);
        check("-- podman --runtime docker", false);
        check("--runtime", false);
    }
}
