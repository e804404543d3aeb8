//! Where things run out or are not there, and a proxy of somebody else.

use terrace_abi::consts::{FAIL_CLOSED, FAIL_OPEN};
use terrace_abi::sys::SocketHook;
use terrace_abi::{Plain as _, Reason, types};
use terrace_sock::connect::ConnectPrograms;
use terrace_sock::{Error, links};

use terrace_testkit::scripts::AS_PROXY;

use crate::proxied::Proxied;
use crate::services::{V4, stage_with};
use crate::stage::{Stage, backends};
use crate::tables::{Kind, UDP};

/// Entries of the table of handshakes.
const HANDSHAKES: u32 = 65_536;

#[test]
fn root_a_full_table_of_handshakes_costs_the_destination_and_is_counted() {
    let mut p = Proxied::new("hsfull");
    let own = p.stage.programs.as_ref().expect("programs").own();
    let peer = types::peer::default();
    let key = |number: u32| types::handshake_key {
        netns: u64::from(number),
        ..Default::default()
    };
    for number in 0..HANDSHAKES {
        own.put("handshakes", key(number).as_bytes(), peer.as_bytes())
            .expect("room for one more");
    }
    let full = own.put("handshakes", key(HANDSHAKES).as_bytes(), peer.as_bytes());
    assert!(full.is_err(), "the table has room for {HANDSHAKES}");
    let dial = |p: &mut Proxied| {
        let script = "s = dial('10.1.0.2', 9000)\nresult = s.recv(1)";
        p.stage.client.run(script)
    };
    dial(&mut p);
    let proxy = p.proxy.as_mut().expect("a proxy");
    let told = proxy.run("result = [len(seen), all(isinstance(s, str) for s in seen)]");
    assert_eq!(told, "[1, true]", "an error, never the proxy's own address");
    assert_eq!(p.stage.tables.count(Reason::HandshakesFull), 1);
    let own = p.stage.programs.as_ref().expect("programs").own();
    own.remove("handshakes", key(0).as_bytes()).expect("room");
    assert_eq!(dial(&mut p), r#""b""#);
    assert_eq!(p.stage.tables.count(Reason::HandshakesFull), 1);
}

/// The kernel's real refusal of a hook: a program of one on another.
#[test]
fn root_a_hook_that_the_kernel_refuses_is_named_and_nothing_stays() {
    let stage = Stage::bare("nohook");
    let root = stage.tables.maps.root();
    let programs = ConnectPrograms::load(&stage.tables.maps, &stage.options()).expect("load");
    let other = programs.programs().iter();
    let other = other.clone().find(|p| p.name() == "terrace_connect4");
    let hook = SocketHook::SendMsg6;
    let error = links::attach(
        root,
        &stage.target(),
        hook,
        hook.name(),
        other.expect("a program"),
    )
    .expect_err("a program of another hook");
    let text = error.to_string();
    assert!(matches!(error, Error::Attach { .. }), "{text}");
    assert!(
        text.contains("sendmsg6") && text.contains("no such hook"),
        "{text}"
    );
    assert_eq!(links::list(root).expect("links"), []);
}

#[test]
fn root_a_silent_daemon_decides_for_connected_datagram_sockets_too() {
    let rows = [
        (FAIL_CLOSED, "!ECONNREFUSED", Reason::ConnectFailClosed),
        (FAIL_OPEN, "!ENETUNREACH", Reason::ConnectFailOpen),
        (0, r#"["b0:x", "10.96.0.10", 80]"#, Reason::ConnectService),
    ];
    for (fail_mode, expected, reason) in rows {
        let kind = Kind {
            fail_mode,
            ..Kind::new(UDP)
        };
        let (mut stage, service) = stage_with("udpsilent", V4, kind);
        stage
            .tables
            .keep(&service, |place| place == backends(place.ip())[0]);
        let dial = "dial('10.96.0.10', 80, socket.SOCK_DGRAM)";
        let answer = r#"["b0:x", "10.96.0.10", 80]"#;
        let before = stage
            .client
            .run(&format!("old = {dial}\nresult = ask(old, 'x')"));
        assert_eq!(before, answer);
        let mut config = stage.tables.maps.config().expect("config");
        // The latest beat is longer ago than this.
        config.heartbeat_timeout = u32::MAX;
        stage.tables.maps.set_config(&config).expect("config");
        let counted = stage.tables.count(reason);
        let seen = stage.client.run(&format!("result = ask({dial}, 'x')"));
        assert_eq!(seen, expected, "fail mode {fail_mode}");
        assert_eq!(stage.tables.count(reason), counted + 1);
        assert_eq!(
            stage.client.run("result = ask(old, 'x')"),
            answer,
            "goes on"
        );
    }
}

/// haproxy asks for SO_ORIGINAL_DST by itself; `*` is where the client wanted to go.
#[test]
fn root_haproxy_as_the_proxy_sends_each_connection_where_it_was_to_go() {
    let mut p = Proxied::without_proxy("haproxy", |_| {});
    let config = "
defaults
  mode tcp
  timeout connect 20s
  timeout client 60s
  timeout server 60s
listen out
  bind 127.0.0.1:15001
  server original *
";
    let folder = tempfile::TempDir::with_prefix("terrace-haproxy-").expect("folder");
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, config).expect("configuration");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("chmod");
    let mut proxy = p.stage.agent(&p.stage.near, &AS_PROXY);
    let started = proxy.run(&format!(
        "import subprocess
h = subprocess.Popen(['haproxy', '-db', '-q', '-f', '{}'])
end = time.time() + 60
while time.time() < end:
    # A connection to it would make it connect to itself, again and again.
    if any(':3A99 ' in line and ' 0A ' in line for line in open('/proc/net/tcp')):
        result = 'listens'
        break
    if h.poll() is not None:
        result = h.poll()
        break
    select.select([], [], [], 0.05)",
        file.display()
    ));
    assert_eq!(started, r#""listens""#);
    for backend in 0..3 {
        let script = format!("result = greet(dial('10.1.0.{}', 9000))", backend + 2);
        assert_eq!(p.stage.client.run(&script), format!(r#""b{backend}""#));
    }
    let asked = p.stage.tables.count(Reason::OriginalDst);
    assert!(asked >= 3, "haproxy asked {asked} times");
    proxy.run("h.terminate()\nresult = h.wait(60)");
}

#[test]
fn root_a_datagram_socket_leaves_a_proxy_that_is_not_wanted_any_more() {
    let mut p = Proxied::with("dnsgone", |w| w.proxy.dns_port = 15_053);
    let answer = |name: &str, at: &str, port: u16| {
        format!(
            "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('{at}', {port}))
def run():
    while True:
        data, source = u.recvfrom(1000)
        u.sendto(b'{name}', source)
threading.Thread(target=run, daemon=True).start()
result = 'answers'"
        )
    };
    let proxy = p.proxy.as_mut().expect("a proxy");
    assert_eq!(
        proxy.run(&answer("proxy", "127.0.0.1", 15_053)),
        r#""answers""#
    );
    let mut far = p.stage.agent(&p.stage.far, &[]);
    assert_eq!(far.run(&answer("far", "10.1.0.2", 53)), r#""answers""#);
    let ask = "result = ask(d, 'q', ('10.1.0.2', 53))";
    let first = p.stage.client.run(&format!("d = datagram()\n{ask}"));
    assert_eq!(first, r#"["proxy", "10.1.0.2", 53]"#);
    p.workload.proxy.dns_port = 0;
    p.sync();
    assert_eq!(p.stage.client.run(ask), r#"["far", "10.1.0.2", 53]"#);
    p.workload.proxy.dns_port = 15_053;
    p.sync();
    assert_eq!(p.stage.client.run(ask), r#"["proxy", "10.1.0.2", 53]"#);
}
