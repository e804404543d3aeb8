//! Policy joins and splits pairs; it is never decided here.

use terrace_abi::{consts, types};
use terrace_testkit::{Netns, wait};

use crate::stage::{Process, Stage, announce, linked};

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

#[test]
fn root_loopback_is_not_a_matter_of_policy() {
    let stage = Stage::new();
    write_policy(&stage, true);
    let (_server, port) = stage.server("echo", "127.0.0.1");
    stage.peer("sizes", "127.0.0.1", port, &[]).finish();
    assert!(stage.joined_bytes() > 300_000);
}
