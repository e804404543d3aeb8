//! Manifests for the rows, compiled as the daemon would.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::{Result, anyhow};
use ipnet::{IpNet, Ipv4Net};
use terrace_abi::Limits;
use terrace_mesh::{HostFacts, InterfaceFact, NoBackend, SourceFile, Tables, compile, parse};
use terrace_testkit::Topology;

pub const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
pub const SERVICE_PORT: u16 = 80;
/// The service of the local workload, and what that listens at.
pub const LOCAL_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 11);
pub const LOCAL_PORT: u16 = 8080;
/// Source ports of one backend address hold some 28,000 connections.
const BACKENDS: u8 = 128;
/// The first source that a policy rule names; the next ones follow.
pub const FIRST_RULE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
pub const RULE_PORT: u16 = 8000;
pub const RULE_PORTS: u32 = 16;

/// A service with remote backends only, one of the workload, and `n_rules`
/// policy rules for that. `ifindex` is the workload's interface.
pub fn tables(
    net: &Topology,
    ifindex: u32,
    n_rules: u32,
    deny: Vec<IpNet>,
    old: &Tables,
) -> Result<Tables> {
    let text = service() + &workload(net) + &policies(n_rules);
    let file = SourceFile {
        path: "bench.yaml".into(),
        text,
    };
    let manifests = parse(&[file]).map_err(|errors| anyhow!("{errors}"))?;
    compile(
        &manifests,
        &facts(net, ifindex, deny, old.limits)?,
        Some(old),
    )
    .map_err(|errors| anyhow!("{errors}"))
}

fn facts(net: &Topology, ifindex: u32, deny: Vec<IpNet>, limits: Limits) -> Result<HostFacts> {
    let web = net.workload("web");
    let interface = InterfaceFact {
        ifindex,
        mac: web.host_mac,
        peer_macs: [(web.v4.into(), web.mac)].into(),
    };
    Ok(HostFacts {
        node_name: "node-1".to_owned(),
        addresses: vec![net.uplinks[0].v4.into()],
        interfaces: [(web.host_iface.clone(), interface)].into(),
        deny: deny.into(),
        limits,
        // An answer would change the packet's length.
        no_backend: NoBackend::Drop,
        ..HostFacts::default()
    })
}

fn service() -> String {
    let mut text = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: web }}\nspec:\n  clusterIP: {SERVICE}\n  ports: [{{ port: {SERVICE_PORT} }}]\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n  labels: {{ kubernetes.io/service-name: web }}\naddressType: IPv4\nports: [{{ port: 8080 }}]\nendpoints:\n"
    );
    for host in 0..BACKENDS {
        _ = writeln!(text, "- addresses: [10.30.0.{}]", host + 2);
    }
    text
}

fn workload(net: &Topology) -> String {
    let web = net.workload("web");
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  labels: {{ app: web }}\n  annotations: {{ terrace.io/interface: {} }}\nspec: {{ nodeName: node-1, containers: [{{ name: main }}] }}\nstatus: {{ podIP: {} }}\n---\napiVersion: v1\nkind: Service\nmetadata: {{ name: local }}\nspec:\n  clusterIP: {LOCAL_SERVICE}\n  ports: [{{ port: {SERVICE_PORT}, targetPort: {LOCAL_PORT} }}]\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: local-1\n  labels: {{ kubernetes.io/service-name: local }}\naddressType: IPv4\nports: [{{ port: {LOCAL_PORT} }}]\nendpoints: [{{ addresses: [{}] }}]\n",
        web.host_iface, web.v4, web.v4
    )
}

/// Rules of one source and one port each, 1,000 to a policy.
fn policies(n_rules: u32) -> String {
    rule_files(n_rules)
        .into_iter()
        .map(|(_, text)| text)
        .collect()
}

/// The same as files, each a policy.
pub fn rule_files(n_rules: u32) -> Vec<(String, String)> {
    const RULES: u32 = 1000;
    let one = |policy: u32| {
        let mut text = format!(
            "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{ name: deny-{policy} }}\nspec:\n  endpointSelector: {{ matchLabels: {{ app: web }} }}\n  ingressDeny:\n"
        );
        for rule in policy * RULES..((policy + 1) * RULES).min(n_rules) {
            let source = Ipv4Addr::from_bits(FIRST_RULE.to_bits() + rule);
            let port = u32::from(RULE_PORT) + rule % RULE_PORTS;
            _ = writeln!(
                text,
                "  - {{ fromCIDR: [{source}/32], toPorts: [{{ ports: [{{ port: \"{port}\", protocol: TCP }}] }}] }}"
            );
        }
        (format!("deny-{policy}.yaml"), text)
    };
    (0..n_rules.div_ceil(RULES)).map(one).collect()
}

/// `count` single addresses, scattered over all of IPv4.
pub fn deny_list(count: u32) -> Vec<IpNet> {
    (0..count)
        .map(|i| Ipv4Addr::from_bits(i.wrapping_mul(DENY_SCATTER)))
        .map(|address| IpNet::V4(Ipv4Net::from(address)))
        .collect()
}

/// Odd, so that no two of 2^32 addresses are the same.
pub const DENY_SCATTER: u32 = 0x9E37_79B1;
