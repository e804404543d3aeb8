//! What the tests in the lab's machines share. They run as root in a machine of
//! their own, one after the other, and may do with it as they like.

mod daemon;
mod devices;
mod netdevsim;

pub use daemon::Daemon;
pub use devices::{Link, by_driver, driver};
pub use netdevsim::Netdevsim;

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Programs without any of Terrace's code; see `probe.bpf.c`.
pub const PROBE: &str = concat!(env!("OUT_DIR"), "/probe.bpf.o");

/// The kernel's name in `ci/nic-lab/lab.toml`: old, main or new.
pub fn kernel() -> String {
    std::env::var("LAB_KERNEL").expect("the lab says which kernel this is")
}

/// Whether netdevsim was built for this kernel.
pub fn has_netdevsim() -> bool {
    attempt("modprobe -n netdevsim").0
}

/// Runs a command line; whether it succeeded, and all that it wrote.
pub fn attempt(line: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", line]).output();
    let output = output.expect("start sh");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// A command line that must succeed; what it wrote.
pub fn sh(line: &str) -> String {
    let (success, text) = attempt(line);
    assert!(success, "`{line}` failed: {text}");
    text
}

/// `terrace`, which stands beside the tests' own folder.
pub fn terrace() -> PathBuf {
    let exe = std::env::current_exe().expect("a test has a path");
    let folder = exe.parent().and_then(|deps| deps.parent());
    folder.expect("target/debug/deps").join("terrace")
}

/// `terrace nic IFACE --json` and more arguments: its one interface.
pub fn report(iface: &str, args: &str) -> Value {
    let line = format!("{} nic {iface} --json {args}", terrace().display());
    let output = Command::new("sh").args(["-c", &line]).output();
    let output = output.expect("start terrace");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("`{line}`: {error}: {complaint}"));
    report["interfaces"][0].clone()
}

/// What a report says of one tier: `yes`, `partial`, `after_fix`, `unknown`, `no`.
pub fn verdict<'a>(report: &'a Value, tier: &str) -> &'a str {
    let tiers = report["tiers"].as_array().into_iter().flatten();
    let mut found = tiers.filter(|row| row["tier"] == tier);
    found
        .next()
        .and_then(|row| row["verdict"].as_str())
        .unwrap_or("absent")
}

/// How a trial of a report ended: `ok`, `refused`, `not_run`, or `absent`.
pub fn trial<'a>(report: &'a Value, name: &str) -> &'a str {
    let trials = report["probes"].as_array().into_iter().flatten();
    let mut found = trials.filter(|row| row["name"] == name);
    found
        .next()
        .and_then(|row| row["result"].as_str())
        .unwrap_or("absent")
}
