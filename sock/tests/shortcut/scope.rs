//! Which connections are joined, and which are left alone.

use terrace_abi::consts;
use terrace_sock::shortcut::Settings;

use crate::stage::{LOOPBACK, Process, Stage, announce, linked};

#[test]
fn root_a_port_that_is_not_chosen_stays_on_the_stack() {
    let settings = Settings {
        ports: vec![7001],
        ..Settings::default()
    };
    let stage = Stage::with(64, &settings);
    for (port, joined) in [(7001, true), (7002, false)] {
        let mut server = stage.peer("echo", LOOPBACK[0], port, &[]);
        server.line();
        let before = stage.joined_bytes();
        stage.peer("sizes", LOOPBACK[0], port, &[]).finish();
        assert_eq!(stage.joined_bytes() > before, joined, "port {port}");
    }
    stage.await_no_pairs();
}

#[test]
fn root_a_program_outside_the_cgroups_stays_on_the_stack() {
    let stage = Stage::new();
    let inside = Some(stage.folder.path());
    for (server_in, client_in) in [(None, inside), (inside, None)] {
        let mut server = stage.peer_in(&stage.ns, server_in, "echo", LOOPBACK[0], 0, &[]);
        let port = server.line()["listening"].as_u64().unwrap() as u16;
        let client = stage.peer_in(&stage.ns, client_in, "sizes", LOOPBACK[0], port, &[]);
        client.finish();
        assert_eq!(stage.joined_bytes(), 0);
    }
    stage.await_no_pairs();
}

#[test]
fn root_a_client_without_a_local_server_goes_back_to_plain_tcp() {
    let stage = Stage::new();
    let mut server = stage.peer_in(&stage.ns, None, "echo", LOOPBACK[0], 0, &[]);
    let port = server.line()["listening"].as_u64().unwrap() as u16;
    let mut client = stage.peer("load", LOOPBACK[0], port, &[]);
    client.line();
    // While the connection is open: its client has no place any more.
    stage.await_no_pairs();
    client.tell("end");
    client.finish();
}

#[test]
fn root_namespaces_with_a_link_between_them_are_joined() {
    let stage = Stage::new();
    let (a, b, families) = linked("cut");
    announce(&stage, consts::ENDPOINT_WORKLOAD);
    for (_, to) in families {
        let to = to.to_string();
        let cgroup = Some(stage.folder.path());
        let mut server = stage.peer_in(&b, cgroup, "echo", &to, 7000, &[]);
        server.line();
        let before = stage.joined_bytes();
        stage.peer_in(&a, cgroup, "sizes", &to, 7000, &[]).finish();
        assert!(stage.joined_bytes() > before + 300_000, "{to}");
    }
}

#[test]
fn root_a_redirected_connection_is_joined_with_the_proxy_that_got_it() {
    let stage = Stage::new();
    let rule = "-t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001";
    stage
        .ns
        .run("iptables", &rule.split(' ').collect::<Vec<_>>())
        .unwrap();
    let mut server = stage.peer("echo", LOOPBACK[0], 15001, &[]);
    server.line();
    let before = stage.joined_bytes();
    stage.peer("sizes", LOOPBACK[0], 80, &[]).finish();
    assert!(stage.joined_bytes() > before + 300_000);
}

#[test]
fn root_equal_addresses_in_two_namespaces_are_never_mixed_up() {
    let stage = Stage::new();
    let other = terrace_testkit::Netns::new("cut-twin").unwrap();
    let cgroup = Some(stage.folder.path());
    let mut servers = Vec::new();
    for ns in [&stage.ns, &other] {
        let mut server = stage.peer_in(ns, cgroup, "echo", LOOPBACK[0], 7000, &[]);
        server.line();
        servers.push(server);
        // The same few client ports in both.
        ns.sysctl("net.ipv4.ip_local_port_range", "50000 50063")
            .unwrap();
    }
    let clients: Vec<Process> = [&stage.ns, &other]
        .map(|ns| stage.peer_in(ns, cgroup, "many", LOOPBACK[0], 7000, &["60", "100"]))
        .into();
    for client in clients {
        client.finish();
    }
    assert!(stage.joined_bytes() > 60 * 100);
}

#[test]
fn root_connections_beyond_the_table_take_the_stack() {
    let stage = Stage::with(8, &Settings::default());
    let (_server, port) = stage.server("echo", LOOPBACK[0]);
    stage
        .peer("many", LOOPBACK[0], port, &["40", "20"])
        .finish();
    let counters = stage.shortcut.counters().unwrap();
    assert!(
        counters.full > 0 && counters.joined().messages > 0,
        "{counters:?}"
    );
    stage.await_no_pairs();
}
