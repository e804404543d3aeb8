//! The table of connected sockets: who is in it, until when, and what becomes
//! of those that find no room.

use std::net::SocketAddr;

use terrace_abi::consts::{SERVICE_REJECT, SERVICE_TERMINATE, SOCKET_WAYS};
use terrace_abi::{Plain as _, Reason, types};
use terrace_sock::links;
use terrace_sock::records::Records;
use terrace_sock::sockets::Sockets;
use terrace_testkit::scripts::{AS_PROXY, DIAL};
use terrace_testkit::{Netns, need, wait};

use crate::proxied::Proxied;
use crate::services::{V4, V6, at, stage_with};
use crate::stage::{Stage, namespaces};
use crate::tables::{Kind, TCP, UDP};

const ENTRIES: u32 = 65_536;

fn records(stage: &Stage) -> Records {
    Records::load(&stage.tables.maps, ENTRIES).expect("load")
}

/// Records in use, whether or not their sockets live.
fn in_use(stage: &Stage) -> usize {
    let own = stage.programs.as_ref().expect("programs").own();
    let buckets = own.values("socket_records").expect("read the table");
    let buckets = buckets
        .iter()
        .map(|bytes| types::socket_bucket::from_bytes(bytes));
    let cookies = buckets.flat_map(|bucket| bucket.expect("a bucket").cookies);
    cookies.filter(|cookie| *cookie != 0).count()
}

/// Writes every bucket: a full table, or an empty one.
fn fill(stage: &Stage, cookie: u64) {
    let own = stage.programs.as_ref().expect("programs").own();
    let bucket = types::socket_bucket {
        cookies: [cookie; SOCKET_WAYS as usize],
        ..Default::default()
    };
    for index in 0..ENTRIES / SOCKET_WAYS {
        own.put("socket_records", &index.to_ne_bytes(), bucket.as_bytes())
            .expect("write a bucket");
    }
}

/// Whoever this is, it is none of the sockets here.
const STRANGER: u64 = u64::MAX - 1;

#[test]
fn root_a_closed_socket_leaves_no_record() {
    let rows = [
        ("open", "s = dial('HOST', 80)\ngreet(s)", 1),
        ("closed", "s.close()", 0),
        (
            "shut down first",
            "s = dial('HOST', 80)\ngreet(s)\ns.shutdown(socket.SHUT_RDWR)\ns.close()",
            0,
        ),
        (
            "a second name",
            "s = dial('HOST', 80)\nt = s.dup()\ns.close()",
            1,
        ),
        ("the second name too", "t.close()", 0),
        (
            "refused",
            "s = socket.socket(FAMILY)\ns.connect_ex(('HOST', 81))\ns.connect_ex(('HOST', 82))",
            1,
        ),
        ("refused and closed", "s.close()", 0),
        (
            "another destination",
            "s = socket.socket(FAMILY)\ns.connect_ex(('HOST', 82))\ns.connect(('::1' if FAMILY == socket.AF_INET6 else '127.0.0.1', 1))",
            0,
        ),
        (
            "in the middle",
            "s = socket.socket(FAMILY)\ns.setblocking(False)\ns.connect_ex(('HOST', 80))\ns.close()",
            0,
        ),
        (
            "a datagram socket",
            "s = dial('HOST', 53, socket.SOCK_DGRAM)\nask(s, 'x')",
            1,
        ),
        ("connected again", "s.connect(('HOST', 53))\nask(s, 'x')", 1),
        ("a closed one", "s.close()", 0),
    ];
    for (host, family, service) in [
        ("10.96.0.10", "socket.AF_INET", V4),
        ("fd00:96::10", "socket.AF_INET6", V6),
    ] {
        let (mut stage, service) = stage_with("recs", service, Kind::new(TCP));
        let place = |port| SocketAddr::new(host.parse().expect("an address"), port);
        let backend = service.backends[0].1;
        stage.tables.service(place(53), Kind::new(UDP), &[backend]);
        // Nobody listens there.
        let nobody = SocketAddr::new(backend.ip(), 1);
        stage.tables.service(place(82), Kind::new(TCP), &[nobody]);
        for (name, script, expected) in rows {
            let script = script.replace("HOST", host).replace("FAMILY", family);
            stage.client.run(&script);
            assert_eq!(in_use(&stage), expected, "{name}, {host}");
        }
    }
}

