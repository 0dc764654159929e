//! `cargo xtask`: everything a contributor does.

#![expect(clippy::print_stderr, reason = "a command line tool")]

mod bench;
mod build;
mod docs;
mod faults;
mod fuzz;
mod images;
mod install;
mod run;
mod security;
mod setup;
mod step;
mod suffixes;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::lab;

/// Builds, runs, tests and measures awf.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing: packages of the distribution and the BPF linker.
    Setup(setup::Setup),
    /// Build awf and run it.
    Run(run::Run),
    /// Run the tests: all tiers, or the one named.
    Test(test::Test),
    /// Measure: prints figures and ratios against a baseline of the same run.
    Bench(bench::Bench),
    /// The offline internet for tests.
    #[command(subcommand)]
    Lab(lab::LabCommand),
    /// Build the images of the Docker runtime.
    Images(images::Images),
    /// Build a release and install it.
    Install(install::Install),
    /// Write the table of SECURITY.md from the table of vectors.
    Security(security::Security),
    /// Write awf/docs from what awf says about its options, and the list of names above public suffixes.
    Docs(docs::Docs),
    /// Check what no compiler checks.
    Tidy,
}

fn main() -> ExitCode {
    if std::process::id() == 1
        && std::env::args_os().next().is_some_and(|name| name == vm::guest::NAME)
    {
        vm::guest::main();
    }
    let done: Result<ExitCode> = match Cli::parse().task {
        Task::Setup(setup) => setup.run().map(|()| ExitCode::SUCCESS),
        Task::Run(run) => run.run(),
        Task::Test(test) => test.run(),
        Task::Bench(bench) => bench.run(),
        Task::Lab(command) => command.run().map(|()| ExitCode::SUCCESS),
        Task::Images(images) => images.run().map(|()| ExitCode::SUCCESS),
        Task::Install(install) => install.run().map(|()| ExitCode::SUCCESS),
        Task::Security(security) => security.run().map(|()| ExitCode::SUCCESS),
        Task::Docs(docs) => docs.run().map(|()| ExitCode::SUCCESS),
        Task::Tidy => tidy::run().map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
