//! Service translation of datagrams: each row is a test of its own.

use terrace_abi::Reason;

use crate::services::{V4, V6, at, set_host_addresses, stage_with};
use crate::stage::{Stage, backends};
use crate::tables::{Kind, UDP};

#[test]
fn root_an_answer_comes_from_the_service_v4() {
    let (mut stage, _) = stage_with("u4", V4, Kind::new(UDP));
    let seen = stage.client.run(
        "s = datagram()\na = ask(s, 'hi', ('10.96.0.10', 80))\nresult = [a[0][0], a[0][2:], a[1:]]",
    );
    assert_eq!(seen, r#"["b", ":hi", ["10.96.0.10", 80]]"#);
    assert_eq!(stage.tables.count(Reason::SendService), 1);
}

#[test]
fn root_an_answer_comes_from_the_service_v6() {
    let (mut stage, _) = stage_with("u6", V6, Kind::new(UDP));
    let seen = stage.client.run(
        "s = datagram(socket.AF_INET6)\na = ask(s, 'hi', ('fd00:96::10', 80))\nresult = [a[0][0], a[1:]]",
    );
    assert_eq!(seen, r#"["b", ["fd00:96::10", 80]]"#);
}

#[test]
fn root_an_answer_comes_from_the_service_v4_mapped() {
    let (mut stage, _) = stage_with("umap", V4, Kind::new(UDP));
    let seen = stage.client.run(
        "s = datagram(socket.AF_INET6)\na = ask(s, 'hi', ('::ffff:10.96.0.10', 80))\nresult = [a[0][0], a[1:]]",
    );
    assert_eq!(seen, r#"["b", ["::ffff:10.96.0.10", 80]]"#);
}

#[test]
fn root_a_connected_datagram_socket_sees_the_service() {
    for (host, service) in [("10.96.0.10", V4), ("fd00:96::10", V6)] {
        let (mut stage, _) = stage_with("uconn", service, Kind::new(UDP));
        let seen = stage.client.run(&format!(
            "s = dial('{host}', 80, socket.SOCK_DGRAM)\na = ask(s, 'hi')\nresult = [a[0][0], a[1:], s.getpeername()[:2]]"
        ));
        let expected = format!(r#"["b", ["{host}", 80], ["{host}", 80]]"#);
        assert_eq!(seen, expected);
    }
}

#[test]
fn root_a_socket_keeps_its_backend_from_datagram_to_datagram() {
    let (mut stage, _) = stage_with("ukeep", V4, Kind::new(UDP));
    let seen = stage.client.run(
        "s = datagram()\nresult = len({ask(s, 'hi', ('10.96.0.10', 80))[0] for _ in range(50)})",
    );
    assert_eq!(seen, "1");
}

#[test]
fn root_sockets_spread_over_the_backends() {
    let (mut stage, _) = stage_with("uspread", V4, Kind::new(UDP));
    let seen = stage
        .client
        .run("result = sorted({ask(datagram(), 'x', ('10.96.0.10', 80))[0] for _ in range(60)})");
    assert_eq!(seen, r#"["b0:x", "b1:x", "b2:x"]"#);
}

#[test]
fn root_a_socket_moves_when_its_backend_is_gone() {
    let (mut stage, service) = stage_with("umove", V4, Kind::new(UDP));
    let ask = "a = ask(s, 'x', ('10.96.0.10', 80))\nresult = [a[0][:2], a[1:]]";
    let first = stage.client.run(&format!("s = datagram()\n{ask}"));
    let index: usize = first[3..4].parse().expect("b<n>");
    let gone = service.backends[index].1;
    stage.tables.keep(&service, |place| place != gone);
    let second = stage.client.run(ask);
    assert_ne!(first, second);
    assert!(second.ends_with(r#"["10.96.0.10", 80]]"#), "{second}");
    assert_eq!(stage.tables.count(Reason::SendMoved), 1);
}

#[test]
fn root_without_backends_sending_is_refused() {
    for (host, service) in [("10.96.0.10", V4), ("fd00:96::10", V6)] {
        let (mut stage, service) = stage_with("unone", service, Kind::new(UDP));
        stage.tables.keep(&service, |_| false);
        let family = if host.contains(':') {
            "socket.AF_INET6"
        } else {
            "socket.AF_INET"
        };
        let script = format!("datagram({family}).sendto(b'x', ('{host}', 80))");
        assert_eq!(stage.client.run(&script), "!ECONNREFUSED", "{host}");
        assert_eq!(stage.tables.count(Reason::ConnectRefused), 1);
    }
}

#[test]
fn root_one_socket_talks_to_several_services() {
    let mut stage = Stage::new("useveral");
    for i in 0..6 {
        let place = backends("10.1.0.2".parse().expect("an address"))[i % 3];
        let service = at(&format!("10.96.0.{}:53", i + 1));
        stage.tables.service(service, Kind::new(UDP), &[place]);
    }
    // Services with one backend can't be told apart by their answers, so each
    // is asked and answered in turn, the last one first.
    let seen = stage.client.run(
        "s = datagram()
for i in range(6):
    s.sendto(b'x', ('10.96.0.%d' % (i % 3 + 1), 53))
    result = (result or []) + [s.recvfrom(100)[1][0]]",
    );
    assert_eq!(
        seen,
        r#"["10.96.0.1", "10.96.0.2", "10.96.0.3", "10.96.0.1", "10.96.0.2", "10.96.0.3"]"#
    );
}

#[test]
fn root_affinity_holds_for_datagrams() {
    let (mut stage, _) = stage_with("uaff", V4, Kind::affine(UDP));
    let seen = stage
        .client
        .run("result = len({ask(datagram(), 'x', ('10.96.0.10', 80))[0] for _ in range(30)})");
    assert_eq!(seen, "1");
}

#[test]
fn root_a_datagram_to_somewhere_else_is_left_alone() {
    let (mut stage, _) = stage_with("udirect", V4, Kind::new(UDP));
    let seen = stage
        .client
        .run("result = ask(datagram(), 'x', ('10.1.0.2', 9000))");
    assert_eq!(seen, r#"["b0:x", "10.1.0.2", 9000]"#);
}

#[test]
fn root_a_node_port_takes_datagrams_on_loopback() {
    let mut stage = Stage::new("unode");
    set_host_addresses(&stage);
    for host in ["10.1.0.1:30053", "[fd01::1]:30053"] {
        let at = at(host);
        stage
            .tables
            .service(at, Kind::node_port(UDP), &backends(at.ip()));
    }
    for host in ["127.0.0.1", "::1", "10.1.0.1"] {
        let family = if host.contains(':') {
            "socket.AF_INET6"
        } else {
            "socket.AF_INET"
        };
        let script = format!(
            "a = ask(datagram({family}), 'x', ('{host}', 30053))\nresult = [a[0][0], a[1]]"
        );
        let expected = format!(r#"["b", "{host}"]"#);
        assert_eq!(stage.client.run(&script), expected, "{host}");
    }
}

#[test]
fn root_a_connected_socket_may_go_elsewhere() {
    let (mut stage, _) = stage_with("ureconn", V4, Kind::new(UDP));
    let seen = stage.client.run(
        "s = dial('10.96.0.10', 80, socket.SOCK_DGRAM)\nask(s, 'x')\ns.connect(('10.1.0.4', 9000))
result = [ask(s, 'y'), s.getpeername()]",
    );
    assert_eq!(seen, r#"[["b2:y", "10.1.0.4", 9000], ["10.1.0.4", 9000]]"#);
}

#[test]
fn root_large_datagrams_pass_whole() {
    let (mut stage, _) = stage_with("ularge", V4, Kind::new(UDP));
    let seen = stage.client.run(
        "s = datagram()\nresult = [len(ask(s, 'x' * n, ('10.96.0.10', 80))[0]) - 3 for n in (1, 1400, 9000, 60000)]",
    );
    assert_eq!(seen, "[1, 1400, 9000, 60000]");
}
