//! `test`: set-up, then the whole suite.

use crate::{setup, shell};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use terrace_testkit::sweep;

#[derive(Args, Default)]
pub struct Options {
    /// Leave out the tests that need root (their names begin with root_)
    #[arg(long)]
    no_root: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

pub fn run(options: &Options) -> Result<()> {
    if !shell::is_root() && !options.no_root {
        bail!(
            "tests whose name begins with root_ make network namespaces and load BPF programs: \
             run this as root, or leave them out with --no-root"
        );
    }
    setup::run()?;
    sweep();
    let (count, success) = run_tests(&mut cargo_test(options))?;
    let left = sweep();
    if !left.is_empty() {
        println!("left behind by tests: {}", left.join(" "));
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    if !success || count.failed > 0 || count.passed == 0 || !left.is_empty() {
        bail!("the test suite failed");
    }
    Ok(())
}

/// Plain `cargo test`: what every Rust machine has. Namespaces and pins carry
/// the pid, so binaries and threads don't meet.
fn cargo_test(options: &Options) -> Command {
    let mut args = vec!["test", "--workspace", "--locked", "--no-fail-fast"];
    if let Some(filter) = &options.filter {
        args.push(filter);
    }
    if options.no_root {
        args.extend(["--", "--skip", "root_"]);
    }
    shell::cargo(&args)
}

/// Shows the output as it comes and adds up what the test binaries report.
fn run_tests(command: &mut Command) -> Result<(Count, bool)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("start cargo test")?;
    let stdout = child.stdout.take().context("stdout of cargo test")?;
    let mut count = Count::default();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("output of cargo test")?;
        count.add(&line);
        println!("{line}");
    }
    let status = child.wait().context("wait for cargo test")?;
    Ok((count, status.success()))
}

impl Count {
    /// Reads `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in result.split(['.', ';']) {
            match part.trim().split_once(' ') {
                Some((n, "passed")) => self.passed += n.parse().unwrap_or(0),
                Some((n, "failed")) => self.failed += n.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_binaries_add_up() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out",
        ] {
            count.add(line);
        }
        assert_eq!(
            count,
            Count {
                passed: 15,
                failed: 2
            }
        );
    }
}
