//! Policy joins and splits pairs; it is never decided here.

use terrace_abi::hash::cell_hash;
use terrace_abi::{Plain as _, Table, consts, types};
use terrace_testkit::{Netns, wait};

use crate::stage::{IDENTITY, Process, Stage, announce, linked};

/// Both addresses are workloads; the server's takes no one in, or everyone.
fn write_policy(stage: &Stage, denied: bool) {
    let flags = consts::ENDPOINT_WORKLOAD;
    announce(
        stage,
        if denied {
            flags | consts::ENDPOINT_INGRESS
        } else {
            flags
        },
    );
    bump_revision(stage);
}

fn bump_revision(stage: &Stage) {
    let config = stage.maps.config().unwrap();
    stage
        .maps
        .set_config(&types::config {
            policy_rev: config.policy_rev + 1,
            ..config
        })
        .unwrap();
}

struct Load {
    _server: Process,
    client: Process,
    _nets: (Netns, Netns),
}

fn load(stage: &Stage, server: &str, client: &str, family: usize) -> Load {
    let (a, b, families) = linked("cut");
    let to = families[family].1.to_string();
    let cgroup = Some(stage.folder.path());
    let mut server = stage.peer_in(&b, cgroup, server, &to, 7000, &[]);
    server.line();
    let mut client = stage.peer_in(&a, cgroup, client, &to, 7000, &[]);
    client.line();
    Load {
        _server: server,
        client,
        _nets: (a, b),
    }
}

fn await_reason(stage: &Stage, name: &str) {
    wait::until(&format!("the reason `{name}`"), wait::PATIENCE, || {
        let pairs = stage.pairs();
        let pair = pairs.first()?;
        (pair.client.sent.reason.name() == name).then_some(())
    })
    .unwrap();
}

#[test]
fn root_a_denied_pair_is_never_joined() {
    for family in 0..2 {
        let stage = Stage::new();
        write_policy(&stage, true);
        let mut load = load(&stage, "echo", "load", family);
        await_reason(&stage, "policy");
        assert_eq!(stage.joined_bytes(), 0);
        assert!(!stage.pairs()[0].allowed);
        load.client.tell("end");
        load.client.finish();
    }
}

#[test]
fn root_a_policy_change_splits_a_pair_under_load_and_loses_nothing() {
    for (server, client) in [("echo", "load"), ("sink", "stream")] {
        let stage = Stage::new();
        write_policy(&stage, false);
        let mut load = load(&stage, server, client, 0);
        for round in 1..=10 {
            stage.await_joined(stage.joined_bytes());
            // The pair may have been joined by its other end alone.
            await_reason(&stage, "joined");
            write_policy(&stage, true);
            await_reason(&stage, "policy");
            assert_eq!(stage.shortcut.counters().unwrap().split, round);
            write_policy(&stage, false);
        }
        stage.await_joined(stage.joined_bytes());
        load.client.tell("end");
        load.client.finish();
    }
}

/// What comes to the server's identity is decided by one row, in both
/// generations of policy.
fn write_row(stage: &Stage, value: u32) {
    announce(stage, consts::ENDPOINT_WORKLOAD | consts::ENDPOINT_INGRESS);
    let mask = stage.maps.limits().rounded().policy_cells - 1;
    for generation in [0, 1] {
        let way = consts::DIRECTION_INGRESS | generation << 8;
        let key = [IDENTITY, 0, consts::POLICY_ROW, way, 0];
        let mut bucket = types::cell_bucket::default();
        (bucket.cells[0].key, bucket.cells[0].value) = (key, value);
        let entry = (cell_hash(&key) & mask, bucket.as_bytes().to_vec());
        stage
            .maps
            .write_table(Table::PolicyCells, &[entry])
            .unwrap();
    }
    bump_revision(stage);
}

#[test]
fn root_a_pair_whose_requests_a_worker_reads_is_not_joined() {
    for family in 0..2 {
        let stage = Stage::new();
        write_row(&stage, consts::POLICY_ALLOW | consts::POLICY_L7);
        let mut load = load(&stage, "echo", "load", family);
        await_reason(&stage, "policy");
        assert_eq!(stage.joined_bytes(), 0);
        // The row is what decides: without requests to read it joins them.
        write_row(&stage, consts::POLICY_ALLOW);
        stage.await_joined(0);
        write_row(&stage, consts::POLICY_ALLOW | consts::POLICY_L7);
        await_reason(&stage, "policy");
        assert_eq!(stage.shortcut.counters().unwrap().split, 1);
        load.client.tell("end");
        load.client.finish();
    }
}

#[test]
fn root_loopback_is_not_a_matter_of_policy() {
    let stage = Stage::new();
    write_policy(&stage, true);
    let (_server, port) = stage.server("echo", "127.0.0.1");
    stage.peer("sizes", "127.0.0.1", port, &[]).finish();
    assert!(stage.joined_bytes() > 300_000);
}
