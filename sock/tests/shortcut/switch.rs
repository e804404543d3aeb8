//! The live switch, while data flows.

use terrace_sock::shortcut::Pair;
use terrace_testkit::wait;

use crate::stage::{LOOPBACK, Stage};

#[test]
fn root_switching_under_load_loses_and_reorders_nothing() {
    for (server, client) in [("echo", "load"), ("sink", "stream")] {
        let stage = Stage::new();
        let (_server, port) = stage.server(server, LOOPBACK[0]);
        let mut client = stage.peer(client, LOOPBACK[0], port, &[]);
        client.line();
        for _ in 0..30 {
            stage.shortcut.set_enabled(true).unwrap();
            stage.await_joined(stage.joined_bytes());
            stage.shortcut.set_enabled(false).unwrap();
        }
        client.tell("end");
        assert!(client.finish()["messages"].as_u64().unwrap() > 0);
    }
}

#[test]
fn root_switched_off_new_data_takes_the_stack() {
    let stage = Stage::new();
    let (_server, port) = stage.server("echo", LOOPBACK[0]);
    let mut client = stage.peer("load", LOOPBACK[0], port, &[]);
    client.line();
    stage.await_joined(stage.joined_bytes());
    stage.shortcut.set_enabled(false).unwrap();
    assert!(!stage.shortcut.is_enabled().unwrap());
    let off = || stage.pairs()[0].reason().name() == "off";
    wait::until("the reason `off`", wait::PATIENCE, || off().then_some(())).unwrap();
    let before = (
        stage.joined_bytes(),
        stage.pairs()[0].client.sent.stack_messages,
    );
    wait::until("more by the stack", wait::PATIENCE, || {
        (stage.pairs()[0].client.sent.stack_messages > before.1 + 100).then_some(())
    })
    .unwrap();
    assert_eq!(stage.joined_bytes(), before.0);
    client.tell("end");
    client.finish();
}

#[test]
fn root_bytes_and_messages_of_a_connection_are_counted() {
    let stage = Stage::new();
    let (_server, port) = stage.server("echo", LOOPBACK[0]);
    let mut client = stage.peer("load", LOOPBACK[0], port, &[]);
    client.line();
    let enough =
        |pair: &Pair| pair.socket_bytes() > 100_000 && pair.client.sent.socket_messages > 10;
    wait::until("messages from socket to socket", wait::PATIENCE, || {
        stage.pairs().first().is_some_and(enough).then_some(())
    })
    .unwrap();
    stage.shortcut.set_enabled(false).unwrap();
    let pair = stage.pairs()[0];
    let server = pair.server.unwrap();
    assert_eq!(pair.client.remote, server.local);
    assert_eq!(pair.client.local, server.remote);
    assert!(enough(&pair));
    assert_eq!(
        pair.client.sent.stack_messages.min(1),
        1,
        "the first takes the stack"
    );
    client.tell("end");
    client.finish();
}
