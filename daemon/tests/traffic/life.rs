//! What happens to connections while Terrace and its tables change.

use terrace_testkit::tcp::{self, Pulse};
use terrace_testkit::udp;
use terrace_testkit::wait::PATIENCE;

use crate::manifests;
use crate::stage::{SERVICE, Shape, Stage, vips};

const CONNECTIONS: usize = 12;
/// Rounds of every connection between two steps.
const ROUNDS: u64 = 40;

fn pulses(stage: &Stage) -> Vec<Pulse> {
    let client = &stage.net.client("client").ns;
    vips(SERVICE)
        .map(|to| Pulse::start(client, to, CONNECTIONS).expect("connections"))
        .into()
}

fn go_on(stage: &Stage, pulses: &[Pulse], after: &str) {
    for pulse in pulses {
        pulse
            .wait_rounds(ROUNDS)
            .unwrap_or_else(|error| panic!("after {after}: {error}\n{}", stage.report()));
    }
    println!("after {after}: all connections go on");
}

fn finish(pulses: Vec<Pulse>) {
    for pulse in pulses {
        let rounds = pulse.finish().expect("no connection failed");
        println!("{rounds} echo rounds, every byte right");
    }
}

#[test]
fn root_backend_churn_breaks_no_connection() {
    let stage = Stage::start("churn", &Shape::default());
    let pulses = pulses(&stage);
    let all = stage.behind_echo();
    for gone in 0..all.len() {
        let mut left = all.clone();
        let name = left.remove(gone).name.clone();
        stage.change("echo-slices.yaml", &manifests::slices("echo", &left));
        go_on(&stage, &pulses, &format!("removing {name}"));
        for to in vips(SERVICE) {
            for _ in 0..20 {
                let server = tcp::download(&stage.net.client("client").ns, to, 100)
                    .expect("a new connection");
                assert_ne!(server, name, "a removed backend got a connection");
            }
        }
    }
    let draining: Vec<_> = all
        .iter()
        .map(|node| (*node, "ready: false, serving: true, terminating: true"))
        .collect();
    let text = manifests::slices_with(
        "echo",
        &[&draining[..1], &[(all[1], "ready: true")]].concat(),
    );
    stage.change("echo-slices.yaml", &text);
    go_on(&stage, &pulses, "draining a backend");
    for to in vips(SERVICE) {
        let server = tcp::download(&stage.net.client("client").ns, to, 100).expect("an answer");
        assert_eq!(server, all[1].name, "only the ready one gets new ones");
    }
    finish(pulses);
}

/// As a resolver or a log shipper: one port, datagrams without end.
#[test]
fn root_datagrams_leave_a_backend_that_is_gone() {
    let stage = Stage::start("datagrams", &Shape::default());
    let all = stage.behind_echo();
    for to in vips(SERVICE + 1) {
        stage.change("echo-slices.yaml", &manifests::slices("echo", &all));
        let mut client = udp::Client::open(&stage.net.client("client").ns, to).expect("a socket");
        let first = client.ask(100, PATIENCE).expect("an answer");
        let left: Vec<_> = all
            .iter()
            .copied()
            .filter(|node| node.name != first)
            .collect();
        stage.change("echo-slices.yaml", &manifests::slices("echo", &left));
        let next = client.ask(100, PATIENCE).expect("an answer");
        assert_ne!(next, first, "{to}: still the removed backend");
        println!("{to}: {first} was removed, {next} answers the same socket");
    }
}

#[test]
fn root_kill_and_restart_lose_no_connection() {
    let mut stage = Stage::start("restart", &Shape::default());
    let pulses = pulses(&stage);
    go_on(&stage, &pulses, "start");
    for round in 0..2 {
        stage.kill();
        go_on(&stage, &pulses, "kill -9");
        for to in vips(SERVICE) {
            tcp::download(&stage.net.client("client").ns, to, 100)
                .expect("a new connection while no daemon runs");
        }
        stage.run();
        go_on(&stage, &pulses, &format!("restart {round}"));
    }
    stage.stop();
    go_on(&stage, &pulses, "stop");
    stage.run();
    go_on(&stage, &pulses, "start again");
    finish(pulses);
    let status = stage.json(&["status"]);
    assert_eq!(status["taken_over"], true, "{status}");
}

#[test]
fn root_a_link_that_goes_and_comes_back_is_served_again() {
    let stage = Stage::start("link", &Shape::default());
    let client = &stage.net.client("client").ns;
    let to = vips(SERVICE);
    tcp::download(client, to[0], 100).expect("before");
    let up = stage.net.uplinks[0].iface.clone();
    let routes6 = stage
        .net
        .host
        .run("ip", &["-6", "route", "show", "default"])
        .expect("routes");
    stage
        .net
        .host
        .ip([format!("link set {up} down")])
        .expect("link down");
    stage
        .net
        .host
        .ip([format!("link set {up} up")])
        .expect("link up");
    // Routes and IPv6 addresses go with the link; its administrator puts them back.
    let address6 = format!("address add {}/64 dev {up} nodad", stage.net.uplinks[0].v6);
    stage.net.host.ip([address6]).expect("the address");
    let words: Vec<&str> = routes6.split_whitespace().collect();
    let routes = [
        "route replace default via 10.10.0.1".to_owned(),
        format!("-6 route replace default via {}", words[2]),
    ];
    for route in routes {
        let words: Vec<&str> = route.split(' ').collect();
        stage.net.host.run("ip", &words).expect("the route");
    }
    for to in to {
        let done =
            terrace_testkit::wait::until("an answer", terrace_testkit::wait::PATIENCE, || {
                tcp::download(client, to, 100).ok()
            });
        done.unwrap_or_else(|error| panic!("{to}: {error}\n{}", stage.report()));
    }
}

#[test]
fn root_detach_leaves_nothing() {
    let mut stage = Stage::start("detach", &Shape::default());
    tcp::download(&stage.net.client("client").ns, vips(SERVICE)[0], 100).expect("an answer");
    stage.stop();
    let (done, text) = stage.terrace(&["detach", "--yes"]);
    assert!(done, "{text}");
    println!("{text}");
    assert!(
        !stage.pins.path().exists()
            || std::fs::read_dir(stage.pins.path()).is_ok_and(|mut dir| dir.next().is_none()),
        "pins are left"
    );
    let links = stage.net.host.run("ip", &["-d", "link"]).expect("links");
    assert!(!links.contains("xdp"), "{links}");
    let filters = stage
        .net
        .host
        .run("bpftool", &["net", "show"])
        .expect("bpftool");
    assert!(!filters.contains("terrace"), "{filters}");
}
