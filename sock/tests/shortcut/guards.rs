//! The self-test, and what it keeps away from joined sockets.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use terrace_sock::Cgroup;
use terrace_sock::shortcut::check::{self, ACCEPTABLE, Decision, Report, Verdict};
use terrace_testkit::kernel;

/// The self-test's child; on its own it does nothing.
#[test]
fn root_child_of_the_self_test() {
    check::child().unwrap();
}

fn runner() -> Command {
    let mut runner = Command::new(std::env::current_exe().unwrap());
    runner.args([
        "--exact",
        "guards::root_child_of_the_self_test",
        "--nocapture",
    ]);
    runner
}

/// One at a time: each looks whether it left anything, and would see what
/// another one has at work.
fn run(runner: Command, limit: Duration) -> Report {
    static ONE: Mutex<()> = Mutex::new(());
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let report = check::run(runner, &Cgroup::find().unwrap(), limit);
    let ours = format!("terrace-selftest-{}-", std::process::id());
    for folder in [Cgroup::find().unwrap().path(), "/sys/fs/bpf".as_ref()] {
        let names = std::fs::read_dir(folder).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name());
        let left = names.find(|name| name.to_string_lossy().starts_with(&ours));
        assert_eq!(left, None, "in {}", folder.display());
    }
    report
}

#[test]
fn root_every_check_has_a_verdict_and_none_of_the_needed_fails() {
    let report = run(runner(), 20 * check::LIMIT);
    for check in &report.checks {
        println!(
            "{:18} {:?} {} us: {}",
            check.name, check.verdict, check.micros, check.words
        );
    }
    assert_eq!(report.trouble, None);
    let accepted = ACCEPTABLE.map(str::to_owned);
    let failed = report
        .checks
        .iter()
        .find(|check| check.verdict == Verdict::Fail && !ACCEPTABLE.contains(&check.name.as_str()));
    if let Some(check) = failed {
        let decision = report.decide(&accepted);
        assert!(matches!(decision, Decision::Refuse(_)), "{decision:?}");
        return kernel::tell(&format!("shortcut ({})", check.name));
    }
    assert_eq!(report.decide(&accepted), Decision::Use);
}

#[test]
fn root_what_a_killed_self_test_left_goes_with_the_next_one() {
    // No process has this number: it is above the kernel's largest.
    let name = "terrace-selftest-4194400-0";
    let root = Cgroup::find().unwrap();
    let left = [root.path().join(name), Path::new("/sys/fs/bpf").join(name)];
    for folder in &left {
        std::fs::create_dir_all(folder).unwrap();
    }
    run(Command::new("true"), Duration::from_secs(10));
    for folder in &left {
        assert!(!folder.exists(), "{}", folder.display());
    }
}

#[test]
fn root_a_self_test_that_takes_too_long_is_ended_and_refuses() {
    let mut slow = Command::new("sleep");
    slow.arg("60");
    let report = run(slow, Duration::from_millis(300));
    let trouble = report.trouble.clone().unwrap_or_default();
    assert!(trouble.contains("within"), "{trouble}");
    assert!(matches!(report.decide(&[]), Decision::Refuse(_)));
}

#[test]
fn root_a_self_test_that_dies_refuses() {
    let report = run(Command::new("false"), check::LIMIT);
    let trouble = report.trouble.unwrap_or_default();
    assert!(trouble.contains("ended before"), "{trouble}");
}

#[test]
fn root_a_self_test_that_cannot_start_refuses() {
    let report = run(Command::new("/nonexistent"), check::LIMIT);
    assert!(report.trouble.unwrap_or_default().contains("start"));
}
