//! The self-test on this kernel.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::process::Command;

use terrace_sock::Cgroup;
use terrace_sock::shortcut::check;

/// The child of the tests below; on its own it does nothing.
#[test]
fn root_child_of_the_self_test() {
    check::child().unwrap();
}

fn runner() -> Command {
    let mut runner = Command::new(std::env::current_exe().unwrap());
    runner.args(["--exact", "root_child_of_the_self_test", "--nocapture"]);
    runner
}

#[test]
fn root_every_check_has_a_verdict() {
    let report = check::run(runner(), &Cgroup::find().unwrap(), check::LIMIT);
    for check in &report.checks {
        println!(
            "{:18} {:?} {} us: {}",
            check.name, check.verdict, check.micros, check.words
        );
    }
    assert_eq!(report.trouble, None);
}
