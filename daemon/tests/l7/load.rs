//! Many connections, and nothing left of them.

use std::process::Command;

use terrace_testkit::wait;

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

#[test]
fn root_all_connections_under_load_come_again_behind_a_killed_daemon() {
    const CONNECTIONS: u64 = 200;
    let mut stage = Stage::start("l7-kill-load", &Shape::default());
    let [url, _] = urls("/a");
    let mut wrk = Command::new("wrk");
    let form = ["-t", "2", "-c", "200", "-d", "600", "--timeout", "60"];
    wrk.args(form).arg(&url);
    let mut wrk = stage.client().spawn(wrk).unwrap();
    let all = |stage: &Stage, when: &str| {
        let all = wait::until(when, wait::PATIENCE * 2, || {
            (stage.held().0 >= CONNECTIONS).then_some(())
        });
        all.unwrap_or_else(|e| panic!("{e}: {:?}\n{}", stage.held(), stage.report()));
    };
    all(&stage, "all connections");
    stage.kill();
    stage.run();
    all(&stage, "all connections again");
    // One that waited for an answer of before would keep wrk from another request.
    let requests = |stage: &Stage| stage.metrics().lines().filter_map(passed).sum::<u64>();
    let before = requests(&stage);
    let more = wait::until("requests", wait::PATIENCE, || {
        (requests(&stage) > before + 20 * CONNECTIONS).then_some(())
    });
    assert!(more.is_ok(), "{}", stage.report());
    println!("{CONNECTIONS} connections came again, {before} requests by then");
    wrk.kill();
    stage.wait_empty();
}

fn passed(line: &str) -> Option<u64> {
    let of = ["terrace_requests_total", "terrace_requests_in_kernel_total"];
    let counts = of.iter().any(|name| line.starts_with(name));
    counts.then(|| line.rsplit_once(' ')?.1.parse().ok())?
}
