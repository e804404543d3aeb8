//! Random clusters and policies: the tables say what the rules say, after a
//! compilation from nothing and after any sequence of changes, and no step in
//! between says anything else than before or after.

use std::net::IpAddr;

use proptest::prelude::*;
use terrace_mesh::{Compiler, Direction, Manifests, PolicyKey, Tables, compile, diff, parse};

use crate::kernel::Kernel;
use crate::naive::{Naive, Verdict};
use crate::support::{facts, file, ip, pod, put, workload};

const PODS: [(&str, &str, &str); 5] = [
    ("web", "10.0.1.1", "veth-web"),
    ("api", "10.0.1.2", "veth-api"),
    ("far-1", "10.0.2.1", ""),
    ("far-2", "10.0.2.2", ""),
    ("far-3", "10.0.2.3", ""),
];
const REMOTES: [&str; 12] = [
    "10.0.1.1",
    "10.0.1.2",
    "10.0.2.1",
    "10.0.2.2",
    "10.0.2.3",
    "192.0.2.1",
    "192.0.2.2",
    "8.8.8.8",
    "8.8.8.9",
    "8.8.1.1",
    "8.1.1.1",
    "2001:db8:1::1",
];
const NETS: [&str; 6] = [
    "0.0.0.0/0",
    "8.0.0.0/8",
    "8.8.0.0/16",
    "8.8.8.0/24",
    "8.8.8.8/32",
    "2001:db8::/32",
];
/// Protocol row, protocol, port.
const PACKETS: [(u8, u8, u16); 8] = [
    (1, 6, 80),
    (1, 6, 443),
    (1, 6, 8080),
    (1, 6, 1500),
    (2, 17, 53),
    (2, 17, 80),
    (8, 1, 8),
    (4, 132, 80),
];

fn pods(labels: &[usize]) -> String {
    let labels_of = [
        "{app: a, tier: x}",
        "{app: a, tier: y}",
        "{app: b, tier: x}",
        "{app: c}",
    ];
    let pods = PODS.iter().zip(labels);
    pods.map(|((name, address, interface), labels)| match *interface {
        "" => pod(name, address, labels_of[*labels]),
        interface => workload(name, address, interface, labels_of[*labels]),
    })
    .collect()
}

fn label_selector() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "{}",
        "{matchLabels: {app: a}}",
        "{matchLabels: {app: b}}",
        "{matchLabels: {app: a, tier: x}}",
        "{matchExpressions: [{key: tier, operator: Exists}]}",
        "{matchExpressions: [{key: tier, operator: DoesNotExist}]}",
        "{matchExpressions: [{key: app, operator: In, values: [b, c]}]}",
        "{matchExpressions: [{key: app, operator: NotIn, values: [a]}]}",
    ])
    .prop_map(str::to_owned)
}

/// The text after `from` or `to`.
fn peers() -> impl Strategy<Value = String> {
    let net = || prop::sample::select(NETS.to_vec());
    let entities = prop::sample::select(vec![
        "all",
        "world",
        "cluster",
        "host",
        "remote-node",
        "none",
    ]);
    prop_oneof![
        4 => label_selector().prop_map(|selector| format!("Endpoints: [{selector}]")),
        2 => net().prop_map(|net| format!("CIDR: [\"{net}\"]")),
        1 => Just("CIDRSet: [{cidr: 8.0.0.0/8, except: [8.8.8.0/24]}]".to_owned()),
        1 => Just("CIDRSet: [{cidr: 8.8.0.0/16, except: [8.8.8.8/32]}, {cidr: 8.1.0.0/16}]".to_owned()),
        2 => entities.prop_map(|entity| format!("Entities: [{entity}]")),
        1 => Just(String::new()),
    ]
}

fn ports() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "",
        "toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]",
        "toPorts: [{ports: [{port: \"80\"}, {port: \"443\", protocol: TCP}]}]",
        "toPorts: [{ports: [{port: \"1000\", endPort: 2000, protocol: TCP}]}]",
        "toPorts: [{ports: [{port: http, protocol: TCP}]}]",
        "toPorts: [{ports: [{port: \"0\", protocol: UDP}]}]",
        "icmps: [{fields: [{type: 8}]}]",
    ])
    .prop_map(str::to_owned)
}

