//! Every path that a packet may take, with every byte checked.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use terrace_testkit::{Netns, tcp, udp};

use crate::manifests;
use crate::stage::{SERVICE, Shape, Stage, TCP, UDP, VIP, vips};

const MEGA: u64 = 1 << 20;
/// Datagrams of one packet, of several fragments, and the largest.
const DATAGRAMS: [usize; 4] = [32, 1400, 4000, 20_000];
const ANSWER: Duration = Duration::from_secs(10);

/// Opens connections until each of the service's backends has served one.
fn reach_all(stage: &Stage, from: &Netns, to: SocketAddr) {
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let server = tcp::download(from, to, 2000)
            .unwrap_or_else(|error| panic!("{to}: {error}\n{}", stage.report()));
        seen.insert(server);
        if seen.len() == stage.n_servers() {
            println!("{to}: all of {seen:?} answered");
            return;
        }
    }
    panic!("{to}: only {seen:?} answered\n{}", stage.report());
}

fn transfer(stage: &Stage, from: &Netns, to: SocketAddr, length: u64) {
    for (way, done) in [
        ("up", tcp::upload(from, to, length)),
        ("down", tcp::download(from, to, length)),
    ] {
        let server = done.unwrap_or_else(|error| panic!("{way} {to}: {error}\n{}", stage.report()));
        println!("{length} bytes {way} {to}: right, by {server}");
    }
}

fn exchange_datagrams(stage: &Stage, from: &Netns, to: SocketAddr) {
    for size in DATAGRAMS {
        let mut client = udp::Client::open(from, to).expect("UDP socket");
        let server = client
            .ask(size, ANSWER)
            .unwrap_or_else(|error| panic!("{size} to {to}: {error}\n{}", stage.report()));
        println!("datagram of {size} bytes to {to}: right, by {server}");
    }
}

fn check_every_path(shape: &Shape, label: &str, length: u64) {
    let stage = Stage::start(label, shape);
    let client = &stage.net.client("client").ns;
    let web = &stage.net.workload("web-a").ns;
    for to in vips(SERVICE) {
        reach_all(&stage, client, to);
        reach_all(&stage, web, to);
        for _ in 0..3 {
            transfer(&stage, client, to, length);
        }
        transfer(&stage, web, to, length);
        transfer(&stage, &stage.net.host, to, MEGA);
    }
    for to in vips(SERVICE + 1) {
        for from in [client, web, client, client] {
            exchange_datagrams(&stage, from, to);
        }
    }
    for address in stage.net.workload("web-b").addresses() {
        transfer(&stage, client, SocketAddr::new(address, TCP), length);
        transfer(&stage, web, SocketAddr::new(address, TCP), length);
        transfer(&stage, &stage.net.host, SocketAddr::new(address, TCP), MEGA);
        exchange_datagrams(&stage, client, SocketAddr::new(address, UDP));
    }
    println!("{}", stage.terrace(&["reasons"]).1);
}

#[test]
fn root_native_xdp_and_tc_carry_every_byte() {
    check_every_path(&Shape::default(), "native", 8 * MEGA);
}

#[test]
fn root_tc_alone_carries_every_byte() {
    let shape = Shape {
        tier: "tc",
        ..Shape::default()
    };
    check_every_path(&shape, "tconly", 16 * MEGA);
}

#[test]
fn root_generic_xdp_carries_every_byte() {
    let shape = Shape {
        tier: "xdp-generic",
        ..Shape::default()
    };
    check_every_path(&shape, "generic", 4 * MEGA);
}

#[test]
fn root_jumbo_frames_carry_every_byte() {
    let shape = Shape {
        mtu: 9000,
        tier: "tc",
        config: "",
    };
    check_every_path(&shape, "jumbo", 16 * MEGA);
}

#[test]
fn root_a_hundred_megabytes_arrive_unchanged() {
    let shape = Shape {
        tier: "tc",
        ..Shape::default()
    };
    let stage = Stage::start("hundred", &shape);
    for to in vips(SERVICE) {
        transfer(&stage, &stage.net.client("client").ns, to, 100 * MEGA);
    }
}

#[test]
fn root_a_service_address_answers_pings() {
    let stage = Stage::start("ping", &Shape::default());
    for vip in VIP {
        for from in [
            &stage.net.client("client").ns,
            &stage.net.workload("web-a").ns,
        ] {
            from.run("ping", &["-c", "3", "-i", "0.2", "-W", "3", vip])
                .unwrap_or_else(|error| panic!("{vip}: {error}\n{}", stage.report()));
        }
    }
    assert!(stage.count("echo_reply") >= 12, "{}", stage.report());
}

#[test]
fn root_a_smaller_mtu_behind_the_host_is_learnt() {
    let stage = Stage::start("pmtu", &Shape::default());
    let remote = stage.net.backend("remote");
    stage.change("echo-slices.yaml", &manifests::slices("echo", &[remote]));
    let route = stage
        .net
        .router
        .run("ip", &["-o", "route", "get", &remote.v4.to_string()])
        .expect("the router's route");
    let far = route
        .split_whitespace()
        .skip_while(|word| *word != "dev")
        .nth(1)
        .expect("an interface");
    stage
        .net
        .router
        .run("ip", &["link", "set", far, "mtu", "1380"])
        .expect("a smaller MTU");
    for to in vips(SERVICE) {
        let server = tcp::upload(&stage.net.client("client").ns, to, 4 * MEGA)
            .unwrap_or_else(|error| panic!("{to}: {error}\n{}", stage.report()));
        assert_eq!(server, "remote");
    }
    assert!(stage.count("icmp_related") > 0, "{}", stage.report());
}

#[test]
fn root_affinity_keeps_a_client_with_its_backend() {
    let stage = Stage::start("affinity", &Shape::default());
    let spec = "  sessionAffinity: ClientIP";
    stage.change("echo.yaml", &manifests::service("echo", VIP, "", spec));
    let client = &stage.net.client("client").ns;
    for to in vips(SERVICE) {
        let servers: BTreeSet<String> = (0..20)
            .map(|_| tcp::download(client, to, 100).expect("an answer"))
            .collect();
        assert_eq!(servers.len(), 1, "{to}: {servers:?}");
    }
}
