//! Every path that a packet may take, with every byte checked.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use terrace_testkit::{DsrReceiver, Netns, tcp, udp};

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

#[test]
fn root_direct_server_return_answers_past_the_host() {
    let stage = Stage::start("dsr", &Shape::default());
    let remote = stage.net.backend("remote");
    let vips = ["10.96.0.30", "fd00:96::30"];
    let addresses = vips.map(|vip| vip.parse().expect("an address"));
    let receiver = DsrReceiver::start(remote, &addresses).expect("a receiver");
    let ports = [TCP, UDP];
    let dsr = "terrace.io/forwarding: dsr";
    stage.write(
        "dsr.yaml",
        &manifests::service_at("dsr", vips, ports, dsr, ""),
    );
    stage.change("dsr-slices.yaml", &manifests::slices("dsr", &[remote]));
    for address in addresses {
        let to = SocketAddr::new(address, TCP);
        // A program on raw sockets takes the tunnel apart: it is no fast one.
        transfer(&stage, &stage.net.client("client").ns, to, 200_000);
    }
    assert!(receiver.packets() > 200, "{}", stage.report());
    assert!(stage.count("encapsulated") > 200, "{}", stage.report());
    assert!(stage.count("too_big") > 0, "the tunnel's MTU is learnt");
}

#[test]
fn root_a_node_port_is_served_on_the_hosts_address() {
    let stage = Stage::start("nodeport", &Shape::default());
    let yaml = manifests::service("echo", VIP, "", "  type: NodePort")
        .replace("targetPort: 9000,", "targetPort: 9000, nodePort: 30080,")
        .replace("targetPort: 9001,", "targetPort: 9001, nodePort: 30081,");
    stage.change("echo.yaml", &yaml);
    let uplink = &stage.net.uplinks[0];
    for address in [uplink.v4.into(), uplink.v6.into()] {
        let client = &stage.net.client("client").ns;
        reach_all(&stage, client, SocketAddr::new(address, 30080));
        exchange_datagrams(&stage, client, SocketAddr::new(address, 30081));
    }
}

#[test]
fn root_flows_say_which_tier_served_them() {
    let stage = Stage::start("tiers", &Shape::default());
    let client = &stage.net.client("client").ns;
    for to in vips(SERVICE) {
        reach_all(&stage, client, to);
    }
    let flows = stage.json(&["flows"]);
    let rows = flows["flows"].as_array().expect("flows");
    let remote = stage.net.backend("remote").addresses();
    for row in rows.iter().filter(|row| row["direction"] == "orig") {
        let backend: SocketAddr = row["backend"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a backend");
        let far = remote.contains(&backend.ip());
        let expected = if far { "xdp-native" } else { "tc" };
        assert_eq!(row["tier"], expected, "{row}");
    }
    assert!(rows.len() >= 2 * stage.n_servers(), "{flows}");
}
