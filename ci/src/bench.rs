//! `bench`: terrace-bench in a release build, as root. Without arguments the
//! standard set, whose figures then stand in the documents.

use crate::{setup, shell, workspace};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::path::Path;

/// Where results and the report go.
const OUT: &str = "target/bench";
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

fn record(result: &Path) -> Result<()> {
    let mut report = bench();
    report.arg("report").arg(result);
    report.args(["--out", OUT, "--record", "bench/results"]);
    for document in DOCUMENTS {
        report.args(["--update", document]);
    }
    shell::run(&mut report)
}
