//! Requests that two readers could read in two ways, on real connections.

#[path = "../../l7/tests/corpus/rows.rs"]
mod rows;

use serde_json::Value;

use crate::life::Talk;
use crate::stage::{Shape, Stage, VIP, routes};

/// Statuses of the answers, in order, until the connection ends.
fn answers(stage: &Stage, bytes: &[u8]) -> Vec<u16> {
    let mut talk = Talk::open(stage, VIP[0]);
    talk.send(bytes);
    let said = talk.rest();
    let lines = said.lines().filter(|line| line.starts_with("HTTP/1.1 "));
    lines
        .filter_map(|line| line.get(9..12)?.parse().ok())
        .collect()
}

/// What a row expects: how many requests pass, and the status behind them.
/// `None`: it does not end with a refusal.
fn refused(expected: &str) -> Option<(usize, u16)> {
    let parts: Vec<&str> = expected.split(" + ").collect();
    let (last, passed) = parts.split_last()?;
    let status = last.split(' ').next()?.parse().ok()?;
    let plain = |part: &&str| part.starts_with("ok GET ") || part.starts_with("ok POST ");
    passed.iter().all(plain).then_some((passed.len(), status))
}

#[test]
fn root_no_ambiguous_request_reaches_a_backend_and_each_leaves_a_line() {
    let stage = Stage::start("l7-heads", &Shape::default());
    stage.change("routes.yaml", &routes(&[("/", "a")]));
    let (mut tried, mut wrong) = (0, Vec::new());
    for case in rows::cases() {
        let Some((passed, status)) = refused(case.expected) else {
            continue;
        };
        tried += 1;
        let got = answers(&stage, &case.bytes);
        // What passed before may still be on its way when the rest is refused.
        let right = got.last() == Some(&status) && got.len() <= passed + 1;
        if !right {
            wrong.push(format!(
                "{}: {got:?}, expected {}",
                case.name, case.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), stage.report());
    assert!(tried >= 150, "only {tried}");
    println!("{tried} ambiguous requests");
    let ask = [
        "requests",
        "--limit",
        "0",
        "--verdict",
        "malformed",
        "--json",
    ];
    let (done, text) = stage.terrace(&ask);
    let told: Value = serde_json::from_str(&text).expect("JSON");
    let told = told["requests"].as_array().expect("a list");
    // The others were bodies in chunks that are none: their heads were fine.
    assert!(done && told.len() >= 150, "{} of {tried}", told.len());
    let service = told.iter().all(|line| line["service"] == "shop/front:http");
    let statuses = told.iter().all(|line| line["status"].as_u64() >= Some(400));
    assert!(service && statuses, "{:?}", told.first());
    stage.wait_empty();
}
