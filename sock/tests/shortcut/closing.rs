//! Connections end as they do without the shortcut, and leave nothing.

use crate::stage::{LOOPBACK, Stage};

#[test]
fn root_a_half_closed_connection_delivers_the_rest() {
    let stage = Stage::new();
    for host in LOOPBACK {
        let (_server, port) = stage.server("echo", host);
        let before = stage.joined_bytes();
        stage.peer("halves", host, port, &[]).finish();
        assert!(stage.joined_bytes() > before + 100_000);
    }
}

#[test]
fn root_a_reset_reaches_the_other_program() {
    let stage = Stage::new();
    for host in LOOPBACK {
        let (mut server, port) = stage.server("notice", host);
        stage.peer("reset", host, port, &[]).finish();
        assert_eq!(server.line()["end"], "reset", "{host}");
    }
    stage.await_no_pairs();
}

#[test]
fn root_ten_thousand_connections_leave_no_entry() {
    let stage = Stage::new();
    let (_server, port) = stage.server("echo", LOOPBACK[0]);
    let clients: Vec<_> = (0..4)
        .map(|_| stage.peer("short", LOOPBACK[0], port, &["2500"]))
        .collect();
    for client in clients {
        client.finish();
    }
    stage.await_no_pairs();
    let counters = stage.shortcut.counters().unwrap();
    assert_eq!(
        (counters.paired, counters.closed, counters.full),
        (10_000, 10_000, 0)
    );
    for name in ["shortcut_sockets", "shortcut_places", "shortcut_pairs"] {
        assert_eq!(entries(&stage, name), 0, "{name}");
    }
}

#[test]
fn root_killed_programs_leave_no_entry() {
    let stage = Stage::new();
    let (server, port) = stage.server("echo", LOOPBACK[0]);
    let mut client = stage.peer("load", LOOPBACK[0], port, &[]);
    client.line();
    stage.await_joined(stage.joined_bytes());
    assert_eq!(stage.pairs().len(), 1);
    drop((client, server));
    stage.await_no_pairs();
    assert_eq!(entries(&stage, "shortcut_places"), 0);
}

fn entries(stage: &Stage, name: &str) -> usize {
    use libbpf_rs::MapCore as _;
    let path = stage.pins.path().join("maps").join(name);
    let map = libbpf_rs::MapHandle::from_pinned_path(path).unwrap();
    map.keys().count()
}