#[test]
fn root_a_killed_process_leaves_no_record() {
    let (mut stage, _) = stage_with("reckill", V4, Kind::new(TCP));
    let mut other = stage.another();
    other.run("all = [dial('10.96.0.10', 80) for _ in range(200)]");
    assert_eq!(in_use(&stage), 200);
    stage.client.run("s = dial('10.96.0.10', 80)");
    drop(other);
    let own = || (in_use(&stage) == 1).then_some(());
    wait::until("the end of its sockets", wait::PATIENCE, own).expect("no leak");
}

#[test]
fn root_a_full_table_costs_time_only_and_is_counted() {
    let kind = Kind {
        flags: SERVICE_REJECT | SERVICE_TERMINATE,
        ..Kind::new(TCP)
    };
    let (mut stage, service) = stage_with("recfull", V4, kind);
    let sockets = Sockets::load(&stage.tables.maps, ENTRIES).expect("load");
    fill(&stage, STRANGER);
    let shown = r#"["b", ["10.96.0.10", 80]]"#;
    let dial = "s = dial('10.96.0.10', 80)\nresult = [greet(s)[0], s.getpeername()]";
    assert_eq!(stage.client.run(dial), shown);
    assert_eq!(stage.tables.count(Reason::SocketsFull), 1);
    assert_eq!(stage.tables.count(Reason::ConnectService), 1);
    assert_eq!(sockets.list().expect("list").len(), 1);
    stage.client.run("t = s");
    fill(&stage, 0);
    // As a socket of an earlier version, which knew no table, has it.
    assert_eq!(
        stage.client.run("result = t.getpeername()"),
        r#"["10.96.0.10", 80]"#
    );
    assert_eq!(stage.client.run(dial), shown);
    assert_eq!(stage.tables.count(Reason::SocketsFull), 1);
    assert_eq!(sockets.list().expect("list").len(), 2);
    need!("bpf_sock_destroy", sockets.can_end());
    stage.tables.keep(&service, |_| false);
    assert_eq!(sockets.close_stale(|_| false).expect("close").stale, 2);
    assert_eq!(stage.client.run("s.recv(1)"), "!ECONNABORTED");
    assert_eq!(stage.client.run("t.recv(1)"), "!ECONNABORTED");
    stage.client.run("s.close()\nt.close()");
    let gone = || sockets.list().expect("list").is_empty().then_some(());
    wait::until("the end of what the sockets had", wait::PATIENCE, gone).expect("no leak");
}

#[test]
fn root_pins_of_the_version_without_the_table_are_taken_over() {
    let (mut stage, _) = stage_with("recold", V4, Kind::new(TCP));
    fill(&stage, STRANGER);
    stage.client.run("s = dial('10.96.0.10', 80)\ngreet(s)");
    // What that version had pinned: all but the table and its hook.
    let root = stage.tables.maps.root().to_owned();
    stage.programs = None;
    links::detach(&root, "sock_release").expect("detach");
    std::fs::remove_file(root.join("maps/socket_records")).expect("remove the pin");
    stage.attach(|_| {});
    let old = links::list(&root).expect("links");
    assert_eq!(old.len(), 13, "{old:?}");
    let script =
        "t = dial('10.96.0.10', 80)\nresult = [greet(t)[0], t.getpeername(), s.getpeername()]";
    let shown = r#"["b", ["10.96.0.10", 80], ["10.96.0.10", 80]]"#;
    assert_eq!(stage.client.run(script), shown);
    assert_eq!(in_use(&stage), 1);
    let sockets = Sockets::load(&stage.tables.maps, ENTRIES).expect("load");
    assert_eq!(sockets.list().expect("list").len(), 2);
    stage.client.run("s.close()\nt.close()");
    assert_eq!(in_use(&stage), 0);
}

#[test]
fn root_a_socket_that_finds_room_again_is_listed_once() {
    let (mut stage, _) = stage_with("recagain", V4, Kind::new(UDP));
    let sockets = Sockets::load(&stage.tables.maps, ENTRIES).expect("load");
    fill(&stage, STRANGER);
    stage
        .client
        .run("s = dial('10.96.0.10', 80, socket.SOCK_DGRAM)\nask(s, 'x')");
    assert_eq!(sockets.list().expect("list").len(), 1);
    fill(&stage, 0);
    stage
        .client
        .run("s.connect(('10.96.0.10', 80))\nask(s, 'x')");
    assert_eq!(
        (in_use(&stage), sockets.list().expect("list").len()),
        (1, 1)
    );
    fill(&stage, STRANGER);
    stage.client.run("s.connect(('10.1.0.2', 9000))");
    assert_eq!(sockets.list().expect("list").len(), 0);
}