fn policy() -> impl Strategy<Value = String> {
    let sections = prop::sample::select(vec!["ingress", "ingressDeny", "egress", "egressDeny"]);
    let rule = (sections, peers(), ports());
    let default_deny =
        prop::sample::select(vec!["", "", "  enableDefaultDeny: {ingress: false}\n"]);
    (
        label_selector(),
        prop::collection::vec(rule, 1..4),
        default_deny,
    )
        .prop_map(|(subject, rules, default_deny)| {
            let mut text = format!("spec:\n  endpointSelector: {subject}\n{default_deny}");
            for section in ["ingress", "ingressDeny", "egress", "egressDeny"] {
                let of_section: Vec<_> = rules
                    .iter()
                    .filter(|(name, _, _)| *name == section)
                    .collect();
                if !of_section.is_empty() {
                    text += &format!("  {section}:\n");
                }
                for (name, peers, ports) in of_section {
                    let way = if name.starts_with("in") { "from" } else { "to" };
                    let peers = if peers.is_empty() {
                        String::new()
                    } else {
                        format!("{way}{peers}, ")
                    };
                    text += &format!("  - {{{}}}\n", flow(&(peers + ports)));
                }
            }
            text
        })
}

fn flow(text: &str) -> String {
    text.trim_end().trim_end_matches(',').to_owned()
}

fn policies() -> impl Strategy<Value = String> {
    prop::collection::vec(policy(), 0..4).prop_map(|specs| {
        (0..)
            .zip(specs)
            .map(|(i, spec)| format!("---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: p{i}\n{spec}"))
            .collect()
    })
}

fn cluster() -> impl Strategy<Value = String> {
    (prop::collection::vec(0usize..4, 5), policies())
        .prop_map(|(labels, policies)| pods(&labels) + &policies)
}

/// Policies that close prefixes to some workloads, one way or both.
fn walls() -> impl Strategy<Value = String> {
    let wall = (
        label_selector(),
        prop::sample::select(NETS.to_vec()),
        prop::sample::select(vec!["ie", "ie", "i", "e"]),
        ports(),
    );
    prop::collection::vec(wall, 1..4).prop_map(|walls| {
        let wall = |(i, (subject, net, ways, ports)): (usize, (String, &str, &str, String))| {
            let ports = if ports.starts_with("icmps") { String::new() } else { ports };
            let mut text = format!("---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: wall{i}\nspec:\n  endpointSelector: {subject}\n");
            for (way, section, peers) in [('i', "ingressDeny", "from"), ('e', "egressDeny", "to")] {
                if ways.contains(way) {
                    let rule = format!("{peers}CIDR: [\"{net}\"], {ports}");
                    text += &format!("  {section}:\n  - {{{}}}\n", flow(&rule));
                }
            }
            text
        };
        walls.into_iter().enumerate().map(wall).collect()
    })
}

/// Manifests that change step by step: labels of pods, or policies. (Both at
/// once pass through the new policies on the old labels.)
fn history() -> impl Strategy<Value = Vec<String>> {
    let labels = || prop::collection::vec(0usize..4, 5);
    let step = prop_oneof![
        labels().prop_map(|labels| (Some(labels), None)),
        policies().prop_map(|policies| (None, Some(policies))),
    ];
    (labels(), policies(), prop::collection::vec(step, 1..5)).prop_map(
        |(mut labels, mut policies, steps)| {
            let mut texts = vec![pods(&labels) + &policies];
            for (new_labels, new_policies) in steps {
                labels = new_labels.unwrap_or(labels);
                policies = new_policies.unwrap_or(policies);
                texts.push(pods(&labels) + &policies);
            }
            texts
        },
    )
}

