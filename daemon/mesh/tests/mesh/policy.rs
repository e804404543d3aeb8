//! Policy: what the tables answer for a packet between two addresses.

use terrace_mesh::{Direction, PolicyKey, Tables};

use crate::support::{compiler, ip, pod, service, slice, workload};

/// What the data plane makes of a packet: who is judged, and how.
pub fn verdict(
    tables: &Tables,
    way: &str,
    local: &str,
    remote: &str,
    packet: (u8, u16),
) -> &'static str {
    let direction = if way == "in" {
        Direction::Ingress
    } else {
        Direction::Egress
    };
    let subject = tables.endpoint_of(ip(local));
    let flag = if way == "in" { 16 } else { 32 };
    if subject.flags & flag == 0 {
        return "open";
    }
    let key = PolicyKey {
        subject: subject.identity,
        remote: tables.endpoint_of(ip(remote)).identity,
        direction,
        protocol: packet.0,
        port: packet.1,
    };
    let verdict = tables.policy_lookup(&key);
    match (verdict.allowed(), verdict.denied()) {
        (true, _) => "allow",
        (_, true) => "deny",
        _ => "default",
    }
}

pub const WEB: &str = "10.0.1.1";
const API: &str = "10.0.1.2";
const CLIENT: &str = "10.0.2.1";
const OTHER: &str = "10.0.2.2";
const ELSEWHERE: &str = "10.0.3.1";
const WORLD: &str = "8.8.8.8";

/// Two workloads, two pods of this namespace elsewhere, one of another.
pub fn pods() -> String {
    let other_namespace =
        pod("far", ELSEWHERE, "{app: client}").replace("name: far", "name: far\n  namespace: prod");
    workload("web", WEB, "veth-web", "{app: web}")
        + &workload("api", API, "veth-api", "{app: api}")
        + &pod("client", CLIENT, "{app: client, tier: front}")
        + &pod("other", OTHER, "{app: other}")
        + &other_namespace
        + "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: prod\n  labels: {env: prod}\n"
}

pub fn netpol(name: &str, spec: &str) -> String {
    let spec = spec.replace('\n', "\n  ");
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\nspec:\n  {}\n",
        spec.trim()
    )
}

pub fn cilium(name: &str, spec: &str) -> String {
    let spec = spec.replace('\n', "\n  ");
    format!(
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: {name}\nspec:\n  endpointSelector:\n    matchLabels: {{app: web}}\n  {}\n",
        spec.trim()
    )
}

