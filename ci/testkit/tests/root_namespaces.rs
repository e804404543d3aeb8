//! The test kit against the kernel. Needs root.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use terrace_testkit::{HttpServer, Netns, PinRoot, Topology, http, sweep, tcp, udp, wait};

const SECOND: Duration = Duration::from_secs(1);

fn exists(name: &str) -> bool {
    Path::new("/run/netns").join(name).exists()
}

#[test]
fn root_a_dropped_namespace_is_gone_with_its_processes() {
    let ns = Netns::new("drop").unwrap();
    let name = ns.name().to_owned();
    let mut sleeper = Command::new("sleep");
    sleeper.arg("600");
    let mut sleeper = ns.enter(|| sleeper.spawn()).unwrap().unwrap();
    assert!(exists(&name));
    drop(ns);
    assert!(!exists(&name));
    assert!(!sleeper.wait().unwrap().success());
}

#[test]
fn root_a_panic_removes_the_namespace() {
    let name = std::sync::Mutex::new(String::new());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let ns = Netns::new("panic").unwrap();
        *name.lock().unwrap() = ns.name().to_owned();
        ns.enter(|| panic!("as planned")).unwrap();
    }));
    assert!(panicked.is_err());
    assert!(!exists(&name.into_inner().unwrap()));
}

#[test]
fn root_a_sweep_removes_what_a_dead_process_left() {
    // Larger than any pid of the kernel's default limit, so surely dead.
    let left = std::mem::ManuallyDrop::new(Netns::named("terrace-left-4194999-0").unwrap());
    let alive = Netns::new("alive").unwrap();
    assert!(sweep().contains(&left.name().to_owned()));
    assert!(!exists(left.name()));
    assert!(exists(alive.name()));
}

#[test]
fn root_sysctls_and_programs_see_their_own_namespace() {
    let ns = Netns::new("sysctl").unwrap();
    ns.sysctl("net.ipv4.ip_default_ttl", "77").unwrap();
    let inside = ns
        .run("cat", &["/proc/sys/net/ipv4/ip_default_ttl"])
        .unwrap();
    let outside = std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    assert_eq!(inside.trim(), "77");
    assert_ne!(outside.trim(), "77");
    let refused = ns.run("ip", &["link", "set", "nothing", "up"]).unwrap_err();
    assert!(refused.to_string().contains("nothing"), "{refused}");
}

#[test]
fn root_pin_roots_differ_and_go_with_their_guard() {
    let (a, b) = (PinRoot::new().unwrap(), PinRoot::new().unwrap());
    let path = a.path().to_owned();
    assert_ne!(path, b.path());
    std::fs::create_dir(path.join("maps")).unwrap();
    drop(a);
    assert!(!path.exists());
}

#[test]
fn root_a_background_program_keeps_its_log_and_ends_with_its_guard() {
    let ns = Netns::new("background").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; exec sleep 600"]);
    let mut program = ns.spawn(command).unwrap();
    program.wait_for_log("err", wait::PATIENCE).unwrap();
    assert_eq!(program.log(), "out\nerr\n");
    let pid = program.pid();
    drop(program);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn root_every_pair_of_nodes_talks_at_both_mtus() {
    for mtu in [1500, 9000] {
        let net = Topology::new("pairs")
            .mtu(mtu)
            .uplinks(2)
            .client("client")
            .workload("web-a")
            .workload("web-b")
            .backend("remote")
            .build()
            .unwrap();
        let _near = tcp::Server::start(&net.workload("web-b").ns, "web-b", 7000).unwrap();
        let _far = tcp::Server::start(&net.backend("remote").ns, "remote", 7000).unwrap();
        for (from, to) in [
            ("client", net.workload("web-b").addresses()),
            ("web-a", net.workload("web-b").addresses()),
            ("web-a", net.backend("remote").addresses()),
            ("client", net.backend("remote").addresses()),
        ] {
            let ns = match from {
                "client" => &net.client(from).ns,
                name => &net.workload(name).ns,
            };
            for address in to {
                check_transfers(
                    ns,
                    SocketAddr::new(address, 7000),
                    &format!("{from} at {mtu}"),
                );
            }
        }
    }
}

fn check_transfers(ns: &Netns, to: SocketAddr, row: &str) {
    let up = tcp::upload(ns, to, 300_001).unwrap_or_else(|e| panic!("{row}: {e}"));
    let down = tcp::download(ns, to, 1_000_003).unwrap_or_else(|e| panic!("{row}: {e}"));
    assert_eq!(up, down, "{row}");
}

#[test]
fn root_nginx_answers_with_its_name_and_files_on_both_families() {
    let net = Topology::new("nginx")
        .client("client")
        .backend("remote")
        .build()
        .unwrap();
    let remote = net.backend("remote");
    let server = HttpServer::start(&remote.ns, "remote", 8080).unwrap();
    server.add_file("numbers", b"0123456789").unwrap();
    for address in remote.addresses() {
        let client = &net.client("client").ns;
        assert_eq!(
            http::get(client, server.at(address), "/").unwrap(),
            "remote\n"
        );
        let mut connection = http::Connection::open(client, server.at(address)).unwrap();
        for _ in 0..3 {
            assert_eq!(connection.get("/files/numbers").unwrap(), "0123456789");
        }
    }
}

#[test]
fn root_udp_answers_come_from_the_named_server_and_silence_is_an_error() {
    let net = Topology::new("udp")
        .client("client")
        .backend("remote")
        .build()
        .unwrap();
    let remote = net.backend("remote");
    let _server = udp::Server::start(&remote.ns, "remote", 5300).unwrap();
    for address in remote.addresses() {
        let to = SocketAddr::new(address, 5300);
        let mut client = udp::Client::open(&net.client("client").ns, to).unwrap();
        for size in [24, 1400, 5000] {
            assert_eq!(
                client.ask(size, 5 * SECOND).unwrap(),
                "remote",
                "{size} bytes"
            );
        }
    }
    let nobody = SocketAddr::new(IpAddr::from([10, 30, 0, 2]), 5301);
    let mut client = udp::Client::open(&net.client("client").ns, nobody).unwrap();
    client.ask(24, SECOND).unwrap_err();
}

#[test]
fn root_a_pulse_counts_rounds_and_reports_a_lost_connection() {
    let net = Topology::new("pulse")
        .client("client")
        .backend("remote")
        .build()
        .unwrap();
    let to = SocketAddr::new(net.backend("remote").v4.into(), 7000);
    let server = tcp::Server::start(&net.backend("remote").ns, "remote", 7000).unwrap();
    let pulse = tcp::Pulse::start(&net.client("client").ns, to, 3).unwrap();
    pulse.wait_rounds(5).unwrap();
    assert_eq!(pulse.servers(), ["remote", "remote", "remote"]);
    assert!(pulse.finish().unwrap() >= 15);
    let pulse = tcp::Pulse::start(&net.client("client").ns, to, 1).unwrap();
    drop(server);
    pulse.wait_rounds(1000).unwrap_err();
    pulse.finish().unwrap_err();
}