#[test]
fn root_records_of_sockets_closed_while_nothing_was_attached_are_swept() {
    let (mut stage, _) = stage_with("recsweep", V4, Kind::new(TCP));
    stage
        .client
        .run("all = [dial('10.96.0.10', 80) for _ in range(20)]");
    links::detach_all(stage.tables.maps.root()).expect("detach");
    stage.client.run("for s in all[5:]: s.close()");
    let records = records(&stage);
    assert_eq!(in_use(&stage), 20);
    assert_eq!(records.list().expect("list").len(), 5);
    for swept in [15, 0] {
        let found = records.sweep().expect("sweep");
        assert_eq!((found.used, found.swept), (5, swept));
        assert_eq!(in_use(&stage), 5);
    }
    stage.attach(|_| {});
    let seen = stage
        .client
        .run("result = {s.getpeername()[0] for s in all[:5]} == {'10.96.0.10'}");
    assert_eq!(seen, "true", "those that live keep what they asked for");
    stage.client.run("for s in all: s.close()");
    assert_eq!(in_use(&stage), 0);
}

/// The kernel's own sockets are closed without a hook.
#[test]
fn root_records_of_the_kernels_own_sockets_are_swept() {
    let (mut stage, _) = stage_with("recmptcp", V4, Kind::new(TCP));
    let opened = stage.client.run(
        "try:\n    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)\nexcept OSError:\n    s = None
result = s is not None",
    );
    if opened != "true" {
        eprintln!("this kernel has no MPTCP, whose subflows are sockets of the kernel");
        return;
    }
    let answer = stage
        .client
        .run("s.settimeout(10)\ns.connect(('10.96.0.10', 80))\nresult = greet(s)[0]");
    assert_eq!(answer, r#""b""#);
    assert_eq!(in_use(&stage), 1);
    stage.client.run("s.close()");
    let records = records(&stage);
    let swept = || (records.sweep().expect("sweep").used == 0).then_some(());
    wait::until("the end of the kernel's socket", wait::PATIENCE, swept).expect("no leak");
}

#[test]
fn root_a_socket_closed_in_the_middle_leaves_no_handshake() {
    let mut p = Proxied::without_proxy("recmid", |_| {});
    // A proxy whose queue is full answers no SYN.
    let mut proxy = p.stage.agent(&p.stage.near, &AS_PROXY);
    proxy.run("l = socket.socket()\nl.bind(('127.0.0.1', 15001))\nl.listen(0)");
    p.proxy = Some(proxy);
    p.stage.client.run(&format!(
        "{DIAL}\nall = [socket.socket() for _ in range(8)]\nfor s in all:\n    s.setblocking(False)\n    s.connect_ex(('10.1.0.2', 9000))"
    ));
    assert!(p.entries("handshakes") > 0, "some SYNs wait");
    p.stage.client.run("for s in all: s.close()");
    let gone = || (p.entries("handshakes") == 0).then_some(());
    wait::until("the end of every handshake", wait::PATIENCE, gone).expect("no leak");
    assert_eq!(in_use(&p.stage), 0);
}

/// In each a connection that is refused, one without a way, and connected
/// datagram sockets.
const OPEN: &str = r#"
for host in 10.96.0.1 10.96.0.2; do
    exec 3<>"/dev/tcp/$host/80"
    exec 4<>"/dev/udp/$host/53"
done 2>/dev/null
"#;

#[test]
fn root_a_thousand_namespaces_and_cgroups_leave_no_record() {
    let mut stage = Stage::new("rec1000");
    let rows = [
        ("10.96.0.1:80", TCP, "127.0.0.1:1"),
        ("10.96.0.1:53", UDP, "127.0.0.1:53"),
        ("10.96.0.2:80", TCP, "192.0.2.1:80"),
        ("10.96.0.2:53", UDP, "192.0.2.1:53"),
    ];
    for (service, proto, backend) in rows {
        stage
            .tables
            .service(at(service), Kind::new(proto), &[at(backend)]);
    }
    let rounds = namespaces();
    for round in 0..rounds {
        let ns = Netns::new("many").expect("namespace");
        let cgroup = stage.cgroup.child(&format!("r{round}")).expect("cgroup");
        ns.output(cgroup.command("bash").args(["-c", OPEN]))
            .expect("a shell");
        drop((cgroup, ns));
    }
    let count = stage.tables.count(Reason::ConnectService);
    assert_eq!(count, 4 * u64::from(rounds));
    assert_eq!(in_use(&stage), 0);
}
