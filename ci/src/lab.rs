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
mod steps;
mod vm;

use crate::setup;
use anyhow::{Result, bail};
use cache::Cache;
use clap::Args;
use list::{Lab, Test};
use std::time::Instant;
use steps::Step;

#[derive(Args, Default)]
pub struct Options {
    /// Only these tests; `--list` shows them
    tests: Vec<String>,
    /// Print the tests and stop; with the name of a test its cases too
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
    let tests = lab.chosen(&options.tests, options.short)?;
    if options.list {
        return list(&tests, options);
    }
    if options.shell && tests.len() != 1 {
        bail!("--shell needs one test by its name: `cargo xtask lab --list` shows them");
    }
    setup::run()?;
    let outcomes = outcomes(Cache::open(&lab), &lab, &tests, options)?;
    verdict(&tests, &outcomes)
}

fn list(tests: &[&Test], options: &Options) -> Result<()> {
    if options.tests.is_empty() {
        for test in tests {
            println!("{}", test.line());
        }
        return Ok(());
    }
    setup::run()?;
    let binaries = binaries::build(tests)?;
    for test in tests {
        println!("{}", test.line());
        for step in steps::of(test, &binaries, options.filter.as_deref())? {
            println!("  {}/{}", step.binary.package, step.binary.target);
            for case in &step.cases {
                println!("    {case}");
            }
        }
    }
    Ok(())
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
    let mut all = Vec::new();
    for test in tests {
        all.push(steps::of(test, &binaries, options.filter.as_deref())?);
    }
    if let Some(fault) = nothing_to_run(tests, &all, options.filter.as_deref()) {
        bail!(fault);
    }
    let pairs = tests.iter().zip(&all);
    pairs
        .map(|(test, steps)| run_one(cache, lab, test, steps, options))
        .collect()
}

/// A run of no case would be no fault to anybody. A filter may leave some tests
/// without one.
fn nothing_to_run(tests: &[&Test], all: &[Vec<Step<'_>>], filter: Option<&str>) -> Option<String> {
    let is_empty = |steps: &Vec<Step<'_>>| steps.is_empty();
    match filter {
        Some(filter) if all.iter().all(is_empty) => Some(format!(
            "no case has `{filter}` in its name: `cargo xtask lab --list {}` shows them",
            tests[0].name
        )),
        Some(_) => None,
        None => {
            let empty = all.iter().position(is_empty)?;
            let name = &tests[empty].name;
            Some(format!(
                "lab test {name} has no case: see it in ci/nic-lab/lab.toml"
            ))
        }
    }
}

fn run_one(
    cache: &Cache,
    lab: &Lab,
    test: &Test,
    steps: &[Step<'_>],
    options: &Options,
) -> Result<Outcome> {
    if steps.is_empty() {
        let why = "no case of it has the filter in its name";
        return Ok(Outcome::Skipped(why.to_owned()));
    }
    let kernel = match cache.kernel(lab, &test.kernel) {
        Ok(kernel) => kernel,
        Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
    };
    println!("lab: {} on {}: {}", test.name, kernel.version, test.about);
    let begin = Instant::now();
    let job = job::write(cache, test, steps, options.shell)?;
    kernel.pack_initrd(&cache.tools, &lab.modules.boot, &job.initrd())?;
    let outcome = vm::run(cache, &kernel, test, &job, options)?;
    println!("lab: {} took {} s", test.name, begin.elapsed().as_secs());
    Ok(outcome)
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
    use binaries::Binary;

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

    #[test]
    fn a_run_of_no_case_is_an_error_and_a_filter_may_leave_tests_without_one() {
        let lab = Lab::read().unwrap();
        let tests: Vec<&Test> = lab.tests.iter().take(2).collect();
        let binary = Binary {
            package: "terrace-x".to_owned(),
            target: "it".to_owned(),
            executable: "/x".into(),
            folder: "/".into(),
        };
        let with_a_case = || {
            vec![Step {
                binary: &binary,
                cases: vec!["a".to_owned()],
                arguments: Vec::new(),
            }]
        };
        let rows = [
            ("all have some", None, [true, true], None),
            ("one has none", None, [true, false], Some("has no case")),
            ("one of them is meant", Some("a"), [true, false], None),
            (
                "none is meant",
                Some("b"),
                [false, false],
                Some("no case has `b`"),
            ),
        ];
        for (name, filter, have, expected) in rows {
            let all = have.map(|has| if has { with_a_case() } else { Vec::new() });
            let fault = nothing_to_run(&tests, &all, filter);
            match expected {
                Some(words) => assert!(fault.unwrap().contains(words), "{name}"),
                None => assert_eq!(fault, None, "{name}"),
            }
        }
    }
}
