//! What was compiled from the manifests, with its traffic.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Where something was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub file: String,
    /// Counts from 1; 0 = not known.
    pub line: u32,
}

/// One port of a Service: all frontends of it share `backends`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    /// Name of the port, empty when it has none.
    pub port_name: String,
    pub frontends: Vec<Frontend>,
    pub backends: Vec<Backend>,
    /// `nat` or `dsr`.
    pub forwarding: String,
    /// `last`, `open` or `closed`.
    pub fail_mode: String,
    /// Session affinity by client address; 0 = none.
    pub affinity_secs: u32,
    /// The rung of the L7 ladder; none = no worker sees the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l7: Option<L7Rung>,
    pub source: Source,
}

/// Why a service is where it is on the L7 ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct L7Rung {
    /// `in-kernel`, `splice`, or `in-kernel and splice` where some rules need a
    /// worker. The first request of a connection is always a worker's.
    pub rung: String,
    pub why: String,
    /// Why the kernel does not decide all; empty = it does.
    pub not_in_kernel: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frontend {
    pub address: IpAddr,
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// `cluster-ip`, `external-ip`, `load-balancer` or `node-port`.
    pub kind: String,
    /// Index in the table `services`.
    pub index: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    pub address: IpAddr,
    pub port: u16,
    pub protocol: String,
    /// Index in the table `backends`.
    pub index: u32,
    /// `ready`, `draining`, `unready` or `unhealthy`.
    pub state: String,
    pub local: bool,
    /// Name of the pod, empty when it is not known.
    pub pod: String,
    /// Of the ring's slots, in thousandths.
    pub share_permille: u32,
    pub traffic: Traffic,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub packets_to: u64,
    pub bytes_to: u64,
    pub packets_from: u64,
    pub bytes_from: u64,
    /// Opened since the backend came into the table.
    pub connections: u64,
    /// Open now, from the flow table.
    pub live_connections: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    Ingress,
    Egress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleVerdict {
    Allow,
    Deny,
}

/// One policy document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub kind: String,
    /// Empty for a policy of the whole cluster.
    pub namespace: String,
    pub name: String,
    /// Names of the pods of this host that it selects.
    pub selects: Vec<String>,
    /// Directions in which it makes those pods default deny.
    pub directions: Vec<Direction>,
    pub rules: Vec<PolicyRule>,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// As the tables count it.
    pub number: u32,
    pub direction: Direction,
    pub verdict: RuleVerdict,
    /// Whom it names, readable: `app=web`, `10.0.0.0/8 except 10.1.0.0/16`, `world`.
    pub peers: Vec<String>,
    /// `tcp/80`, `udp/1000-2000`, `icmp/8`; empty = all.
    pub ports: Vec<String>,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub number: u32,
    /// Of a reserved identity or a prefix, else empty: `world`, `cidr:10.0.0.0/8`.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub addresses: Vec<String>,
    /// Workload interfaces of this host that carry it.
    pub ifaces: Vec<String>,
    pub ingress_enforced: bool,
    pub egress_enforced: bool,
}

/// Labels for people: those of the pod, then its namespace in parentheses.
/// Labels that the mesh adds for policies of Cilium are left out.
pub fn short_labels(labels: &BTreeMap<String, String>) -> String {
    let own = labels.iter().filter(|(key, _)| !key.starts_with("io."));
    let own: Vec<String> = own.map(|(key, value)| format!("{key}={value}")).collect();
    match (own.is_empty(), labels.get(terrace_mesh::NAMESPACE_LABEL)) {
        (true, None) => "(no labels)".into(),
        (true, Some(namespace)) => format!("({namespace})"),
        (false, None) => own.join(","),
        (false, Some(namespace)) => format!("{} ({namespace})", own.join(",")),
    }
}