/// Every question that the data plane can ask of the two workloads.
fn questions() -> impl Iterator<Item = (IpAddr, IpAddr, Direction, (u8, u8, u16))> {
    let subjects = [ip("10.0.1.1"), ip("10.0.1.2")];
    subjects.into_iter().flat_map(|subject| {
        Direction::BOTH.into_iter().flat_map(move |direction| {
            let remotes = REMOTES.iter().map(|text| ip(text));
            remotes.flat_map(move |remote| {
                PACKETS
                    .into_iter()
                    .map(move |packet| (subject, remote, direction, packet))
            })
        })
    })
}

fn tables_say(
    tables: &Tables,
    (subject, remote, direction, packet): (IpAddr, IpAddr, Direction, (u8, u8, u16)),
) -> Verdict {
    let endpoint = tables.endpoint_of(subject);
    let flag = [16, 32][direction as usize];
    if endpoint.flags & flag == 0 {
        return Verdict::Allow;
    }
    let verdict = tables.policy_lookup(&PolicyKey {
        subject: endpoint.identity,
        remote: tables.endpoint_of(remote).identity,
        direction,
        protocol: packet.1,
        port: packet.2,
    });
    match (verdict.denied(), verdict.allowed()) {
        (true, _) => Verdict::Deny,
        (_, true) => Verdict::Allow,
        _ => Verdict::Default,
    }
}

fn answers(tables: &Tables) -> Vec<Verdict> {
    questions()
        .map(|question| tables_say(tables, question))
        .collect()
}

