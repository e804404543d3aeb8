//! `lab`: virtual machines of Debian kernels, with the project's tests in them.
//! `ci/nic-lab/README.md` is its manual, `ci/nic-lab/lab.toml` its contents.

mod apt;
mod binaries;
mod cache;
mod job;
mod kernel;
mod lacks;
mod list;
mod netdevsim;
mod vm;

use crate::setup;
use anyhow::{Result, bail};
use cache::Cache;
use clap::Args;
use list::{Lab, Test};
use std::time::Instant;

#[derive(Args, Default)]
pub struct Options {
    /// Only these tests; `--list` shows them
    tests: Vec<String>,
    /// Print the tests and stop
    #[arg(long)]
    list: bool,
    /// After the test, a shell in its virtual machine
    #[arg(long)]
    shell: bool,
    /// Only the cases whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Without the tests that `cargo xtask ci` leaves out as too long
    #[arg(long)]
    short: bool,
}

impl Options {
    /// What `cargo xtask ci` runs.
    pub fn of_ci() -> Self {
        Self {
            short: true,
            ..Self::default()
        }
    }
}

/// How one test ended.
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Skipped tests fail nothing, and are never called passed.
pub fn run(options: &Options) -> Result<()> {
    let lab = Lab::read()?;
    if options.list {
        for test in &lab.tests {
            println!("{:18} {:5} {}", test.name, test.kernel, test.about);
        }
        return Ok(());
    }
    let tests = lab.chosen(&options.tests, options.short)?;
    if options.shell && tests.len() != 1 {
        bail!("--shell needs one test by its name: `cargo xtask lab --list` shows them");
    }
    setup::run()?;
    let outcomes = outcomes(Cache::open(&lab), &lab, &tests, options)?;
    verdict(&tests, &outcomes)
}

/// Without the cache's tools nothing can be run, and that is no fault of a test.
fn outcomes(
    cache: Result<Cache>,
    lab: &Lab,
    tests: &[&Test],
    options: &Options,
) -> Result<Vec<Outcome>> {
    match cache {
        Ok(cache) => run_all(&cache, lab, tests, options),
        Err(error) => Ok(skip_all(tests, &format!("{error:#}"))),
    }
}

fn skip_all(tests: &[&Test], why: &str) -> Vec<Outcome> {
    let skipped = |_| Outcome::Skipped(why.to_owned());
    tests.iter().map(skipped).collect()
}

fn run_all(cache: &Cache, lab: &Lab, tests: &[&Test], options: &Options) -> Result<Vec<Outcome>> {
    let binaries = binaries::build(tests)?;
    let mut outcomes = Vec::new();
    for test in tests {
        let kernel = match cache.kernel(lab, &test.kernel) {
            Ok(kernel) => kernel,
            Err(error) => {
                outcomes.push(Outcome::Skipped(format!("{error:#}")));
                continue;
            }
        };
        println!("lab: {} on {}: {}", test.name, kernel.version, test.about);
        let begin = Instant::now();
        let job = job::write(cache, test, &binaries, options)?;
        kernel.pack_initrd(&cache.tools, &lab.modules.boot, &job.initrd())?;
        let outcome = vm::run(cache, &kernel, test, &job, options)?;
        println!("lab: {} took {} s", test.name, begin.elapsed().as_secs());
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn verdict(tests: &[&Test], outcomes: &[Outcome]) -> Result<()> {
    let mut failed = Vec::new();
    for (test, outcome) in tests.iter().zip(outcomes) {
        match outcome {
            Outcome::Passed => println!("lab: {:18} passed", test.name),
            Outcome::Skipped(why) => println!("lab: {:18} SKIPPED: {why}", test.name),
            Outcome::Failed(why) => {
                println!("lab: {:18} FAILED: {why}", test.name);
                failed.push(test.name.as_str());
            }
        }
    }
    if !failed.is_empty() {
        bail!(
            "the lab failed: {}; one of them by hand: cargo xtask lab {} --shell",
            failed.join(" "),
            failed[0]
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_packages_every_test_is_skipped_with_the_reason_and_none_passes() {
        let mut lab = Lab::read().unwrap();
        for archive in lab.archives.values_mut() {
            archive.mirror = "file:///nowhere".to_owned();
        }
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open_in(folder.path().into(), &lab);
        let options = Options::of_ci();
        let tests = lab.chosen(&[], options.short).unwrap();
        let outcomes = outcomes(cache, &lab, &tests, &options).unwrap();
        assert_eq!(outcomes.len(), tests.len());
        for outcome in &outcomes {
            assert!(matches!(outcome, Outcome::Skipped(why) if why.contains("apt-get")));
        }
        verdict(&tests, &outcomes).unwrap();
    }
}
