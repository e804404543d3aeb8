//! Without its daemon, with the next one, and taken away.

use std::time::Duration;

use terrace_sock::Error;
use terrace_sock::shortcut::{Shortcut, detach};

use crate::stage::{LOOPBACK, Stage};

#[test]
fn root_joined_connections_live_on_without_the_daemon_and_with_the_next() {
    let mut stage = Stage::new();
    let (_server, port) = stage.server("echo", LOOPBACK[0]);
    let mut client = stage.peer("load", LOOPBACK[0], port, &[]);
    client.line();
    stage.await_joined(stage.joined_bytes());
    // All that a daemon holds is its descriptors; the pins hold the rest.
    let next = Shortcut::load(&stage.maps, 1024).unwrap();
    stage.shortcut = next;
    let attached = stage.shortcut.attach(&[stage.folder.open()]).unwrap();
    assert!(attached.iter().all(|link| link.taken_over), "{attached:?}");
    assert!(stage.shortcut.is_enabled().unwrap());
    stage.await_joined(stage.joined_bytes());
    assert_eq!(stage.pairs().len(), 1);
    client.tell("end");
    client.finish();
    // And new ones are joined by the new programs.
    let before = stage.joined_bytes();
    stage.peer("sizes", LOOPBACK[0], port, &[]).finish();
    assert!(stage.joined_bytes() > before);
}

#[test]
fn root_detaching_under_load_breaks_no_connection_and_leaves_nothing() {
    for (server, client) in [("echo", "load"), ("sink", "stream")] {
        let stage = Stage::new();
        let (_server, port) = stage.server(server, LOOPBACK[0]);
        let mut client = stage.peer(client, LOOPBACK[0], port, &[]);
        client.line();
        stage.await_joined(stage.joined_bytes());
        detach(stage.pins.path(), Duration::from_secs(20)).unwrap();
        assert_eq!(pins(&stage), Vec::<String>::new());
        client.tell("end");
        client.finish();
    }
}

#[test]
fn root_detaching_refuses_while_bytes_are_unread_and_loses_none() {
    let stage = Stage::new();
    let (mut server, port) = stage.server("hold", LOOPBACK[0]);
    let mut client = stage.peer("unread", LOOPBACK[0], port, &[]);
    let sent = client.line();
    let refused = detach(stage.pins.path(), Duration::from_millis(200));
    assert!(
        matches!(refused, Err(Error::Unread { sockets: 1 })),
        "{refused:?}"
    );
    client.tell("end");
    server.tell("read");
    let read = server.line();
    assert_eq!(
        (&read["count"], &read["digest"]),
        (&sent["sent"], &sent["digest"])
    );
    client.finish();
    detach(stage.pins.path(), Duration::from_secs(20)).unwrap();
    assert_eq!(pins(&stage), Vec::<String>::new());
}

#[test]
fn root_detaching_twice_is_no_error() {
    let stage = Stage::new();
    for _ in 0..2 {
        detach(stage.pins.path(), Duration::from_secs(5)).unwrap();
    }
}

#[test]
fn root_pairs_whose_end_nobody_saw_are_swept() {
    let stage = Stage::new();
    let (server, port) = stage.server("echo", LOOPBACK[0]);
    let mut client = stage.peer("load", LOOPBACK[0], port, &[]);
    client.line();
    stage.await_joined(stage.joined_bytes());
    // No program of ours sees these sockets close.
    for link in std::fs::read_dir(stage.pins.path().join("links")).unwrap() {
        std::fs::remove_file(link.unwrap().path()).unwrap();
    }
    terrace_testkit::wait::until("links to go", terrace_testkit::wait::PATIENCE, || {
        let query = terrace_abi::sys::socket_query(
            std::os::fd::AsFd::as_fd(&stage.folder.open()),
            terrace_abi::sys::SocketHook::SockOps,
        );
        query.unwrap().is_empty().then_some(())
    })
    .unwrap();
    drop((client, server));
    terrace_testkit::wait::until("the sweep", terrace_testkit::wait::PATIENCE, || {
        (stage.shortcut.observe().unwrap().pairs == 0).then_some(())
    })
    .unwrap();
    assert!(stage.pairs().is_empty());
}

fn pins(stage: &Stage) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["links", "maps"] {
        for entry in std::fs::read_dir(stage.pins.path().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            if name.starts_with("shortcut") {
                found.push(name);
            }
        }
    }
    found
}
