//! Many of everything: connections, namespaces, cgroups.

use std::net::SocketAddr;
use std::thread;

use terrace_sock::workloads::{Key, Workload};
use terrace_testkit::{Cgroup, HttpServer, Netns, wait};

use crate::proxied::Proxied;
use crate::services::{V4, at};
use crate::stage::{Stage, namespaces};
use crate::tables::{Kind, TCP};

/// Opens as many connections at once as it is told to; all must be answered.
const PARALLEL: &str = r#"
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
def parallel(host, port, n):
    poll = select.epoll()
    socks, good, bad = {}, 0, []
    for _ in range(n):
        s = socket.socket()
        s.setblocking(False)
        e = s.connect_ex((host, port))
        if e not in (0, errno.EINPROGRESS):
            bad.append(errno.errorcode[e])
            continue
        socks[s.fileno()] = s
        poll.register(s.fileno(), select.EPOLLIN | select.EPOLLERR)
    end = time.time() + 120
    while socks and time.time() < end:
        for fd, _ in poll.poll(1):
            s = socks.pop(fd)
            try:
                if s.recv(10)[:1] == b'b':
                    good += 1
            except OSError as e:
                bad.append(errno.errorcode[e.errno])
            s.close()
    return [good, bad[:3], len(socks)]
"#;

const HOLD: &str = r#"
def hold(host, port, n):
    global held
    held = []
    for _ in range(n):
        s = socket.socket()
        s.setblocking(False)
        e = s.connect_ex((host, port))
        if e not in (0, errno.EINPROGRESS):
            return errno.errorcode[e]
        held.append(s)
    return len(held)
def ask_all():
    good = 0
    for s in held:
        s.settimeout(60)
        ready = select.poll()
        ready.register(s, select.POLLOUT)
        ready.poll(60000)
        s.sendall(b'GET / HTTP/1.0\r\n\r\n')
    for s in held:
        good += b'200 OK' in s.recv(4096)
        s.close()
    return good
"#;

#[test]
fn root_ten_thousand_connections_in_parallel_all_reach_a_backend() {
    let mut stage = Stage::new("tenk");
    let servers = [9080, 9081].map(|port| HttpServer::start(&stage.far, "nginx", port));
    let places: Vec<SocketAddr> = servers
        .iter()
        .map(|server| {
            let server = server.as_ref().expect("nginx");
            server.at("10.1.0.2".parse().expect("an address"))
        })
        .collect();
    stage.tables.service(at(V4), Kind::new(TCP), &places);
    let mut clients: Vec<_> = (0..5).map(|_| stage.another()).collect();
    let mut all = |script: &str| -> Vec<String> {
        thread::scope(|scope| {
            let run = |client| scope.spawn(move || terrace_testkit::Agent::run(client, script));
            let running: Vec<_> = clients.iter_mut().map(run).collect();
            let done = running.into_iter().map(|one| one.join().expect("a client"));
            done.collect()
        })
    };
    all(&format!("{PARALLEL}{HOLD}"));
    assert_eq!(all("result = hold('10.96.0.10', 80, 2000)"), ["2000"; 5]);
    assert_eq!(all("result = ask_all()"), ["2000"; 5]);
    let count = stage.tables.count(terrace_abi::Reason::ConnectService);
    assert_eq!(count, 10_000);
}

#[test]
fn root_a_thousand_connections_in_parallel_all_find_the_original_destination() {
    let mut p = Proxied::new("redk");
    p.stage.client.run(PARALLEL);
    let seen = p
        .stage
        .client
        .run("result = parallel('10.1.0.2', 9000, 1000)");
    assert_eq!(seen, "[1000, [], 0]");
    let proxy = p.proxy.as_mut().expect("a proxy");
    let told = proxy.run("result = [len(seen), all(s == ['10.1.0.2', 9000] for s in seen)]");
    assert_eq!(told, "[1000, true]");
    let gone = || (p.entries("handshakes") == 0).then_some(());
    wait::until("the end of every handshake", wait::PATIENCE, gone).expect("no leak");
}

#[test]
fn root_a_thousand_namespaces_and_cgroups_leave_nothing() {
    let mut p = Proxied::new("churn");
    let own = p.stage.programs.as_ref().expect("programs").own();
    let before: Vec<usize> = MAPS.map(|map| own.keys(map).expect("keys").len()).into();
    let base = p.workload.clone();
    for round in 0..namespaces() {
        let ns = Netns::new("many").expect("namespace");
        let cgroup = Cgroup::new().expect("cgroup");
        let cookie = ns
            .enter(terrace_sock::connect::netns_cookie)
            .expect("enter");
        let cookie = cookie.expect("cookie");
        let workload = |key, number| Workload {
            key,
            netns: cookie,
            addresses: [format!("10.9.{}.{}", round / 250, round % 250)
                .parse()
                .expect("an address")]
            .into(),
            number,
            ..base.clone()
        };
        let id = terrace_sock::cgroup_id(cgroup.path()).expect("id");
        let wanted = [
            base.clone(),
            workload(Key::Netns(cookie), 2),
            workload(Key::Cgroup(id), 3),
        ];
        p.workloads.sync(own, &wanted).expect("sync");
        assert_eq!(p.workloads.held().count(), 3);
    }
    p.workloads.sync(own, &[base]).expect("sync");
    let after: Vec<usize> = MAPS.map(|map| own.keys(map).expect("keys").len()).into();
    assert_eq!(after, before, "{MAPS:?}");
}

const MAPS: [&str; 5] = [
    "workloads",
    "inbound",
    "proxy_ports",
    "proxy_nets",
    "handshakes",
];
