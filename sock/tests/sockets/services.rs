//! Service translation of TCP: each row is a test of its own.

use std::net::SocketAddr;

use terrace_abi::Reason;
use terrace_abi::consts::{BACKEND_READY, FAIL_CLOSED, FAIL_OPEN, SERVICE_L7};

use crate::stage::{Stage, backends};
use crate::tables::{Kind, Service, TCP};

pub const V4: &str = "10.96.0.10:80";
pub const V6: &str = "[fd00:96::10]:80";

pub fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A stage with a service of this kind; its backends are of its family.
pub fn stage_with(label: &str, service: &str, kind: Kind) -> (Stage, Service) {
    let mut stage = Stage::new(label);
    let at = at(service);
    let service = stage.tables.service(at, kind, &backends(at.ip()));
    (stage, service)
}

fn check(label: &str, service: &str, script: &str, expected: &str) -> Stage {
    let (mut stage, _) = stage_with(label, service, Kind::new(TCP));
    assert_eq!(stage.client.run(script), expected, "{service}");
    stage
}

#[test]
fn root_a_v4_connection_reaches_a_backend_and_sees_the_service() {
    let script =
        "s = dial('10.96.0.10', 80)\nresult = [greet(s) in ('b0','b1','b2'), s.getpeername()]";
    let stage = check("c4", V4, script, r#"[true, ["10.96.0.10", 80]]"#);
    assert_eq!(stage.tables.count(Reason::ConnectService), 1);
}

#[test]
fn root_a_v6_connection_reaches_a_backend_and_sees_the_service() {
    let script =
        "s = dial('fd00:96::10', 80)\nresult = [greet(s) in ('b0','b1','b2'), s.getpeername()]";
    let stage = check("c6", V6, script, r#"[true, ["fd00:96::10", 80, 0, 0]]"#);
    assert_eq!(stage.tables.count(Reason::ConnectService), 1);
}

#[test]
fn root_a_v4_mapped_connection_is_served_as_v4() {
    let script = "s = dial('::ffff:10.96.0.10', 80)\nresult = [greet(s)[0], s.getpeername()]";
    check(
        "mapped",
        V4,
        script,
        r#"["b", ["::ffff:10.96.0.10", 80, 0, 0]]"#,
    );
}

#[test]
fn root_every_backend_gets_connections() {
    let script = "result = sorted({greet(dial('10.96.0.10', 80)) for _ in range(100)})";
    check("spread", V4, script, r#"["b0", "b1", "b2"]"#);
}

#[test]
fn root_a_connection_to_somewhere_else_is_left_alone() {
    let script = "s = dial('10.1.0.2', 9000)\nresult = [greet(s), s.getpeername()]";
    let stage = check("direct", V4, script, r#"["b0", ["10.1.0.2", 9000]]"#);
    assert_eq!(stage.tables.count(Reason::ConnectDirect), 1);
}

#[test]
fn root_another_port_of_a_service_address_is_left_to_the_stack() {
    let script =
        "s = socket.socket()\ns.settimeout(0.2)\nresult = s.connect_ex(('10.96.0.10', 81)) != 0";
    let stage = check("port", V4, script, "true");
    assert_eq!(stage.tables.count(Reason::ConnectDirect), 1);
}

#[test]
fn root_a_non_blocking_connect_is_translated_once() {
    let script =
        "s = socket.socket()\ns.setblocking(False)\nfirst = s.connect_ex(('10.96.0.10', 80))
select.select([], [s], [], 10)
s.setblocking(True)\nresult = [first == errno.EINPROGRESS, greet(s)[0], s.getpeername()]";
    let stage = check("nonblock", V4, script, r#"[true, "b", ["10.96.0.10", 80]]"#);
    assert_eq!(stage.tables.count(Reason::ConnectService), 1);
}

#[test]
fn root_a_bound_socket_keeps_its_source() {
    let script = "s = dial('10.96.0.10', 80, bind=('10.1.0.1', 40001))\nresult = [greet(s)[0], s.getsockname()]";
    check("bound", V4, script, r#"["b", ["10.1.0.1", 40001]]"#);
}

#[test]
fn root_the_packets_go_to_the_backend_itself() {
    let script = "s = dial('10.96.0.10', 80)\ngreet(s)
lines = open('/proc/net/tcp').read().split('\\n')[1:]
result = [l.split()[2][-4:] for l in lines if l and l.split()[3] == '01' and l.split()[2][:8] in ('0200010A','0300010A','0400010A')]";
    check("wire", V4, script, r#"["2328"]"#);
}

#[test]
fn root_a_reused_socket_forgets_the_service() {
    let script = "s = socket.socket()\ns.settimeout(10)\ns.connect(('10.96.0.10', 80))\ngreet(s)
libc = __import__('ctypes').CDLL(None)
libc.connect(s.fileno(), bytes(16), 16)
s.connect(('10.1.0.3', 9000))\nresult = [greet(s), s.getpeername()]";
    check("reuse", V4, script, r#"["b1", ["10.1.0.3", 9000]]"#);
}

/// `connect` of a service without ready backends.
fn check_without(label: &str, flags: u32, expected: &str, reason: Reason) {
    for service in [V4, V6] {
        let kind = Kind {
            flags,
            ..Kind::new(TCP)
        };
        let (mut stage, service) = stage_with(label, service, kind);
        stage.tables.keep(&service, |_| false);
        let host = match service.backends[0].1.is_ipv4() {
            true => "10.96.0.10",
            false => "fd00:96::10",
        };
        let seen = stage.client.run(&format!("dial('{host}', 80)"));
        assert_eq!(seen, expected, "{host}");
        assert_eq!(stage.tables.count(reason), 1, "{host}");
    }
}

#[test]
fn root_no_ready_backend_is_refused_at_once() {
    let reject = Kind::new(TCP).flags;
    check_without("refuse", reject, "!ECONNREFUSED", Reason::ConnectRefused);
}

#[test]
fn root_no_ready_backend_is_denied_when_configured_to_drop() {
    check_without("deny", 0, "!EPERM", Reason::ConnectDenied);
}

#[test]
fn root_affinity_keeps_a_client_with_one_backend() {
    for service in [V4, V6] {
        let (mut stage, _) = stage_with("affine", service, Kind::affine(TCP));
        let host = at(service).ip();
        let script = format!("result = len({{greet(dial('{host}', 80)) for _ in range(30)}})");
        assert_eq!(stage.client.run(&script), "1", "{host}");
        let mut other = stage.another();
        let both = format!("result = greet(dial('{host}', 80))");
        assert_eq!(other.run(&both), stage.client.run(&both), "one namespace");
    }
}

#[test]
fn root_affinity_ends_when_the_backend_is_gone() {
    let (mut stage, service) = stage_with("affgone", V4, Kind::affine(TCP));
    let ask = "result = greet(dial('10.96.0.10', 80))";
    let first = stage.client.run(ask);
    let index = first.trim_matches('"')[1..].parse::<usize>().expect("b<n>");
    let gone = service.backends[index].1;
    stage.tables.keep(&service, |place| place != gone);
    let second = stage.client.run(ask);
    assert_ne!(first, second);
    assert_eq!(stage.client.run(ask), second);
}

#[test]
fn root_a_removed_backend_gets_no_new_connection() {
    let (mut stage, service) = stage_with("removed", V4, Kind::new(TCP));
    let kept = service.backends[1].1;
    stage.tables.keep(&service, |place| place == kept);
    let seen = stage
        .client
        .run("result = sorted({greet(dial('10.96.0.10', 80)) for _ in range(50)})");
    assert_eq!(seen, r#"["b1"]"#);
}

#[test]
fn root_an_established_connection_outlives_its_backends_removal() {
    let (mut stage, service) = stage_with("outlive", V4, Kind::new(TCP));
    stage.client.run("s = dial('10.96.0.10', 80)\ngreet(s)");
    stage.tables.keep(&service, |_| false);
    let seen = stage
        .client
        .run("result = [ask(s, 'hello')[0], s.getpeername()]");
    assert_eq!(seen, r#"["hello", ["10.96.0.10", 80]]"#);
}

#[test]
fn root_a_service_with_routes_is_left_to_the_workers() {
    let kind = Kind {
        flags: SERVICE_L7,
        ..Kind::new(TCP)
    };
    let (mut stage, _) = stage_with("routes", V4, kind);
    // Nobody routes the service's address here.
    let seen = stage.client.run("dial('10.96.0.10', 80)");
    assert_eq!(seen, "!ENETUNREACH");
    assert_eq!(stage.tables.count(Reason::ConnectDirect), 1);
    assert_eq!(stage.tables.count(Reason::ConnectService), 0);
}

/// `connect` while the daemon is silent.
fn check_silent(label: &str, fail_mode: u32, expected: &str, reason: Reason) {
    let kind = Kind {
        fail_mode,
        ..Kind::new(TCP)
    };
    let (mut stage, _) = stage_with(label, V4, kind);
    let mut config = stage.tables.maps.config().expect("config");
    // The latest beat is longer ago than this.
    config.heartbeat_timeout = u32::MAX;
    stage.tables.maps.set_config(&config).expect("config");
    let script = "s = socket.socket()\ns.settimeout(0.3)\ns.connect(('10.96.0.10', 80))\nresult = greet(s)[0]";
    assert_eq!(stage.client.run(script), expected);
    assert_eq!(stage.tables.count(reason), 1);
}

#[test]
fn root_a_silent_daemon_with_fail_mode_closed_refuses() {
    check_silent(
        "closed",
        FAIL_CLOSED,
        "!ECONNREFUSED",
        Reason::ConnectFailClosed,
    );
}

#[test]
fn root_a_silent_daemon_with_fail_mode_open_leaves_it_to_the_stack() {
    // Nobody routes the service's address here.
    check_silent("open", FAIL_OPEN, "!ENETUNREACH", Reason::ConnectFailOpen);
}

#[test]
fn root_a_silent_daemon_with_fail_mode_last_changes_nothing() {
    check_silent("last", 0, "\"b\"", Reason::ConnectService);
}

#[test]
fn root_a_node_port_answers_on_every_loopback_address() {
    let mut stage = Stage::new("nodeport");
    set_host_addresses(&stage);
    for host in ["10.1.0.1:30080", "[fd01::1]:30080"] {
        let at = at(host);
        stage
            .tables
            .service(at, Kind::node_port(TCP), &backends(at.ip()));
    }
    for host in [
        "10.1.0.1",
        "127.0.0.1",
        "127.5.5.5",
        "fd01::1",
        "::1",
        "0.0.0.0",
    ] {
        let script =
            format!("s = dial('{host}', 30080)\nresult = [greet(s)[0], s.getpeername()[0]]");
        assert_eq!(stage.client.run(&script), format!(r#"["b", "{host}"]"#));
    }
}

/// As the daemon does it from the host's interfaces.
pub fn set_host_addresses(stage: &Stage) {
    let mut config = stage.tables.maps.config().expect("config");
    config.host_addr4 = crate::tables::words("10.1.0.1".parse().expect("an address"));
    config.host_addr6 = crate::tables::words("fd01::1".parse().expect("an address"));
    stage.tables.maps.set_config(&config).expect("config");
}

#[test]
fn root_loopback_in_another_namespace_has_no_node_ports() {
    let mut stage = Stage::bare("otherns");
    stage.attach(|options| options.host_netns = 1);
    set_host_addresses(&stage);
    let node = at("10.1.0.1:30080");
    stage
        .tables
        .service(node, Kind::node_port(TCP), &backends(node.ip()));
    assert_eq!(
        stage.client.run("dial('127.0.0.1', 30080)"),
        "!ECONNREFUSED"
    );
    assert_eq!(
        stage
            .client
            .run("result = greet(dial('10.1.0.1', 30080))[0]"),
        "\"b\""
    );
}

#[test]
fn root_another_service_of_the_hosts_address_is_not_on_its_loopback() {
    let mut stage = Stage::new("external");
    set_host_addresses(&stage);
    let external = at("10.1.0.1:8080");
    stage
        .tables
        .service(external, Kind::new(TCP), &backends(external.ip()));
    assert_eq!(stage.client.run("dial('127.0.0.1', 8080)"), "!ECONNREFUSED");
}

#[test]
fn root_a_service_may_have_a_loopback_address() {
    let script = "s = dial('127.0.0.53', 53)\nresult = [greet(s)[0], s.getpeername()]";
    check(
        "loop",
        "127.0.0.53:53",
        script,
        r#"["b", ["127.0.0.53", 53]]"#,
    );
}

#[test]
fn root_nobody_may_bind_a_node_port() {
    let mut stage = Stage::new("bind");
    set_host_addresses(&stage);
    for host in ["10.1.0.1:30080", "[fd01::1]:30080"] {
        let at = at(host);
        stage
            .tables
            .service(at, Kind::node_port(TCP), &backends(at.ip()));
    }
    let rows = [
        ("0.0.0.0", 30080, "!EADDRINUSE"),
        ("10.1.0.1", 30080, "!EADDRINUSE"),
        ("127.0.0.1", 30080, "!EADDRINUSE"),
        ("::", 30080, "!EADDRINUSE"),
        ("fd01::1", 30080, "!EADDRINUSE"),
        ("0.0.0.0", 30081, "null"),
        ("::1", 30081, "null"),
    ];
    for (host, port, expected) in rows {
        let script = format!(
            "s = socket.socket(socket.AF_INET6 if ':' in '{host}' else socket.AF_INET)
s.bind(('{host}', {port}))\ns.close()"
        );
        assert_eq!(stage.client.run(&script), expected, "{host} {port}");
    }
    assert!(stage.tables.count(Reason::BindNodePort) >= 5);
}

#[test]
fn root_the_ipv6_wildcard_may_not_take_a_node_port_of_ipv4_alone() {
    let mut stage = Stage::new("bind4");
    set_host_addresses(&stage);
    let node = at("10.1.0.1:30080");
    let kind = Kind::node_port(TCP);
    stage.tables.service(node, kind, &backends(node.ip()));
    for (host, expected) in [("::", "!EADDRINUSE"), ("fd01::1", "null")] {
        let script = format!("s = socket.socket(socket.AF_INET6)\ns.bind(('{host}', 30080))");
        assert_eq!(stage.client.run(&script), expected, "{host}");
    }
}

#[test]
fn root_a_draining_backend_keeps_nothing_new() {
    let (mut stage, service) = stage_with("drain", V4, Kind::new(TCP));
    let (index, place) = service.backends[0];
    stage.tables.keep(&service, |kept| kept != place);
    let draining = terrace_abi::consts::BACKEND_DRAINING;
    stage
        .tables
        .set_backend(index, place, service.kind, draining);
    let ask = "result = sorted({greet(dial('10.96.0.10', 80)) for _ in range(50)})";
    assert_eq!(stage.client.run(ask), r#"["b1", "b2"]"#);
    stage
        .tables
        .set_backend(index, place, service.kind, BACKEND_READY);
}

#[test]
fn root_two_services_may_have_the_same_backends() {
    let (mut stage, service) = stage_with("alike", V4, Kind::new(TCP));
    stage.tables.alike(at("10.96.0.11:8080"), &service);
    let seen = stage.client.run(
        "s = dial('10.96.0.11', 8080)\nresult = [greet(s)[0], s.getpeername(), greet(dial('10.96.0.10', 80))[0]]",
    );
    assert_eq!(seen, r#"["b", ["10.96.0.11", 8080], "b"]"#);
}
