//! Many of everything: connections, namespaces, cgroups.

use terrace_sock::workloads::{Key, Workload};
use terrace_testkit::{Cgroup, Netns, wait};

use crate::proxied::Proxied;
use crate::services::{V4, stage_with};
use crate::tables::{Kind, TCP};

/// Opens as many connections at once as it is told to; all must be answered.
const PARALLEL: &str = r#"
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (65536, 65536))
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

#[test]
fn root_ten_thousand_connections_in_parallel_all_reach_a_backend() {
    let (mut stage, _) = stage_with("tenk", V4, Kind::new(TCP));
    stage.client.run(PARALLEL);
    let seen = stage
        .client
        .run("result = [parallel('10.96.0.10', 80, 2500) for _ in range(4)]");
    assert_eq!(
        seen,
        "[[2500, [], 0], [2500, [], 0], [2500, [], 0], [2500, [], 0]]"
    );
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
    for round in 0..1000u32 {
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
