//! Names for the numbers in the tables: what people see, and what the daemon
//! needs to know about services (health checks). The kernel has none of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::error::Origin;
use crate::objects::{
    Direction, FailMode, Forwarding, FrontendKind, HealthCheck, Labels, NoBackend, ObjectName,
    PolicyKind, Protocol,
};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// By index in `services`.
    pub frontends: BTreeMap<u32, Frontend>,
    /// By group, which is the index of the ring too.
    pub pools: BTreeMap<u32, Pool>,
    /// By index in `backends`.
    pub backends: BTreeMap<u32, Backend>,
    /// Prefixes of the address table.
    pub addresses: BTreeMap<IpNet, Address>,
    pub identities: BTreeMap<u32, Identity>,
    /// By rule number, as in policy values.
    pub rules: BTreeMap<u32, Rule>,
    /// Numbers of the rules whose HTTP rules are a set, by its number.
    pub rule_sets: BTreeMap<u32, Vec<u32>>,
    pub policies: Vec<Policy>,
    /// Rules of routes by their number.
    pub route_rules: BTreeMap<u32, RouteRule>,
}

impl Directory {
    /// The rule that a policy value names; of a rule set the first.
    pub fn rule(&self, number: u32) -> Option<&Rule> {
        let of_set = || self.rules.get(self.rule_sets.get(&number)?.first()?);
        self.rules.get(&number).or_else(of_set)
    }
}

/// Where something was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub file: PathBuf,
    pub line: u32,
}

impl From<&Origin> for Source {
    fn from(origin: &Origin) -> Self {
        Self {
            file: origin.file.to_path_buf(),
            line: origin.line,
        }
    }
}

/// One address, port and protocol of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontend {
    pub service: ObjectName,
    pub address: IpAddr,
    pub port: u16,
    pub protocol: Protocol,
    pub kind: FrontendKind,
    pub pool: u32,
}

/// The backends of one port of a Service in one address family: those of
/// this host only when `local_only`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub service: ObjectName,
    pub port_name: String,
    pub protocol: Protocol,
    pub is_v6: bool,
    pub local_only: bool,
    pub forwarding: Forwarding,
    pub fail_mode: FailMode,
    pub no_backend: NoBackend,
    pub affinity_secs: u32,
    pub maglev_size: u32,
    pub health_check: Option<HealthCheck>,
    /// Indexes in `backends`.
    pub backends: Vec<u32>,
    pub source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    Ready,
    Draining,
    Unready,
    Unhealthy,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    pub address: IpAddr,
    pub port: u16,
    pub protocol: Protocol,
    pub pool: u32,
    pub weight: u16,
    pub state: BackendState,
    /// A workload of this host, or the host itself.
    pub local: bool,
    /// Name of the pod, empty when not known.
    pub pod: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Index in `endpoints`.
    pub endpoint: u32,
    pub identity: u32,
    /// The pod, when it is one.
    pub pod: Option<ObjectName>,
    /// The host side of a workload of this host.
    pub interface: Option<String>,
}

/// A reserved identity, one for labels, or one for a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `host`, `world`, `cidr:10.0.0.0/8`; empty for labels.
    pub name: String,
    pub labels: Labels,
    /// Some workload of this host has it and is under policy, by direction.
    pub enforced: [bool; 2],
}

/// A rule as `terrace explain` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub policy: ObjectName,
    pub kind: PolicyKind,
    pub direction: Direction,
    pub deny: bool,
    /// `spec.ingress[0]`.
    pub path: String,
    pub peers: Vec<String>,
    /// `tcp/80`, `udp/1000-2000`; empty = all.
    pub ports: Vec<String>,
    pub source: Source,
}

/// A rule of an HTTPRoute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRule {
    pub route: ObjectName,
    /// `spec.rules[0]`.
    pub path: String,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub name: ObjectName,
    pub kind: PolicyKind,
    /// Pods of this host that it selects.
    pub selects: Vec<ObjectName>,
    /// Directions in which it makes them default deny.
    pub directions: Vec<Direction>,
    /// Numbers of its rules.
    pub rules: Vec<u32>,
    pub source: Source,
}
