//! The self-test: what do sockets of a sockhash do on this kernel?
//!
//! The programs are loaded once more on tables of their own and hung on a
//! throw-away cgroup. A child process enters it and tries one thing after the
//! other, in a network namespace of its own where it may make one. Whatever
//! happens, it ends within the limit and leaves nothing behind.

mod cases;
mod child;
mod lab;
mod raw;
mod stage;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Cgroup;

pub use child::{CHILD_VARIABLE, child};

/// How long all of it may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What came out of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Works on joined sockets.
    Pass,
    /// Does not, and Terrace keeps such sockets on the stack.
    Guarded,
    /// Does not work.
    Fail,
    /// The kernel has no such thing.
    Absent,
}

/// One check and what came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name, as [`Report::decide`] takes it: `splice-later`.
    pub name: String,
    /// What came out.
    pub verdict: Verdict,
    /// What was seen, in words.
    pub words: String,
    /// How long it took.
    pub micros: u64,
}

/// All checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In the order that they ran; none if the self-test could not run.
    pub checks: Vec<Check>,
    /// Why the self-test could not run, or not to its end.
    pub trouble: Option<String>,
}

/// Whether the shortcut may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// It may.
    Use,
    /// It may not, and why, and what to do.
    Refuse(String),
}

impl Report {
    /// All must pass, be guarded or be absent, but for those failures that the
    /// operator accepts because no program in the chosen cgroups does it.
    /// Only those of [`ACCEPTABLE`] can be accepted.
    pub fn decide(&self, accepted: &[String]) -> Decision {
        if let Some(trouble) = &self.trouble {
            return Decision::Refuse(format!("the self-test did not finish: {trouble}"));
        }
        let failed: Vec<&Check> = self
            .checks
            .iter()
            .filter(|check| check.verdict == Verdict::Fail)
            .filter(|check| !(is_acceptable(&check.name) && accepted.contains(&check.name)))
            .collect();
        let Some(first) = failed.first() else {
            return Decision::Use;
        };
        let names: Vec<&str> = failed.iter().map(|check| check.name.as_str()).collect();
        let mut why = format!("failed on this kernel: {}", names.join(", "));
        if failed.iter().all(|check| is_acceptable(&check.name)) {
            why += &format!(
                "; if no program of the chosen cgroups does this, write accept = {names:?}"
            );
        } else {
            why += &format!(" ({})", first.words);
        }
        Decision::Refuse(why)
    }
}

/// Failures that depend on what programs do, so that an operator can know
/// better: joined sockets that are read in this way only later.
pub const ACCEPTABLE: [&str; 3] = ["pending-mixed", "splice-later", "waitall-later"];

fn is_acceptable(name: &str) -> bool {
    ACCEPTABLE.contains(&name)
}

/// Runs all checks. `runner` is a program that calls [`child`]; `parent` is the
/// cgroup under which the throw-away one is made.
pub fn run(mut runner: Command, parent: &Cgroup, limit: Duration) -> Report {
    let stage = match stage::Stage::build(parent) {
        Ok(stage) => stage,
        Err(error) => return Report::broken(chain(&error)),
    };
    runner.env(CHILD_VARIABLE, stage.ticket());
    watch(runner, limit)
}

impl Report {
    fn broken(trouble: String) -> Self {
        Self {
            checks: Vec::new(),
            trouble: Some(trouble),
        }
    }
}

/// Collects what the child reports until it ends or the limit is reached.
fn watch(mut runner: Command, limit: Duration) -> Report {
    let deadline = Instant::now() + limit;
    runner.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = match runner.spawn() {
        Ok(child) => child,
        Err(error) => return Report::broken(format!("start the self-test's process: {error}")),
    };
    let (sender, lines) = mpsc::channel();
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        for line in stdout
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines())
        {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut found = BTreeMap::new();
    let mut report = Report::default();
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Ok(check) = serde_json::from_str::<Check>(&line)
            && found.insert(check.name.clone(), ()).is_none()
        {
            report.checks.push(check);
        }
    }
    let late = Instant::now() >= deadline;
    // It has ended, or must.
    drop(child.kill());
    drop(child.wait());
    drop(reader.join());
    let missing = cases::names().find(|name| !found.contains_key(*name));
    if let Some(name) = missing {
        let why = if late {
            format!("`{name}` was not done within {} s", limit.as_secs())
        } else {
            format!("its process ended before `{name}`")
        };
        report.trouble = Some(why);
    }
    report
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows<'a> = &'a [(&'a str, Verdict)];

    fn report(rows: Rows<'_>) -> Report {
        let checks = rows.iter().map(|(name, verdict)| Check {
            name: (*name).to_owned(),
            verdict: *verdict,
            words: "seen".to_owned(),
            micros: 1,
        });
        Report {
            checks: checks.collect(),
            trouble: None,
        }
    }

    #[test]
    fn only_failures_that_an_operator_can_know_of_are_accepted() {
        use Verdict::{Absent, Fail, Guarded, Pass};
        let rows: [(Rows<'_>, &[&str], Option<&str>); 6] = [
            (
                &[("bytes-4", Pass), ("mptcp", Guarded), ("ktls", Absent)],
                &[],
                None,
            ),
            (
                &[("splice-later", Fail)],
                &[],
                Some("accept = [\"splice-later\"]"),
            ),
            (&[("splice-later", Fail)], &["splice-later"], None),
            (&[("bytes-4", Fail)], &["bytes-4"], Some("bytes-4 (seen)")),
            (
                &[("splice-later", Fail), ("reset", Fail)],
                &["splice-later"],
                Some("kernel: reset"),
            ),
            (&[], &[], None),
        ];
        for (checks, accepted, expected) in rows {
            let accepted: Vec<String> = accepted.iter().map(|name| (*name).to_owned()).collect();
            match (report(checks).decide(&accepted), expected) {
                (Decision::Use, None) => {}
                (Decision::Refuse(why), Some(part)) if why.contains(part) => {}
                (decision, _) => panic!("{checks:?}: {decision:?}"),
            }
        }
    }

    #[test]
    fn a_self_test_that_did_not_finish_refuses() {
        let report = Report::broken("no cgroup".to_owned());
        assert_eq!(
            report.decide(&[]),
            Decision::Refuse("the self-test did not finish: no cgroup".to_owned())
        );
    }
}
