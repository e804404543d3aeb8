//! What a daemon of the tests answers: one value of every kind, with the odd
//! cases (IPv6, no backends, long names, blocked tiers) among them.

mod packets;

pub use packets::*;
use terrace::api::*;

pub const NOW: u64 = 1_700_000_000_000;

pub fn status() -> Status {
    Status {
        version: Version {
            version: "0.1.0".into(),
            abi_version: 1,
        },
        phase: Phase::Ready,
        node_name: "node-1".into(),
        pid: 4242,
        started_unix_ms: NOW,
        uptime_ms: 7_384_000,
        config: "/etc/terrace/terrace.toml".into(),
        pin_root: "/sys/fs/bpf/terrace".into(),
        heartbeat_age_ms: 120,
        taken_over: true,
        manifests: manifests(),
        interfaces: vec![
            interface(
                "eth0",
                2,
                Role::Uplink,
                &["192.0.2.10/24", "2001:db8::10/64", "fe80::1/64"],
            ),
            Interface {
                up: false,
                attachments: vec![],
                ..interface("veth1", 7, Role::Workload, &[])
            },
        ],
        nics: Vec::new(),
        l7_workers: Vec::new(),
        shortcut: Shortcut {
            reason: "no cgroup is chosen ([shortcut] cgroups)".into(),
            ..Shortcut::default()
        },
        flows: FlowTable {
            used: 1234,
            capacity: 262_144,
            by_state: [
                ("established".to_owned(), 1200),
                ("udp".to_owned(), 34),
                ("new".into(), 0),
            ]
            .into(),
        },
        tables: vec![
            table("services", 12, 16_384, 786_432),
            table("backends", 120_000, 131_072, 4_194_304),
        ],
        events: vec![event()],
    }
}

fn manifests() -> Manifests {
    Manifests {
        folder: "/etc/terrace/manifests".into(),
        files: 5,
        revision: 3,
        applied_unix_ms: NOW + 7_200_000,
        services: 2,
        backends: 3,
        ready_backends: 2,
        policies: 1,
        identities: 8,
        denied_prefixes: 1,
        refused: vec![
            "/etc/terrace/manifests/web.yaml:12: Service default/web: spec.ports: is empty".into(),
        ],
    }
}

fn interface(name: &str, ifindex: u32, role: Role, addresses: &[&str]) -> Interface {
    let attachment = |hook: &str, kind: &str, program_id| Attachment {
        hook: hook.into(),
        kind: kind.into(),
        program_id,
    };
    Interface {
        name: name.into(),
        ifindex,
        role,
        driver: "veth".into(),
        up: true,
        mtu: 1500,
        mac: "02:00:00:00:00:01".into(),
        addresses: addresses.iter().map(|address| (*address).into()).collect(),
        attachments: vec![
            attachment("xdp", "native", 10),
            attachment("tc-ingress", "tcx", 11),
            attachment("tc-egress", "tcx", 12),
        ],
    }
}

fn table(name: &str, used: u64, capacity: u64, bytes: u64) -> TableUse {
    TableUse {
        table: name.into(),
        used,
        capacity,
        bytes,
    }
}

fn event() -> Event {
    Event {
        unix_ms: NOW + 7_383_000,
        severity: "warning".into(),
        kind: "tier-fallback".into(),
        message: "steer on eth1 runs in tc".into(),
        count: 1,
    }
}

/// As the planner gives it: a good uplink, one without native XDP, a workload.
pub fn plan() -> Plan {
    use terrace_offload::facts::{Fact, HostFacts, InterfaceFacts};
    use terrace_offload::verdict::Disruption;
    use terrace_offload::{Demand, Machine, Policy, Profiles, Wishes};
    let facts = |name: &str, driver: &str| {
        let mut facts = InterfaceFacts {
            name: name.into(),
            ..InterfaceFacts::default()
        };
        let driver = Fact::declared(driver, "ioctl.GDRVINFO");
        facts.facts.learn("id.driver", driver);
        let mtu = Fact::declared(1500u32, "rtnl.IFLA_MTU");
        facts.facts.learn("link.mtu", mtu);
        facts
    };
    let host = HostFacts {
        kernel: "6.12".into(),
        tcx: Some(true),
        ..HostFacts::default()
    };
    let interfaces = [
        facts("eth0", "mlx5_core"),
        facts("eth1", "dummy"),
        facts("veth1", "veth"),
    ];
    let machine = Machine {
        host: &host,
        interfaces: &interfaces,
        profiles: Profiles::shipped(),
    };
    let demands = [
        Demand::new("eth0", Role::Uplink),
        Demand::new("eth1", Role::Uplink),
        Demand::new("veth1", Role::Workload),
    ];
    let policy = Policy::of_daemon(Disruption::None);
    terrace_offload::plan(machine, &demands, &Wishes::default(), policy)
}

