//! Flows, reasons and an explanation.

use terrace::api::*;

pub fn all_flows() -> Vec<Flow> {
    let tuple = |source: &str, destination: &str| Tuple {
        protocol: 6,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    };
    let request = Flow {
        slot: 8,
        peer: 17,
        direction: "request".into(),
        tuple: tuple("203.0.113.9:40000", "10.96.0.10:80"),
        translated: Some(tuple("192.0.2.10:10007", "192.0.2.77:8080")),
        state: "established".into(),
        tier: Tier::XdpNative,
        service: "default/web:http".into(),
        backend: "192.0.2.77:8080".into(),
        dsr: false,
        snat: true,
        packets: 1_234_567,
        bytes: 1_850_000_000,
        age_ms: 61_000,
        idle_ms: 1_500,
        request: None,
    };
    let reply = Flow {
        slot: 17,
        peer: 8,
        direction: "reply".into(),
        tuple: tuple("192.0.2.77:8080", "192.0.2.10:10007"),
        translated: Some(tuple("10.96.0.10:80", "203.0.113.9:40000")),
        packets: 900,
        bytes: 60_000,
        ..request.clone()
    };
    let v6 = Flow {
        slot: 20,
        peer: 21,
        tuple: Tuple {
            protocol: 17,
            source: "[2001:db8:1234:5678:9abc:def0:1234:5678]:40000"
                .parse()
                .unwrap(),
            destination: "[fd00:96::a]:53".parse().unwrap(),
        },
        translated: None,
        state: "udp".into(),
        tier: Tier::Tc,
        service: String::new(),
        backend: String::new(),
        snat: false,
        packets: 1,
        bytes: 80,
        ..request.clone()
    };
    vec![request, reply, v6]
}

pub fn reasons() -> Vec<ReasonCount> {
    let count = |iface: &str, hook: &str, reason: terrace_abi::Reason, packets| ReasonCount {
        iface: iface.into(),
        hook: hook.into(),
        number: reason.number(),
        reason: reason.name().into(),
        class: reason.class().name().into(),
        text: reason.text().into(),
        packets,
        bytes: packets * 100,
    };
    use terrace_abi::Reason;
    vec![
        count("eth0", "xdp", Reason::ToTc, 12_345),
        count("eth0", "xdp", Reason::Tx, 1_000_000),
        count("eth0", "tc-ingress", Reason::ToWorkload, 12_345),
        count("veth1", "tc-ingress", Reason::EgressDefault, 3),
    ]
}

pub fn explanation() -> ExplainAnswer {
    let tuple = |source: &str, destination: &str| Tuple {
        protocol: 6,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    };
    let change = |field: &str, before: &str, after: &str| HeaderChange {
        field: field.into(),
        before: before.into(),
        after: after.into(),
    };
    let first = Hop {
        iface: "eth0".into(),
        hook: "xdp".into(),
        tier: Tier::XdpNative,
        number: 5,
        reason: "to_tc".into(),
        class: "pass".into(),
        text: "for a local workload or a slower path: passed from XDP to tc".into(),
        action: "XDP_PASS".into(),
        service: Some("default/web:http".into()),
        backend: None,
        flow: "new".into(),
        source_identity: "2 world".into(),
        destination_identity: String::new(),
        policy: None,
        tuple: Some(tuple("10.0.0.1:4000", "10.96.0.10:80")),
        translated: None,
        changes: vec![],
        out_iface: None,
        frame: String::new(),
    };
    let second = Hop {
        hook: "tc-ingress".into(),
        tier: Tier::Tc,
        number: 41,
        reason: "ingress_denied".into(),
        class: "drop".into(),
        text: "a policy rule denies it towards the workload".into(),
        action: "TC_ACT_SHOT".into(),
        backend: Some("10.1.0.5:8080 (web-1)".into()),
        destination_identity: "256 app=web".into(),
        policy: Some(PolicyHit {
            direction: Direction::Ingress,
            verdict: RuleVerdict::Deny,
            rule: 2,
            policy: "CiliumNetworkPolicy default/web".into(),
            source: Source {
                file: "policy.yaml".into(),
                line: 12,
            },
        }),
        translated: Some(tuple("10.0.0.1:4000", "10.1.0.5:8080")),
        changes: vec![
            change("ip.dst", "10.96.0.10", "10.1.0.5"),
            change("tcp.dport", "80", "8080"),
        ],
        out_iface: Some("veth1".into()),
        ..first.clone()
    };
    ExplainAnswer {
        packets: vec![ExplainedPacket {
            summary: "tcp 10.0.0.1:4000 > 10.96.0.10:80".into(),
            len: 54,
            hops: vec![first, second],
        }],
    }
}
