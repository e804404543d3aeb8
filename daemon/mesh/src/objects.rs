//! What the documents say, after reading: plain values, every one valid by
//! itself. Policies of all kinds have one shape here.

mod http;
mod policy;
mod redirect;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Origin;

pub use http::*;
pub use policy::*;
pub use redirect::Redirect;

pub type Labels = BTreeMap<String, String>;

/// The label that carries a pod's namespace; Cilium's name for it.
pub const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
/// Prefix of the labels of a pod's namespace; Cilium's name for it.
pub const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";
/// The label that carries a pod's service account; Cilium's name for it.
pub const SERVICE_ACCOUNT_LABEL: &str = "io.cilium.k8s.policy.serviceaccount";
/// The label that carries the name of the cluster; Cilium's name for it.
pub const CLUSTER_LABEL: &str = "io.cilium.k8s.policy.cluster";

/// Namespace and name; the namespace is empty for kinds of the whole cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// A transport protocol that a Service may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// How packets reach a remote backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarding {
    #[default]
    Nat,
    Dsr,
}

/// What the programs do with new flows when the daemon is silent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailMode {
    #[default]
    Last,
    Open,
    Closed,
}

/// What a client of a service without ready backends gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoBackend {
    /// TCP RST or ICMP port unreachable.
    #[default]
    Reject,
    Drop,
}

/// How the daemon finds out whether a backend works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The path to GET; `None` = opening a TCP connection is enough.
    pub http_path: Option<String>,
    pub interval_ms: u64,
}

/// The kinds of addresses that a Service is reached at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrontendKind {
    ClusterIp,
    ExternalIp,
    LoadBalancer,
    NodePort,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: ObjectName,
    pub origin: Origin,
    pub labels: Labels,
    pub addresses: Vec<(IpAddr, FrontendKind)>,
    pub ports: Vec<ServicePort>,
    /// 0 = no affinity.
    pub affinity_secs: u32,
    pub internal_local: bool,
    pub external_local: bool,
    pub publish_not_ready: bool,
    pub forwarding: Forwarding,
    pub fail_mode: Option<FailMode>,
    pub no_backend: Option<NoBackend>,
    pub maglev_size: Option<u32>,
    pub weights: Weights,
    pub health_check: Option<HealthCheck>,
    /// TCP sockets of this host's processes end with their backend.
    pub terminate: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty for the only port of a Service.
    pub name: String,
    pub port: u16,
    pub node_port: Option<u16>,
    pub protocol: Protocol,
    pub line: u32,
}

/// Weights of backends: 1 unless said otherwise, 0 = drains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weights {
    pub all: Option<u16>,
    pub by_address: BTreeMap<IpAddr, u16>,
}

impl Weights {
    pub fn of(&self, address: IpAddr) -> Option<u16> {
        self.by_address.get(&address).copied().or(self.all)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub name: ObjectName,
    pub origin: Origin,
    pub service: ObjectName,
    pub ports: Vec<SlicePort>,
    pub endpoints: Vec<Endpoint>,
    pub weights: Weights,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicePort {
    pub name: String,
    pub port: u16,
    pub protocol: Protocol,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub address: IpAddr,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node: Option<String>,
    /// Name of the pod, empty when not known.
    pub pod: String,
    pub line: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub name: ObjectName,
    pub origin: Origin,
    pub labels: Labels,
    /// None for pods of the host's network and ones that ended.
    pub addresses: Vec<IpAddr>,
    pub node: Option<String>,
    pub interface: Option<String>,
    pub service_account: Option<String>,
    /// Name, protocol row (`PortRule::rows` bit) and number of container ports.
    pub named_ports: Vec<NamedPort>,
    /// `None` without a proxy.
    pub redirect: Option<Redirect>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    pub name: String,
    pub row: u8,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    pub name: String,
    pub origin: Origin,
    pub labels: Labels,
}

/// One document of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    Service(Arc<Service>),
    Slice(Arc<Slice>),
    Pod(Arc<Pod>),
    Namespace(Arc<Namespace>),
    Policy(Arc<Policy>),
    Route(Arc<Route>),
}
