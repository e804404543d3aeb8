//! The programs against the model, packet by packet (BPF_PROG_TEST_RUN).

#![allow(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod alone;
mod concurrent;
mod fabric;
mod generate;
mod heads;
mod image;
mod lab;
mod order;
mod policy_image;
mod random;
mod relay;
mod row;
mod rows;
mod segments;
mod splices;
mod table;
mod world;

use std::collections::BTreeMap;

use terrace_abi::{Reason, consts};
use terrace_model::Family;

/// Reasons that no row can bring about, and why.
const ELSEWHERE: [(Reason, &str); 3] = [
    (
        Reason::AlreadyHandled,
        "needs a marked packet: see root_a_marked_packet_is_left_alone",
    ),
    (
        Reason::FlowsFull,
        "needs a full table: see root_a_full_table_refuses_new_flows_only",
    ),
    (
        Reason::HelperFailed,
        "the kernel gives a test run all the room that the programs ask for",
    ),
];

#[test]
fn root_every_row_ends_the_same_at_xdp_at_tc_and_in_the_model() {
    let fabric = fabric::Fabric::new("rows");
    let (rows, faults) = fabric.run(|lab| {
        let rows: Vec<row::Row> = Family::ALL.into_iter().flat_map(rows::all).collect();
        // One after the other, so that the tables change little between rows.
        let mut run = |tiers| -> Vec<_> { rows.iter().map(|row| row.run(lab, tiers)).collect() };
        let both = run(row::Tiers::XdpAndTc);
        let alone = run(row::Tiers::TcAlone);
        let outcomes = rows.iter().zip(both.into_iter().zip(alone));
        let checked = outcomes.map(|(row, (both, alone))| row.check(both?, alone?));
        let faults: Vec<String> = checked.filter_map(Result::err).collect();
        lab.assert_conserved();
        println!("{} rows, each with XDP and without", rows.len());
        (tally(&rows), faults)
    });
    let count: usize = rows.values().sum();
    println!("{count} expectations in rows:");
    for reason in Reason::ALL {
        let elsewhere = ELSEWHERE.iter().find(|(of, _)| of == reason);
        let note = elsewhere.map_or("", |(_, why)| why);
        let n = rows.get(reason).copied().unwrap_or(0);
        println!("{n:5} {reason} {note}");
    }
    let n = faults.len();
    assert!(n == 0, "{n} rows are wrong:\n\n{}", faults.join("\n\n"));
    let missing: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| reason.number() < consts::SOCKET_REASONS_FIRST)
        .filter(|reason| !rows.contains_key(reason))
        .filter(|reason| !ELSEWHERE.iter().any(|(of, _)| of == *reason))
        .collect();
    assert!(missing.is_empty(), "no row ends with {missing:?}");
}

fn tally(rows: &[row::Row]) -> BTreeMap<Reason, usize> {
    let mut tally = BTreeMap::new();
    for reason in rows.iter().flat_map(row::Row::reasons) {
        *tally.entry(reason).or_default() += 1;
    }
    tally
}
