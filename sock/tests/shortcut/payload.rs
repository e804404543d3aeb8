//! Bytes arrive as they were sent, and did go from socket to socket.

use terrace_sock::shortcut::Settings;

use crate::stage::{LOOPBACK, Stage};

/// Runs a client against a server on loopback; at least this many bytes of it
/// must have gone past the stack.
fn exchange(stage: &Stage, server: &str, client: &str, host: &str, args: &[&str], joined: u64) {
    let (_server, port) = stage.server(server, host);
    let before = stage.joined_bytes();
    stage.peer(client, host, port, args).finish();
    let moved = stage.joined_bytes() - before;
    assert!(
        moved >= joined,
        "{client} {host}: {moved} bytes by socket, not {joined}"
    );
}

#[test]
fn root_messages_of_every_size_arrive_whole_over_ipv4() {
    exchange(&Stage::new(), "echo", "sizes", LOOPBACK[0], &[], 300_000);
}

#[test]
fn root_messages_of_every_size_arrive_whole_over_ipv6() {
    exchange(&Stage::new(), "echo", "sizes", LOOPBACK[1], &[], 300_000);
}

#[test]
fn root_a_gigabyte_from_socket_to_socket_arrives_as_it_was_sent() {
    let bytes = 1 << 30;
    let args = [bytes.to_string()];
    let joined = bytes - bytes / 100;
    exchange(
        &Stage::new(),
        "ledger",
        "windows",
        LOOPBACK[0],
        &[&args[0]],
        joined,
    );
}

#[test]
fn root_a_long_transfer_that_never_waits_arrives_as_it_was_sent() {
    for host in LOOPBACK {
        exchange(&Stage::new(), "sink", "upload", host, &["300000000"], 0);
    }
}

#[test]
fn root_both_directions_at_once_arrive_whole() {
    for host in LOOPBACK {
        exchange(
            &Stage::new(),
            "echo",
            "duplex",
            host,
            &["20000000"],
            100_000,
        );
    }
}

#[test]
fn root_bulk_beyond_the_limit_takes_the_stack_and_arrives_whole() {
    let stage = Stage::with(
        64,
        &Settings {
            bulk_bytes: 100_000,
            ..Settings::default()
        },
    );
    exchange(
        &stage,
        "ledger",
        "windows",
        LOOPBACK[0],
        &["50000000"],
        1_000_000,
    );
    let counters = stage.shortcut.counters().unwrap();
    let bulk = counters
        .reasons
        .iter()
        .find(|count| count.reason.name() == "bulk");
    assert!(
        bulk.is_some_and(|count| count.bytes > 20_000_000),
        "{counters:?}"
    );
}

#[test]
fn root_a_hundred_connections_at_once_keep_their_bytes_apart() {
    for host in LOOPBACK {
        exchange(&Stage::new(), "echo", "many", host, &["100", "50"], 30_000);
    }
}

#[test]
fn root_a_slow_reader_holds_its_writer_back_and_loses_nothing() {
    let stage = Stage::new();
    let (mut server, port) = stage.server("hold", LOOPBACK[0]);
    let mut client = stage.peer("fill", LOOPBACK[0], port, &["100000000"]);
    let sent = client.line();
    assert!(
        sent["count"].as_u64().unwrap() < 100_000_000,
        "nothing held it back"
    );
    client.tell("end");
    server.tell("read");
    let read = server.line();
    assert_eq!(
        (&read["count"], &read["digest"]),
        (&sent["count"], &sent["digest"])
    );
    let names: Vec<_> = stage.shortcut.counters().unwrap().reasons;
    assert!(
        names.iter().any(|count| count.reason.name() == "backlog"),
        "{names:?}"
    );
}

#[test]
fn root_a_refresh_takes_the_stack_now_and_then() {
    let stage = Stage::with(
        64,
        &Settings {
            refresh_secs: 1,
            ..Settings::default()
        },
    );
    let (_server, port) = stage.server("echo", LOOPBACK[0]);
    let mut client = stage.peer("load", LOOPBACK[0], port, &[]);
    client.line();
    terrace_testkit::wait::until("a refresh", terrace_testkit::wait::PATIENCE, || {
        let counters = stage.shortcut.counters().unwrap();
        counters
            .reasons
            .iter()
            .any(|count| count.reason.name() == "refresh")
            .then_some(())
    })
    .unwrap();
    let before = stage.joined_bytes();
    stage.await_joined(before);
    client.tell("end");
    client.finish();
}