fn read(text: &str) -> Manifests {
    parse(&[file("test.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_say_what_the_rules_say(text in cluster()) {
        let manifests = read(&text);
        let tables = compile(&manifests, &facts(), None).expect("valid");
        let naive = Naive::new(&manifests);
        for question in questions() {
            let (subject, remote, direction, packet) = question;
            let expected = naive.verdict(subject, remote, direction, packet);
            prop_assert_eq!(tables_say(&tables, question), expected, "{:?}\n{}", question, text);
        }
    }

    /// What a NIC may drop without asking is what the rules drop, whatever the port, and
    /// in the other direction too: then it is no answer either.
    #[test]
    fn what_is_closed_is_denied_both_ways_on_every_port(text in cluster(), walls in walls()) {
        let text = text + &walls;
        let manifests = read(&text);
        let tables = compile(&manifests, &facts(), None).expect("valid");
        let naive = Naive::new(&manifests);
        for closed in tables.closed(1_000) {
            for (subject, remote, direction, packet) in questions() {
                let is_one = closed.destination == subject && closed.source.contains(&remote);
                // A NIC is told protocols: ICMP is not among them.
                if !is_one || packet.1 == 1 {
                    continue;
                }
                let verdict = naive.verdict(subject, remote, direction, packet);
                let denied = verdict == Verdict::Deny;
                let refused = denied || (direction == Direction::Egress && verdict == Verdict::Default);
                prop_assert!(refused, "{:?} {:?} {:?} {:?}\n{}", closed, remote, direction, packet, text);
                let mut local = PODS.iter().filter(|(.., interface)| !interface.is_empty());
                prop_assert!(!local.any(|(_, address, _)| closed.source.contains(&ip(address))));
            }
        }
    }

    #[test]
    fn a_change_goes_from_the_old_verdicts_to_the_new_and_nowhere_else(texts in history()) {
        walk(&texts)?;
    }
}

fn walk(texts: &[String]) -> Result<(), TestCaseError> {
    let mut compiler = Compiler::new(read(&texts[0]), facts(), None).expect("valid");
    let mut kernel = Kernel::new(facts().limits);
    let ops = diff(&kernel.tables, compiler.tables());
    kernel.apply_all(&ops);
    for text in &texts[1..] {
        let ops = compiler.update(&[put("test.yaml", text)]).expect("valid");
        let fresh = compile(&read(text), &facts(), None).expect("valid");
        let (old, new) = (answers(&kernel.tables), answers(&fresh));
        let old_rev = kernel.tables.policy_rev;
        for (i, op) in ops.iter().enumerate() {
            kernel.tables.apply(op);
            for ((question, now), (old, new)) in questions()
                .zip(answers(&kernel.tables))
                .zip(old.iter().zip(&new))
            {
                let passes = |verdict: &Verdict| *verdict == Verdict::Allow;
                prop_assert!(
                    now == *old
                        || now == *new
                        || passes(&now) == passes(old) && passes(old) == passes(new),
                    "after op {} of {:?}: {:?} says {:?}, was {:?}, will be {:?}\n{}",
                    i,
                    ops,
                    question,
                    now,
                    old,
                    new,
                    text
                );
            }
        }
        kernel.must_be(compiler.tables());
        prop_assert_eq!(answers(&kernel.tables), new.clone());
        prop_assert!(old == new || kernel.tables.policy_rev != old_rev);
        let again =
            compile(compiler.manifests(), &facts(), Some(&kernel.read_back())).expect("valid");
        prop_assert_eq!(answers(&again), new);
    }
    Ok(())
}

/// `api` gives labels with a named port to a pod that has none.
#[test]
fn a_named_port_goes_with_the_pod_that_had_it() {
    let policy = "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: p0\nspec:\n  endpointSelector: {matchLabels: {app: b}}\n  egress:\n  - {toPorts: [{ports: [{port: http, protocol: TCP}]}]}\n";
    let texts = [
        pods(&[0, 3, 0, 0, 0]),
        pods(&[0, 3, 0, 0, 0]) + policy,
        pods(&[0, 2, 0, 0, 3]) + policy,
    ];
    walk(&texts).unwrap();
}

#[test]
fn a_prefix_is_closed_to_a_workload_only_when_nothing_can_pass_between_them() {
    let deny = |section: &str, peers: &str| format!("  {section}:\n  - {{{peers}}}\n");
    let both = |peers: &str| {
        deny("ingressDeny", &format!("from{peers}")) + &deny("egressDeny", &format!("to{peers}"))
    };
    let port = "toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]";
    // name | rules | what is closed to the pod `web`
    let rows = [
        ("both ways", both("CIDR: [8.8.0.0/16]"), "8.8.0.0/16"),
        (
            "IPv6 closes nothing to an IPv4 pod",
            both("CIDR: [\"2001:db8::/32\"]"),
            "",
        ),
        ("only in", deny("ingressDeny", "fromCIDR: [8.8.0.0/16]"), ""),
        ("only out", deny("egressDeny", "toCIDR: [8.8.0.0/16]"), ""),
        (
            "one port",
            deny("ingressDeny", &format!("fromCIDR: [8.8.0.0/16], {port}"))
                + &deny("egressDeny", "toCIDR: [8.8.0.0/16]"),
            "",
        ),
        (
            "out by default",
            deny("ingressDeny", "fromCIDR: [8.8.0.0/16]") + &deny("egress", "toCIDR: [9.0.0.0/8]"),
            "8.8.0.0/16",
        ),
        (
            "a part may go out",
            deny("ingressDeny", "fromCIDR: [8.0.0.0/8]") + &deny("egress", "toCIDR: [8.8.0.0/16]"),
            "",
        ),
        (
            "pods inside",
            both("CIDR: [10.0.0.0/8, 8.8.8.0/24]"),
            "8.8.8.0/24",
        ),
        (
            "the widest is enough",
            both("CIDR: [8.8.0.0/16, 8.8.8.0/24]"),
            "8.8.0.0/16",
        ),
    ];
    for (name, rules, expected) in rows {
        let policy = format!(
            "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: p\nspec:\n  endpointSelector: {{matchLabels: {{app: b}}}}\n{rules}"
        );
        let text = pods(&[2, 0, 0, 0, 0]) + &policy;
        let tables = compile(&read(&text), &facts(), None).expect("valid");
        let closed = tables.closed(100);
        let told: Vec<String> = closed
            .iter()
            .map(|closed| closed.source.to_string())
            .collect();
        assert_eq!(told.join(" "), expected, "{name}\n{text}");
        assert!(
            closed
                .iter()
                .all(|closed| closed.destination == ip("10.0.1.1")),
            "{name}"
        );
        assert!(tables.closed(0).is_empty(), "{name}");
    }
}
