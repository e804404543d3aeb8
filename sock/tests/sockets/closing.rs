//! Sockets whose backend is gone: each row is a test of its own.

use terrace_abi::Reason;
use terrace_abi::consts::{SERVICE_REJECT, SERVICE_TERMINATE};
use terrace_sock::sockets::Sockets;
use terrace_testkit::{kernel, need, wait};

use crate::services::{V4, V6, stage_with};
use crate::stage::Stage;
use crate::tables::{Kind, TCP, UDP};

fn sockets(stage: &Stage) -> Sockets {
    Sockets::load(&stage.tables.maps, 65_536).expect("load")
}

fn terminating() -> Kind {
    Kind {
        flags: SERVICE_REJECT | SERVICE_TERMINATE,
        ..Kind::new(TCP)
    }
}

#[test]
fn root_a_connected_datagram_socket_ends_with_its_backend() {
    need!("bpf_sock_destroy", kernel::has_function("bpf_sock_destroy"));
    for (host, service) in [("10.96.0.10", V4), ("fd00:96::10", V6)] {
        let (mut stage, service) = stage_with("cudp", service, Kind::new(UDP));
        let sockets = sockets(&stage);
        stage.client.run(&format!(
            "s = dial('{host}', 80, socket.SOCK_DGRAM)\nfirst = ask(s, 'x')[0]"
        ));
        let kept = stage.client.run("result = first[:2]");
        stage.tables.keep(&service, |_| true);
        assert_eq!(sockets.close_stale(|_| false).expect("close").stale, 1);
        assert_eq!(stage.client.run("result = ask(s, 'y')[0][:2]"), kept);
        let index: usize = kept[2..3].parse().expect("b<n>");
        let gone = service.backends[index].1;
        stage.tables.keep(&service, |place| place != gone);
        sockets.close_stale(|_| false).expect("close");
        assert_eq!(stage.client.run("s.recv(9)"), "!ECONNABORTED");
        assert_eq!(stage.tables.count(Reason::SocketClosed), 1);
        let again = stage.client.run(&format!(
            "s = dial('{host}', 80, socket.SOCK_DGRAM)\nresult = ask(s, 'x')[0][:2]"
        ));
        assert_ne!(again, kept);
    }
}

#[test]
fn root_a_tcp_socket_ends_with_its_backend_if_its_service_says_so() {
    need!("bpf_sock_destroy", kernel::has_function("bpf_sock_destroy"));
    for (host, service) in [("10.96.0.10", V4), ("fd00:96::10", V6)] {
        let (mut stage, service) = stage_with("ctcp", service, terminating());
        let sockets = sockets(&stage);
        stage
            .client
            .run(&format!("s = dial('{host}', 80)\ngreet(s)"));
        stage.tables.keep(&service, |_| false);
        sockets.close_stale(|_| false).expect("close");
        assert_eq!(stage.client.run("s.recv(1)"), "!ECONNABORTED", "{host}");
        assert_eq!(stage.tables.count(Reason::SocketClosed), 1);
    }
}

#[test]
fn root_a_tcp_socket_of_another_service_does_not_end() {
    let (mut stage, service) = stage_with("ctcpno", V4, Kind::new(TCP));
    let sockets = sockets(&stage);
    stage.client.run("s = dial('10.96.0.10', 80)\ngreet(s)");
    stage.tables.keep(&service, |_| false);
    assert_eq!(sockets.close_stale(|_| false).expect("close").stale, 0);
    assert_eq!(stage.client.run("result = ask(s, 'x')[0]"), r#""x""#);
}

#[test]
fn root_every_socket_is_listed_with_what_it_asked_for() {
    let (mut stage, service) = stage_with("list", V4, Kind::new(TCP));
    stage.tables.service(
        crate::services::at("10.96.0.11:53"),
        Kind::new(UDP),
        &[service.backends[1].1],
    );
    let sockets = sockets(&stage);
    stage.client.run(
        "s = dial('10.96.0.10', 80)\ngreet(s)\nask(s, 'hello')\nu = datagram()\nask(u, 'x', ('10.96.0.11', 53))",
    );
    let rows = sockets.list().expect("list");
    assert_eq!(rows.len(), 2, "{rows:?}");
    let tcp = rows
        .iter()
        .find(|row| row.peer.proto == TCP)
        .expect("a TCP socket");
    assert_eq!(
        (tcp.peer.asked_port.to_be(), tcp.peer.got_port.to_be()),
        (80, 9000)
    );
    assert_eq!((tcp.sent, tcp.received), (5, 8));
    let udp = rows
        .iter()
        .find(|row| row.peer.proto == UDP)
        .expect("a UDP socket");
    assert_eq!(
        udp.peer.asked,
        crate::tables::words("10.96.0.11".parse().expect("an address"))
    );
    stage.client.run("s.close()\nu.close()");
    let gone = || sockets.list().expect("list").is_empty().then_some(());
    wait::until("the end of what the sockets had", wait::PATIENCE, gone).expect("no leak");
}
