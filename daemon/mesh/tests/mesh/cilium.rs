//! Cilium's policies.

use terrace_mesh::{Direction, PolicyKey};

use crate::policy::{
    CLIENT, ELSEWHERE, ICMP, OTHER, TCP, UDP, WEB, WORLD, check, cilium, clusterwide, pods,
};
use crate::support::{compiler, ip, service, slice};

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
