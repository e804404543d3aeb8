//! What the compiler must know about the host. The daemon finds it out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use terrace_abi::Limits;

use crate::maglev;
use crate::objects::{FailMode, NoBackend};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// As in `spec.nodeName` and `endpoints[].nodeName`.
    pub node_name: String,
    /// Addresses of the host itself: identity host, and where node ports are.
    pub addresses: Vec<IpAddr>,
    pub interfaces: BTreeMap<String, InterfaceFact>,
    /// Addresses of other hosts of the cluster: identity remote-node.
    pub remote_nodes: Vec<IpAddr>,
    /// Where pods are that no manifest names: identity unmanaged.
    pub cluster_cidrs: Vec<IpNet>,
    pub cluster_name: String,
    /// Sources that are dropped first.
    pub deny: Arc<[IpNet]>,
    pub limits: Limits,
    /// The L7 tier runs here; without it HTTP rules and routes are refused.
    pub l7: bool,
    /// For services that do not say; a prime.
    pub maglev_size: u32,
    /// For services that do not say.
    pub no_backend: NoBackend,
    /// For services that do not say.
    pub fail_mode: FailMode,
    /// Backends that failed their health check.
    pub unhealthy: BTreeSet<(IpAddr, u16)>,
}

/// The host side of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceFact {
    pub ifindex: u32,
    pub mac: [u8; 6],
    /// Of the workload's side, by its address; left out while not known.
    pub peer_macs: BTreeMap<IpAddr, [u8; 6]>,
}

impl Default for HostFacts {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            addresses: Vec::new(),
            interfaces: BTreeMap::new(),
            remote_nodes: Vec::new(),
            cluster_cidrs: Vec::new(),
            cluster_name: "default".to_owned(),
            deny: Arc::default(),
            limits: Limits::default(),
            l7: false,
            maglev_size: maglev::DEFAULT_SIZE,
            no_backend: NoBackend::default(),
            fail_mode: FailMode::default(),
            unhealthy: BTreeSet::new(),
        }
    }
}
