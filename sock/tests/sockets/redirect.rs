//! The redirect to a proxy: each row is a test of its own.

use terrace_abi::Reason;
use terrace_sock::workloads::Key;

use terrace_testkit::scripts::AS_PROXY;

use crate::proxied::Proxied;
use crate::services::at;
use crate::stage::backends;
use crate::tables::{Kind, TCP};

fn net(text: &str) -> ipnet::IpNet {
    text.parse().expect("a prefix")
}

#[test]
fn root_an_outbound_connection_goes_to_the_proxy_v4() {
    let mut p = Proxied::new("out4");
    let seen = p
        .stage
        .client
        .run("s = dial('10.1.0.3', 9000)\nresult = [greet(s), s.getpeername()]");
    assert_eq!(seen, r#"["b1", ["10.1.0.3", 9000]]"#);
    assert_eq!(p.seen(), r#"[["10.1.0.3", 9000]]"#);
    assert_eq!(p.stage.tables.count(Reason::ProxyOutbound), 1);
    assert_eq!(p.stage.tables.count(Reason::OriginalDst), 1);
}

#[test]
fn root_an_outbound_connection_goes_to_the_proxy_v6() {
    let mut p = Proxied::new("out6");
    let seen = p
        .stage
        .client
        .run("s = dial('fd01::4', 9000)\nresult = [greet(s), s.getpeername()[:2]]");
    assert_eq!(seen, r#"["b2", ["fd01::4", 9000]]"#);
    assert_eq!(p.seen(), r#"[["fd01::4", 9000]]"#);
}

#[test]
fn root_an_outbound_connection_goes_to_the_proxy_v4_mapped() {
    let mut p = Proxied::new("outmap");
    let seen = p
        .stage
        .client
        .run("result = greet(dial('::ffff:10.1.0.2', 9000))");
    assert_eq!(seen, r#""b0""#);
    assert_eq!(p.seen(), r#"[["10.1.0.2", 9000]]"#);
}

#[test]
fn root_the_first_connection_of_all_needs_no_second_try() {
    let p = Proxied::new("first");
    for i in 1..=5 {
        let mut fresh = p.stage.another();
        assert_eq!(
            fresh.run("result = greet(dial('10.1.0.2', 9000))"),
            r#""b0""#
        );
        assert_eq!(p.stage.tables.count(Reason::ProxyOutbound), i);
    }
}

#[test]
fn root_the_proxys_own_user_is_never_redirected() {
    let mut p = Proxied::new("own");
    let mut own = p.stage.agent(&p.stage.near, &AS_PROXY);
    assert_eq!(own.run("result = greet(dial('10.1.0.2', 9000))"), r#""b0""#);
    assert_eq!(p.seen(), "[]");
    assert_eq!(p.stage.tables.count(Reason::ProxyOwn), 1);
}

#[test]
fn root_the_proxys_own_group_is_never_redirected() {
    let mut p = Proxied::with("gid", |w| w.proxy.uid = None);
    let by = ["/usr/bin/setpriv", "--regid=1337", "--clear-groups"];
    let mut own = p.stage.agent(&p.stage.near, &by);
    assert_eq!(own.run("result = greet(dial('10.1.0.2', 9000))"), r#""b0""#);
    assert_eq!(p.seen(), "[]");
}

#[test]
fn root_the_proxys_own_mark_is_never_redirected() {
    let mut p = Proxied::with("mark", |w| w.proxy.mark = Some(77));
    let seen = p.stage.client.run(
        "s = socket.socket()\ns.setsockopt(socket.SOL_SOCKET, 36, 77)\ns.connect(('10.1.0.2', 9000))\nresult = greet(s)",
    );
    assert_eq!(seen, r#""b0""#);
    assert_eq!(p.seen(), "[]");
}

#[test]
fn root_the_proxys_own_cgroup_is_never_redirected() {
    let mut p = Proxied::new("owncg");
    let child = p.stage.cgroup.child("proxy").expect("cgroup");
    p.workload.proxy.cgroup = Some(terrace_sock::cgroup_id(child.path()).expect("id"));
    p.sync();
    let mut own = terrace_testkit::Agent::start(&p.stage.near, Some(&child)).expect("agent");
    let seen = own.run("s = socket.create_connection(('10.1.0.2', 9000), 10)\nresult = s.recv(10)");
    assert_eq!(seen, r#""b0\n""#);
    assert_eq!(p.seen(), "[]");
}

/// Rows of lists: (destination, whether it goes to the proxy).
fn check_lists(p: &mut Proxied, rows: &[(&str, bool)]) {
    for (host, redirected) in rows {
        let before = p.stage.tables.count(Reason::ProxyOutbound);
        let seen = p
            .stage
            .client
            .run(&format!("result = greet(dial('{host}', 9000))[0]"));
        assert_eq!(seen, "\"b\"", "{host}");
        let after = p.stage.tables.count(Reason::ProxyOutbound);
        assert_eq!(after - before, u64::from(*redirected), "{host}");
    }
}

#[test]
fn root_excluded_addresses_are_not_redirected() {
    let mut p = Proxied::with("exnet", |w| {
        w.lists.nets_excluded = vec![net("10.1.0.2/32"), net("fd01::2/127")];
    });
    let rows = [
        ("10.1.0.2", false),
        ("10.1.0.3", true),
        ("fd01::2", false),
        ("fd01::3", false),
        ("fd01::4", true),
    ];
    check_lists(&mut p, &rows);
    assert_eq!(p.stage.tables.count(Reason::ProxyExcluded), 3);
}

#[test]
fn root_only_included_addresses_are_redirected() {
    let mut p = Proxied::with("innet", |w| {
        w.lists.all_nets = false;
        w.lists.nets_included = vec![net("10.1.0.2/31"), net("fd01::4/128")];
    });
    let rows = [
        ("10.1.0.2", true),
        ("10.1.0.3", true),
        ("10.1.0.4", false),
        ("fd01::2", false),
        ("fd01::4", true),
    ];
    check_lists(&mut p, &rows);
}

#[test]
fn root_an_exclusion_beats_a_longer_inclusion() {
    let mut p = Proxied::with("exbeats", |w| {
        w.lists.all_nets = false;
        w.lists.nets_included = vec![net("10.1.0.2/32")];
        w.lists.nets_excluded = vec![net("10.1.0.0/24")];
    });
    check_lists(&mut p, &[("10.1.0.2", false)]);
}

#[test]
fn root_an_included_port_is_redirected_whatever_its_address() {
    let mut p = Proxied::with("inport", |w| {
        w.lists.all_nets = false;
        w.lists.outbound_included = vec![9000];
    });
    check_lists(&mut p, &[("10.1.0.2", true), ("fd01::2", true)]);
}

#[test]
fn root_an_excluded_port_is_not_redirected() {
    let mut p = Proxied::with("export", |w| w.lists.outbound_excluded = vec![9000]);
    check_lists(&mut p, &[("10.1.0.2", false), ("fd01::2", false)]);
}

#[test]
fn root_a_workload_reaches_itself_without_its_proxy() {
    let mut p = Proxied::new("self");
    let seen = p.stage.client.run(
        "l = socket.socket()\nl.bind(('0.0.0.0', 7000))\nl.listen()
for host in ('127.0.0.1', '10.1.0.1'):
    s = dial(host, 7000)
    l.accept()
result = 'done'",
    );
    assert_eq!(seen, r#""done""#);
    assert_eq!(p.seen(), "[]");
}

#[test]
fn root_a_service_is_the_original_destination() {
    let mut p = Proxied::new("svc");
    let service = at("10.96.0.10:80");
    p.stage
        .tables
        .service(service, Kind::new(TCP), &backends(service.ip()));
    let seen = p
        .stage
        .client
        .run("result = greet(dial('10.96.0.10', 80))[0]");
    // The proxy connects to the service, which is translated for it.
    assert_eq!(seen, r#""b""#);
    assert_eq!(p.seen(), r#"[["10.96.0.10", 80]]"#);
    assert_eq!(p.stage.tables.count(Reason::ConnectService), 1);
}

#[test]
fn root_a_connection_from_elsewhere_goes_to_the_proxy() {
    let mut p = Proxied::new("in");
    let script = "def app(host):
    l = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind((host, 8080))
    l.listen()
    def run():
        while True:
            c, _ = l.accept()
            c.sendall(b'app\\n')
    threading.Thread(target=run, daemon=True).start()
app('10.1.0.1')\napp('fd01::1')";
    assert_eq!(p.stage.client.run(script), "null");
    let mut far = terrace_testkit::Agent::start(&p.stage.far, None).expect("agent");
    for host in ["10.1.0.1", "fd01::1"] {
        let script = format!(
            "s = socket.create_connection(('{host}', 8080), 10)\nresult = [s.recv(10), s.getpeername()[:2]]"
        );
        let expected = format!(r#"["app\n", ["{host}", 8080]]"#);
        assert_eq!(far.run(&script), expected);
    }
    assert_eq!(p.seen(), r#"[["10.1.0.1", 8080], ["fd01::1", 8080]]"#);
    assert_eq!(p.stage.tables.count(Reason::ProxyInbound), 2);
}

/// A connection from elsewhere to port 8080, where nobody but a proxy is.
fn check_inbound(
    label: &str,
    redirected: bool,
    change: impl FnOnce(&mut terrace_sock::workloads::Workload),
) {
    let p = Proxied::with(label, change);
    let mut far = terrace_testkit::Agent::start(&p.stage.far, None).expect("agent");
    far.run("s = socket.socket()\ns.settimeout(10)\ns.connect_ex(('10.1.0.1', 8080))");
    let given = p.stage.tables.count(Reason::ProxyInbound);
    assert_eq!(given, u64::from(redirected));
}

#[test]
fn root_an_excluded_inbound_port_is_not_redirected() {
    check_inbound("inex", false, |w| w.lists.inbound_excluded = vec![8080]);
}

#[test]
fn root_only_included_inbound_ports_are_redirected() {
    check_inbound("inonly", false, |w| {
        w.lists.all_inbound = false;
        w.lists.inbound_included = vec![8081];
    });
    check_inbound("inonly", true, |w| {
        w.lists.all_inbound = false;
        w.lists.inbound_included = vec![8080];
    });
}

#[test]
fn root_a_proxy_that_listened_before_is_found() {
    let mut p = Proxied::without_proxy("late", |_| {});
    let own = p.stage.programs.as_ref().expect("programs").own();
    p.workloads.sync(own, &[]).expect("sync");
    p.start_proxy();
    p.sync();
    let near = crate::proxied::namespace(&p.stage);
    p.sockets.find_listeners(&near).expect("find");
    let mut far = terrace_testkit::Agent::start(&p.stage.far, None).expect("agent");
    far.run("s = socket.socket()\ns.settimeout(10)\ns.connect_ex(('10.1.0.1', 8080))");
    assert_eq!(p.stage.tables.count(Reason::ProxyInbound), 1);
}

#[test]
fn root_without_the_proxy_connections_are_refused_at_once() {
    let mut p = Proxied::without_proxy("down", |_| {});
    for host in ["10.1.0.2", "fd01::2", "::ffff:10.1.0.2"] {
        assert_eq!(
            p.stage.client.run(&format!("dial('{host}', 9000)")),
            "!ECONNREFUSED"
        );
    }
    assert_eq!(p.stage.tables.count(Reason::ProxyDownRefused), 3);
    let mut far = terrace_testkit::Agent::start(&p.stage.far, None).expect("agent");
    let seen = far.run("socket.create_connection(('10.1.0.1', 8080), 10)");
    assert_eq!(seen, "!ECONNREFUSED");
    p.start_proxy();
    assert_eq!(
        p.stage.client.run("result = greet(dial('10.1.0.2', 9000))"),
        r#""b0""#
    );
}

#[test]
fn root_without_the_proxy_connections_go_on_when_configured_so() {
    let mut p = Proxied::without_proxy("direct", |w| w.proxy.fail_direct = true);
    for host in ["10.1.0.2", "fd01::2"] {
        let seen = p
            .stage
            .client
            .run(&format!("result = greet(dial('{host}', 9000))"));
        assert_eq!(seen, r#""b0""#, "{host}");
    }
    assert_eq!(p.stage.tables.count(Reason::ProxyDownDirect), 2);
}

#[test]
fn root_a_workload_may_be_a_cgroup() {
    let mut p = Proxied::new("bycg");
    let child = p.stage.cgroup.child("app").expect("cgroup");
    p.workload.key = Key::Cgroup(terrace_sock::cgroup_id(child.path()).expect("id"));
    p.sync();
    let ask = "s = socket.create_connection(('10.1.0.2', 9000), 10)\nresult = s.recv(10)";
    assert_eq!(p.stage.client.run(ask), r#""b0\n""#);
    assert_eq!(p.seen(), "[]");
    let mut inside = terrace_testkit::Agent::start(&p.stage.near, Some(&child)).expect("agent");
    assert_eq!(inside.run(ask), r#""b0\n""#);
    assert_eq!(p.seen(), r#"[["10.1.0.2", 9000]]"#);
}

#[test]
fn root_removing_the_redirect_leaves_established_connections_alone() {
    let mut p = Proxied::new("remove");
    p.stage.client.run("s = dial('10.1.0.2', 9000)\ngreet(s)");
    let own = p.stage.programs.as_ref().expect("programs").own();
    p.workloads.sync(own, &[]).expect("sync");
    assert_eq!(
        p.stage.client.run("result = ask(s, 'still')[0]"),
        r#""still""#
    );
    assert_eq!(
        p.stage
            .client
            .run("t = dial('10.1.0.2', 9000)\nresult = greet(t)"),
        r#""b0""#
    );
    assert_eq!(p.seen(), r#"[["10.1.0.2", 9000]]"#);
    assert_eq!(
        p.entries("workloads") + p.entries("proxy_ports") + p.entries("inbound"),
        0
    );
}

#[test]
fn root_detaching_leaves_established_connections_alone() {
    let mut p = Proxied::new("detach");
    p.stage.client.run("s = dial('10.1.0.2', 9000)\ngreet(s)");
    terrace_sock::links::detach_all(p.stage.tables.maps.root()).expect("detach");
    assert_eq!(
        p.stage.client.run("result = ask(s, 'still')[0]"),
        r#""still""#
    );
    assert_eq!(
        p.stage.client.run("result = greet(dial('10.1.0.2', 9000))"),
        r#""b0""#
    );
    assert_eq!(p.seen(), r#"[["10.1.0.2", 9000]]"#);
}

#[test]
fn root_dns_goes_to_the_proxys_port() {
    let mut p = Proxied::with("dns", |w| w.proxy.dns_port = 15_053);
    let proxy = p.proxy.as_mut().expect("a proxy");
    proxy.run(
        "d = {}
for host in ('127.0.0.1', '::1'):
    u = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
    u.bind((host, 15053))
    def run(u=u):
        while True:
            data, source = u.recvfrom(1000)
            u.sendto(b'proxy:' + data, source)
    threading.Thread(target=run, daemon=True).start()",
    );
    for (host, family) in [
        ("10.1.0.2", "socket.AF_INET"),
        ("fd01::2", "socket.AF_INET6"),
    ] {
        let seen = p.stage.client.run(&format!(
            "result = ask(datagram({family}), 'q', ('{host}', 53))"
        ));
        assert_eq!(seen, format!(r#"["proxy:q", "{host}", 53]"#));
    }
    let seen = p
        .stage
        .client
        .run("s = dial('10.1.0.2', 53, socket.SOCK_DGRAM)\nresult = ask(s, 'q')");
    assert_eq!(seen, r#"["proxy:q", "10.1.0.2", 53]"#);
    assert_eq!(p.stage.tables.count(Reason::ProxyDns), 3);
}

#[test]
fn root_no_handshake_is_left_behind() {
    let mut p = Proxied::new("leak");
    let seen = p.stage.client.run(
        "for _ in range(200):
    s = dial('10.1.0.2', 9000)
    s.close()
result = 'done'",
    );
    assert_eq!(seen, r#""done""#);
    assert_eq!(p.entries("handshakes"), 0);
}

#[test]
fn root_explain_says_what_connect_does() {
    let mut p = Proxied::with("explain", |w| w.lists.outbound_excluded = vec![22]);
    let service = at("10.96.0.10:80");
    p.stage
        .tables
        .service(service, Kind::new(TCP), &backends(service.ip()));
    let mut options = p.stage.options();
    options.proxy = true;
    let dry = terrace_sock::explain::DryRun::load(&p.stage.tables.maps, &options).expect("load");
    let netns = p.workload.netns;
    let rows = [
        (
            "10.1.0.2:9000",
            netns,
            0,
            Reason::ProxyOutbound,
            Reason::ProxyOutbound,
        ),
        (
            "10.1.0.2:9000",
            netns,
            1337,
            Reason::ConnectDirect,
            Reason::ProxyOwn,
        ),
        (
            "10.1.0.2:22",
            netns,
            0,
            Reason::ConnectDirect,
            Reason::ProxyExcluded,
        ),
        (
            "10.96.0.10:80",
            netns,
            1337,
            Reason::ConnectService,
            Reason::ProxyOwn,
        ),
    ];
    for (to, netns, uid, reason, redirect) in rows {
        let to = at(to);
        let question = terrace_abi::types::connect_question {
            addr: crate::tables::words(to.ip()),
            port: to.port().to_be(),
            proto: TCP,
            is_v4: 1,
            netns,
            uid,
            ..Default::default()
        };
        let answer = dry.ask(&question).expect("ask");
        assert_eq!(
            Reason::from_number(answer.reason),
            Some(reason),
            "{to} {uid}"
        );
        assert_eq!(
            Reason::from_number(answer.redirect),
            Some(redirect),
            "{to} {uid}"
        );
    }
    assert_eq!(
        p.stage.tables.count(Reason::ConnectService),
        0,
        "a dry run counts nothing"
    );
}
