//! Benchmarks that compare Terrace with its floors and its peers.

mod control;
mod cpu;
mod live;
mod programs;
mod report;
mod stats;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use crate::report::Section;

#[derive(Debug, Parser)]
#[command(about, version)]
struct Cli {
    /// Also write the figures to this file, as JSON
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Also write the tables to this file, as Markdown
    #[arg(long, global = true)]
    markdown: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// What a packet costs in the BPF programs, over an empty program
    Programs(programs::Options),
    /// Traffic through veth, beside plain forwarding and nftables
    Live(live::Options),
    /// How long a large mesh takes to load and to change
    Control(control::Options),
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let sections = match &cli.task {
        Task::Programs(options) => vec![programs::run(options)?],
        Task::Live(options) => live::run(options)?,
        Task::Control(options) => vec![control::run(options)?],
    };
    for section in &sections {
        println!("{section}");
    }
    if let Some(path) = &cli.json {
        let text = serde_json::to_string_pretty(&sections)?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &cli.markdown {
        let tables: Vec<String> = sections.iter().map(Section::markdown).collect();
        std::fs::write(path, tables.join("\n"))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