pub fn services() -> Vec<Service> {
    let traffic = Traffic {
        packets_to: 1_234_567,
        bytes_to: 98_765_432,
        packets_from: 999_999,
        bytes_from: 12_345_678_901,
        connections: 4321,
        live_connections: 12,
    };
    vec![
        Service {
            namespace: "default".into(),
            name: "web".into(),
            port_name: "http".into(),
            frontends: vec![
                frontend("10.96.0.10", 80, "cluster-ip", 1),
                frontend("fd00:96::a", 80, "cluster-ip", 2),
            ],
            backends: vec![
                backend("10.1.0.5", "ready", true, "web-1", 500, traffic),
                backend("10.1.0.6", "draining", true, "web-2", 0, Traffic::default()),
                backend("192.0.2.77", "ready", false, "", 500, traffic),
            ],
            forwarding: "nat".into(),
            fail_mode: "last".into(),
            affinity_secs: 10_800,
            l7: None,
            source: Source {
                file: "web.yaml".into(),
                line: 3,
            },
        },
        Service {
            namespace: "default".into(),
            name: "empty".into(),
            port_name: String::new(),
            frontends: vec![frontend("10.96.0.11", 443, "external-ip", 3)],
            backends: vec![],
            forwarding: "dsr".into(),
            fail_mode: "closed".into(),
            affinity_secs: 0,
            l7: None,
            source: Source::default(),
        },
    ]
}

fn frontend(address: &str, port: u16, kind: &str, index: u32) -> Frontend {
    Frontend {
        address: address.parse().unwrap(),
        port,
        protocol: "tcp".into(),
        kind: kind.into(),
        index,
    }
}

fn backend(
    address: &str,
    state: &str,
    local: bool,
    pod: &str,
    share_permille: u32,
    traffic: Traffic,
) -> Backend {
    Backend {
        address: address.parse().unwrap(),
        port: 8080,
        protocol: "tcp".into(),
        index: 1,
        state: state.into(),
        local,
        pod: pod.into(),
        share_permille,
        traffic,
    }
}

pub fn policies() -> Vec<Policy> {
    let rule = |number, verdict, peers: &[&str], ports: &[&str]| PolicyRule {
        number,
        direction: Direction::Ingress,
        verdict,
        peers: peers.iter().map(|peer| (*peer).into()).collect(),
        ports: ports.iter().map(|port| (*port).into()).collect(),
        source: Source {
            file: "policy.yaml".into(),
            line: number + 10,
        },
    };
    vec![Policy {
        kind: "CiliumNetworkPolicy".into(),
        namespace: "default".into(),
        name: "web".into(),
        selects: vec!["web-1".into(), "web-2".into()],
        directions: vec![Direction::Ingress],
        rules: vec![
            rule(
                1,
                RuleVerdict::Allow,
                &["app=shop"],
                &["tcp/80", "tcp/1000-2000"],
            ),
            rule(
                2,
                RuleVerdict::Deny,
                &["10.0.0.0/8 except 10.1.0.0/16", "world"],
                &[],
            ),
        ],
        source: Source {
            file: "policy.yaml".into(),
            line: 1,
        },
    }]
}

pub fn identities() -> Vec<Identity> {
    vec![
        Identity {
            number: 2,
            name: "world".into(),
            labels: [].into(),
            addresses: vec![],
            ifaces: vec![],
            ingress_enforced: false,
            egress_enforced: false,
        },
        Identity {
            number: 256,
            name: String::new(),
            labels: [
                ("app".to_owned(), "web".to_owned()),
                ("tier".into(), "front".into()),
            ]
            .into(),
            addresses: vec!["10.1.0.5".into(), "10.1.0.6".into(), "fd00::5".into()],
            ifaces: vec!["veth1".into()],
            ingress_enforced: true,
            egress_enforced: false,
        },
    ]
}
