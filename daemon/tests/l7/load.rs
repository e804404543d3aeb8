//! Many connections, and nothing left of them.

use std::process::Command;

use crate::stage::{Shape, Stage, long_or, urls};

/// Raises the limit of open files, then runs.
fn run(stage: &Stage, command: &str) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n 20000; {command} 2>&1")]);
    let output = stage.client().output(&mut shell).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", stage.report());
    said
}

#[test]
fn root_thousands_of_connections_at_once_are_all_answered_and_leave_nothing() {
    let stage = Stage::start("l7-many", &Shape::default());
    let [url, _] = urls("/a");
    // When wrk ends, what is under way is reset; of these RSTs some are lost
    // where the worker's queue is full, and probes find their flows.
    let said = run(&stage, &format!("wrk -t 2 -c 5000 -d 5 --timeout 30 {url}"));
    assert!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}\n{}",
        stage.report()
    );
    stage.wait_empty();
}

#[test]
fn root_a_churn_of_connections_leaves_no_flow() {
    let stage = Stage::start("l7-churn", &Shape::default());
    let [url, _] = urls("/b");
    let n = long_or(100_000, 10_000);
    let said = run(&stage, &format!("ab -q -s 60 -n {n} -c 50 {url}"));
    assert!(
        said.contains(&format!("Complete requests:      {n}")),
        "{said}"
    );
    assert!(
        said.contains("Failed requests:        0"),
        "{said}\n{}",
        stage.report()
    );
    stage.wait_empty();
}
