//! `run`: build awf and run it, in the lab if asked.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context as _, Result};
use clap::Args;
use xtask::CA_VARIABLES;
use xtask::lab::{self, Lab};

use crate::build;
use crate::setup::{self, Purpose};

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
        setup::complete(if self.lab { Purpose::Lab } else { Purpose::Run })?;
        let awf = build::awf()?;
        let mut command = if self.lab {
            let lab = lab::up()?;
            let mut command = lab.host_command(&awf);
            offer_ca(&mut command, &lab);
            command
        } else {
            Command::new(&awf)
        };
        let status = command.args(self.arguments).status().context("run awf")?;
        Ok(code_of(status))
    }
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