fn clusterwide(name: &str, spec: &str) -> String {
    cilium(name, spec).replace("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
}

type Row<'r> = (&'r str, (&'r str, &'r str, &'r str), (u8, u16), &'r str);

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

fn check(policies: &str, rows: &[Row<'_>]) {
    let compiler = compiler(&(pods() + policies));
    for (name, (way, local, remote), packet, expected) in rows {
        let found = verdict(compiler.tables(), way, local, remote, *packet);
        assert_eq!(
            found, *expected,
            "{name}: {way} {local} {remote} {packet:?}"
        );
    }
}

#[test]
fn unselected_workloads_are_open_and_selected_ones_default_deny() {
    check(
        &netpol("deny", "podSelector: {matchLabels: {app: web}}"),
        &[
            (
                "selected, ingress",
                ("in", WEB, CLIENT),
                (TCP, 80),
                "default",
            ),
            (
                "not this direction",
                ("out", WEB, CLIENT),
                (TCP, 80),
                "open",
            ),
            ("another pod", ("in", API, CLIENT), (TCP, 80), "open"),
        ],
    );
}

#[test]
fn network_policy_peers_are_pods_namespaces_and_blocks() {
    let spec = "podSelector: {}
policyTypes: [Ingress, Egress]
ingress:
- from:
  - podSelector: {matchLabels: {app: client}}
  - namespaceSelector: {matchLabels: {env: prod}}
    podSelector: {matchExpressions: [{key: app, operator: In, values: [client, x]}]}
  - ipBlock: {cidr: 8.0.0.0/8, except: [8.9.0.0/16]}
egress:
- to:
  - namespaceSelector: {}
  ports:
  - {port: 53, protocol: UDP}
  - {port: 1000, endPort: 2000}";
    check(
        &netpol("peers", spec),
        &[
            (
                "pod of the namespace",
                ("in", WEB, CLIENT),
                (TCP, 80),
                "allow",
            ),
            (
                "pod without the label",
                ("in", WEB, OTHER),
                (TCP, 80),
                "default",
            ),
            (
                "pod of a selected namespace",
                ("in", WEB, ELSEWHERE),
                (TCP, 80),
                "allow",
            ),
            ("inside the block", ("in", WEB, WORLD), (UDP, 1), "allow"),
            ("carved out", ("in", WEB, "8.9.1.1"), (TCP, 80), "default"),
            (
                "outside the block",
                ("in", WEB, "9.9.9.9"),
                (TCP, 80),
                "default",
            ),
            (
                "any namespace, port",
                ("out", WEB, ELSEWHERE),
                (UDP, 53),
                "allow",
            ),
            (
                "wrong protocol",
                ("out", WEB, ELSEWHERE),
                (TCP, 53),
                "default",
            ),
            ("range, first", ("out", WEB, CLIENT), (TCP, 1000), "allow"),
            ("range, last", ("out", WEB, CLIENT), (TCP, 2000), "allow"),
            (
                "past the range",
                ("out", WEB, CLIENT),
                (TCP, 2001),
                "default",
            ),
            (
                "world is no namespace",
                ("out", WEB, WORLD),
                (UDP, 53),
                "default",
            ),
        ],
    );
}

#[test]
fn named_ports_are_those_of_the_pod_that_is_connected_to() {
    let ingress = "podSelector: {matchLabels: {app: web}}
ingress:
- ports: [{port: http}]";
    let egress = "podSelector: {matchLabels: {app: web}}
policyTypes: [Egress]
egress:
- ports: [{port: http}]";
    check(
        &(netpol("in", ingress) + &netpol("out", egress)),
        &[
            ("of the subject", ("in", WEB, CLIENT), (TCP, 8080), "allow"),
            ("another port", ("in", WEB, CLIENT), (TCP, 80), "default"),
            ("of the peer", ("out", WEB, API), (TCP, 8080), "allow"),
            (
                "a peer without it",
                ("out", WEB, CLIENT),
                (TCP, 8080),
                "default",
            ),
        ],
    );
}

#[test]
fn cilium_deny_beats_allow() {
    let spec = "ingress:
- fromEndpoints: [{}]
ingressDeny:
- fromEndpoints: [{matchLabels: {app: other}}]
  toPorts: [{ports: [{port: \"22\", protocol: TCP}]}]
- fromCIDR: [10.9.0.0/16]";
    check(
        &cilium("deny", spec),
        &[
            ("allowed", ("in", WEB, CLIENT), (TCP, 22), "allow"),
            ("denied port", ("in", WEB, OTHER), (TCP, 22), "deny"),
            ("other port", ("in", WEB, OTHER), (TCP, 80), "allow"),
            (
                "another namespace",
                ("in", WEB, ELSEWHERE),
                (TCP, 80),
                "default",
            ),
            ("denied prefix", ("in", WEB, "10.9.9.9"), (TCP, 80), "deny"),
            ("world", ("in", WEB, WORLD), (TCP, 80), "default"),
        ],
    );
}

#[test]
fn cilium_rules_without_peers_concern_everybody_on_their_ports() {
    let spec = "ingress:
- toPorts: [{ports: [{port: \"80\", protocol: TCP}, {port: \"53\", protocol: ANY}]}]
- fromEndpoints: [{matchLabels: {app: client}}]
- icmps: [{fields: [{type: EchoRequest}, {family: IPv6, type: 128}]}]
ingressDeny:
- fromEntities: [remote-node]
  toPorts: [{ports: [{port: \"80\"}]}]
egress:
- {}";
    check(
        &cilium("ports", spec),
        &[
            ("everybody", ("in", WEB, WORLD), (TCP, 80), "allow"),
            ("any protocol", ("in", WEB, WORLD), (UDP, 53), "allow"),
            ("not that port", ("in", WEB, WORLD), (TCP, 81), "default"),
            (
                "a peer with all ports",
                ("in", WEB, CLIENT),
                (TCP, 81),
                "allow",
            ),
            ("icmp type", ("in", WEB, WORLD), (ICMP, 8), "allow"),
            ("other icmp type", ("in", WEB, WORLD), (ICMP, 0), "default"),
            ("denied entity", ("in", WEB, "192.0.2.2"), (TCP, 80), "deny"),
            (
                "denied entity, allowed port",
                ("in", WEB, "192.0.2.2"),
                (TCP, 53),
                "allow",
            ),
            (
                "an empty rule allows nobody",
                ("out", WEB, CLIENT),
                (TCP, 80),
                "default",
            ),
        ],
    );
}

#[test]
fn cilium_entities_mean_what_they_say() {
    let spec = "egress:
- toEntities: [cluster]
- toEntities: [world]
  toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]
- toCIDRSet: [{cidr: 9.0.0.0/8, except: [9.9.0.0/16]}]
ingress:
- fromEntities: [all]";
    check(
        &cilium("entities", spec),
        &[
            ("pod", ("out", WEB, ELSEWHERE), (TCP, 1), "allow"),
            ("host", ("out", WEB, "192.0.2.1"), (TCP, 1), "allow"),
            ("remote node", ("out", WEB, "192.0.2.2"), (TCP, 1), "allow"),
            (
                "world on its port",
                ("out", WEB, WORLD),
                (TCP, 443),
                "allow",
            ),
            ("world", ("out", WEB, WORLD), (TCP, 80), "default"),
            (
                "prefix is world too",
                ("out", WEB, "9.9.9.9"),
                (TCP, 443),
                "allow",
            ),
            ("prefix", ("out", WEB, "9.1.1.1"), (TCP, 80), "allow"),
            (
                "carved out of it",
                ("out", WEB, "9.9.9.9"),
                (TCP, 80),
                "default",
            ),
            ("all", ("in", WEB, WORLD), (UDP, 1), "allow"),
        ],
    );
}

#[test]
fn enable_default_deny_false_leaves_the_rest_open() {
    let spec = "enableDefaultDeny: {ingress: false}
ingressDeny:
- fromEndpoints: [{matchLabels: {app: other}}]";
    check(
        &cilium("careful", spec),
        &[
            ("denied", ("in", WEB, OTHER), (TCP, 80), "deny"),
            ("not named", ("in", WEB, WORLD), (TCP, 80), "allow"),
            ("other direction", ("out", WEB, OTHER), (TCP, 80), "open"),
        ],
    );
}

#[test]
fn services_stand_for_their_backends() {
    let spec = "egress:
- toServices:
  - k8sService: {serviceName: db, namespace: default}
  toPorts: [{ports: [{port: \"5432\", protocol: TCP}]}]
- toServices:
  - k8sServiceSelector: {selector: {matchLabels: {role: cache}}}";
    let cache = service("cache", "10.96.0.2", "")
        .replace("name: cache", "name: cache\n  labels: {role: cache}");
    let text = cilium("services", spec)
        + &service("db", "10.96.0.1", "")
        + &slice("db", &[(CLIENT, ""), ("198.51.100.7", "")])
        + &cache
        + &slice("cache", &[(OTHER, "")]);
    check(
        &text,
        &[
            ("pod behind it", ("out", WEB, CLIENT), (TCP, 5432), "allow"),
            ("wrong port", ("out", WEB, CLIENT), (TCP, 80), "default"),
            (
                "backend outside",
                ("out", WEB, "198.51.100.7"),
                (TCP, 5432),
                "allow",
            ),
            (
                "its neighbour",
                ("out", WEB, "198.51.100.8"),
                (TCP, 5432),
                "default",
            ),
            (
                "by labels of the service",
                ("out", WEB, OTHER),
                (UDP, 9),
                "allow",
            ),
        ],
    );
}

#[test]
fn clusterwide_policies_see_all_namespaces_but_only_pods() {
    let spec = "ingress:
- fromEndpoints: [{}]
egress:
- toEndpoints: [{matchLabels: {\"k8s:io.kubernetes.pod.namespace\": prod}}]
- toEndpoints: [{matchLabels: {\"reserved:host\": \"\"}}]";
    check(
        &clusterwide("wide", spec),
        &[
            ("any namespace", ("in", WEB, ELSEWHERE), (TCP, 80), "allow"),
            (
                "world is no endpoint",
                ("in", WEB, WORLD),
                (TCP, 80),
                "default",
            ),
            (
                "the namespace named",
                ("out", WEB, ELSEWHERE),
                (TCP, 80),
                "allow",
            ),
            ("another one", ("out", WEB, CLIENT), (TCP, 80), "default"),
            (
                "a reserved label",
                ("out", WEB, "192.0.2.1"),
                (TCP, 80),
                "allow",
            ),
        ],
    );
}

#[test]
fn overlapping_prefixes_match_every_rule_around_them() {
    let spec = "egress:
- toCIDR: [8.0.0.0/8]
  toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]
- toCIDR: [8.8.0.0/16]
  toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]
egressDeny:
- toCIDR: [8.8.8.8/32]
  toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]
- toCIDR: [\"2001:db8:1::/48\"]";
    check(
        &cilium("prefixes", spec),
        &[
            ("outer", ("out", WEB, "8.1.1.1"), (TCP, 80), "allow"),
            (
                "outer, inner's port",
                ("out", WEB, "8.1.1.1"),
                (TCP, 443),
                "default",
            ),
            (
                "inner has both",
                ("out", WEB, "8.8.1.1"),
                (TCP, 80),
                "allow",
            ),
            ("inner's own", ("out", WEB, "8.8.1.1"), (TCP, 443), "allow"),
            ("innermost denied", ("out", WEB, WORLD), (TCP, 443), "deny"),
            (
                "innermost, outer's port",
                ("out", WEB, WORLD),
                (TCP, 80),
                "allow",
            ),
            ("IPv6", ("out", WEB, "2001:db8:1::1"), (TCP, 80), "deny"),
            (
                "beside it",
                ("out", WEB, "2001:db8:2::1"),
                (TCP, 80),
                "default",
            ),
        ],
    );
}

#[test]
fn a_verdict_leads_to_the_rule_in_its_file() {
    let compiler = compiler(&(pods() + &cilium("deny", "ingressDeny:\n- fromEntities: [world]")));
    let tables = compiler.tables();
    let key = PolicyKey {
        subject: tables.endpoint_of(ip(WEB)).identity,
        remote: 2,
        direction: Direction::Ingress,
        protocol: TCP,
        port: 80,
    };
    let rule = &tables.directory.rules[&tables.policy_lookup(&key).rule()];
    assert_eq!(
        (rule.path.as_str(), rule.peers.as_slice()),
        ("spec.ingressDeny[0]", &["world".to_owned()][..])
    );
    assert_eq!(rule.source.file.to_str(), Some("test.yaml"));
    assert_eq!(rule.policy.to_string(), "default/deny");
}
