//! The Docker runtime beside a plain `docker run` of the same image on the same daemon.

use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use xtask::docker::Docker;

use super::figure::{Figure, median};
use super::rig::Machine;
use super::{ALLOWED, READ_CLOCK, START_ROUNDS, milliseconds, until_first_instruction};
use crate::images;

/// A start from call to end, the way to the first instruction, and from the command's end to awf's: what it costs to take
/// everything down again.
pub(super) fn figures(machine: &Machine, docker: &Docker) -> Result<Vec<Figure>> {
    let awf = |line: &str| {
        let mut command = machine.awf_in_docker(docker);
        command.args(["--allow-domains", ALLOWED, "--", line]);
        command
    };
    let plain = |line: &str| -> Result<Command> {
        let mut command = docker.client()?;
        command.args(["run", "--rm", "--network", "none", &images::name("agent")]);
        command.args(["bash", "-c", line]);
        Ok(command)
    };
    let [mut start, mut run, mut first, mut run_first] = [const { Vec::new() }; 4];
    let [mut end, mut run_end] = [const { Vec::new() }; 2];
    for _round in 0..START_ROUNDS {
        run.push(milliseconds(&mut plain("true")?)?);
        start.push(milliseconds(&mut awf("true"))?);
        run_first.push(until_first_instruction(&mut plain(READ_CLOCK)?)?);
        first.push(until_first_instruction(&mut awf(READ_CLOCK))?);
        run_end.push(after_last_instruction(&mut plain(READ_CLOCK)?)?);
        end.push(after_last_instruction(&mut awf(READ_CLOCK))?);
    }
    let beside = |name, ours, plain| {
        Figure::new(name, median(ours), "ms").beside("docker run", median(plain))
    };
    Ok(vec![
        beside("docker-start", start, run),
        beside("docker-first-instruction", first, run_first),
        beside("docker-end", end, run_end),
    ])
}

/// How long the command takes to end after its bash has read the clock, in milliseconds.
fn after_last_instruction(command: &mut Command) -> Result<f64> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run")?;
    let ended = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    ensure!(output.status.success(), "{command:?} failed");
    let clock: f64 = String::from_utf8(output.stdout)?.trim().parse().context("read the clock")?;
    Ok((ended.as_secs_f64() - clock) * 1e3)
}
