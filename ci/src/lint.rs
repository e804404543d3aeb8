//! `lint`: formats, clippy, licences and the rules of this tree.

mod arrows;
mod functions;
mod licences;
mod tidy;
mod unsafe_list;

use crate::{abi, setup, shell, workspace};
use anyhow::{Result, bail};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Default)]
pub struct Options {
    /// Rewrite formats instead of complaining
    #[arg(long)]
    fix: bool,
    /// Only the tidy checks, which need no compiler
    #[arg(long)]
    tidy: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let files = workspace::files()?;
    if !options.tidy {
        setup::run()?;
        formats(&files, options.fix)?;
    }
    tidy_checks(&files)?;
    if options.tidy {
        return Ok(());
    }
    shell::run(&mut shell::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        // The lab's tests are built for its machines only.
        "--features",
        "terrace-nic-lab/guest",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    if shell::exists("cargo-deny") {
        let check = [
            "deny",
            "check",
            "--config",
            "ci/deny.toml",
            "bans",
            "licenses",
            "sources",
        ];
        shell::run(&mut shell::cargo(&check))?;
    }
    Ok(())
}

fn formats(files: &[PathBuf], fix: bool) -> Result<()> {
    let rust: &[&str] = if fix {
        &["fmt", "--all"]
    } else {
        &["fmt", "--all", "--check"]
    };
    shell::run(&mut shell::cargo(rust))?;
    let c: Vec<&str> = files
        .iter()
        .filter(|file| file.extension().is_some_and(|ext| ext == "c" || ext == "h"))
        .filter_map(|file| file.to_str())
        .collect();
    if c.is_empty() {
        return Ok(());
    }
    let how: &[&str] = if fix {
        &["-i"]
    } else {
        &["--dry-run", "-Werror"]
    };
    let mut command = shell::command("clang-format-19", how);
    shell::run(command.args(c))
}

/// Every fault of every check, then one failure.
fn tidy_checks(files: &[PathBuf]) -> Result<()> {
    let metadata = workspace::metadata()?;
    let mut faults = arrows::faults(&metadata);
    faults.extend(licences::faults(&metadata)?);
    faults.extend(tidy::faults(files)?);
    faults.extend(unsafe_list::faults(files)?);
    faults.extend(abi::fault()?);
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    if !faults.is_empty() {
        bail!("{} tidy faults", faults.len());
    }
    Ok(())
}
