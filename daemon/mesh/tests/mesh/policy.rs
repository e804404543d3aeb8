//! Policy: what the tables answer for a packet between two addresses.

use terrace_mesh::{Direction, PolicyKey, Tables};

use crate::support::{compiler, ip, pod, workload};

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
pub const API: &str = "10.0.1.2";
pub const CLIENT: &str = "10.0.2.1";
pub const OTHER: &str = "10.0.2.2";
pub const ELSEWHERE: &str = "10.0.3.1";
pub const WORLD: &str = "8.8.8.8";

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

pub fn clusterwide(name: &str, spec: &str) -> String {
    cilium(name, spec).replace("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
}

pub type Row<'r> = (&'r str, (&'r str, &'r str, &'r str), (u8, u16), &'r str);

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;

pub fn check(policies: &str, rows: &[Row<'_>]) {
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
fn the_directory_says_at_once_what_is_enforced() {
    let text = workload("web", "10.0.1.1", "veth-web", "{app: web}")
        + "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\nspec:\n  podSelector: {matchLabels: {app: web}}\n  policyTypes: [Ingress]\n";
    let compiler = compiler(&text);
    let tables = compiler.tables();
    let identity = tables.endpoint_of(ip("10.0.1.1")).identity;
    let enforced = tables.directory.identities[&identity].enforced;
    assert_eq!(enforced, [true, false]);
}
