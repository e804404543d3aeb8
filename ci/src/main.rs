//! `cargo xtask`: the one entry point of Terrace's build, tests and demo.
//! `ci/README.md` is its manual.

mod abi;
mod bench;
mod budget;
mod demo;
mod docs;
mod lab;
mod lint;
mod packages;
mod setup;
mod shell;
mod suite;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about, version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install the Debian packages that are missing (root, apt), else list them
    Setup,
    /// Run the main job in network namespaces, with every claim checked
    Demo(demo::Options),
    /// Set up, then run the whole test suite
    Test(suite::Options),
    /// Formats, clippy and the tidy checks
    Lint(lint::Options),
    /// Lint, the lab's short tests, then the suite: what .ci/run calls
    Ci,
    /// Verified instructions of every BPF program against ci/budget.toml
    Budget(budget::Options),
    /// Benchmarks, with the arguments of terrace-bench
    Bench(bench::Options),
    /// Virtual machines of Debian kernels, with the project's tests in them
    Lab(lab::Options),
    /// Record the layout of abi.h in ci/abi.toml; a change needs a new ABI_VERSION
    RecordAbi {
        /// Under the same ABI_VERSION: only when no release had it
        #[arg(long)]
        unreleased: bool,
    },
    /// Write man pages and shell completions to target/docs
    Docs,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::run(),
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => suite::run(&options),
        Task::Lint(options) => lint::run(&options),
        Task::Ci => ci(),
        Task::Budget(options) => budget::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Lab(options) => lab::run(&options),
        Task::RecordAbi { unreleased } => abi::record(unreleased),
        Task::Docs => docs::run(),
    }
}

/// The suite comes last: its count is the last line.
fn ci() -> Result<()> {
    lint::run(&lint::Options::default())?;
    lab::run(&lab::Options::of_ci())?;
    suite::run(&suite::Options::default())
}
