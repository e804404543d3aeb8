//! `bench`: terrace-bench in a release build, as root. Without arguments the
//! standard set, whose figures then stand in the documents.

use crate::{setup, shell, workspace};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};

/// Where results and the report go.
const OUT: &str = "target/bench";
/// What is published: a file a date.
const RESULTS: &str = "bench/results";
/// Documents with tables that only results may fill.
const DOCUMENTS: [&str; 2] = ["README.md", "bench/README.md"];

#[derive(Args)]
pub struct Options {
    /// Arguments of terrace-bench, which `--help` lists; without any: `run
    /// --standard`, then bench/results and the tables of README.md are written
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub fn run(options: &Options) -> Result<()> {
    let needs_root = options
        .args
        .first()
        .is_none_or(|task| matches!(task.as_str(), "run" | "programs" | "control"));
    if needs_root && !shell::is_root() {
        bail!("benchmarks load BPF programs and make network namespaces: run this as root");
    }
    setup::run()?;
    let packages = ["-p", "terrace", "-p", "terrace-bench"];
    shell::run(shell::cargo(&["build", "--release", "--locked"]).args(packages))?;
    if options.args.is_empty() {
        return standard();
    }
    shell::run(bench().args(&options.args))
}

fn bench() -> std::process::Command {
    shell::command("target/release/terrace-bench", &[])
}

/// A void arm fails at the end, after the report is there that says why.
fn standard() -> Result<()> {
    let result = workspace::root().join(OUT).join("result.json");
    if result.exists() {
        std::fs::remove_file(&result).with_context(|| format!("remove {}", result.display()))?;
    }
    // Without Envoy its arms are named as missing.
    if let Err(error) = shell::run(bench().args(["check", "--install-envoy"])) {
        eprintln!("Envoy: {error:#}");
    }
    let measured = shell::run(bench().args(["run", "--standard", "--out", OUT]));
    record(&result)?;
    measured
}

/// Scenarios outside the standard set stay as they were published last, with
/// the date, command and commit of their own runs.
fn record(result: &Path) -> Result<()> {
    let mut report = bench();
    report.arg("report");
    report.args(published()?);
    report.arg(result);
    report.args(["--out", OUT, "--record", RESULTS]);
    for document in DOCUMENTS {
        report.args(["--update", document]);
    }
    shell::run(&mut report)
}

/// The latest result that is in the repository.
fn published() -> Result<Option<PathBuf>> {
    let folder = workspace::root().join(RESULTS);
    let mut latest = None;
    for entry in std::fs::read_dir(&folder).with_context(|| format!("read {RESULTS}"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            latest = latest.max(Some(path));
        }
    }
    Ok(latest)
}
