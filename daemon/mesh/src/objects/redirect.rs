//! What of a pod's traffic goes to its proxy.

use ipnet::IpNet;

/// The redirect of a pod that has a proxy. Words and order are Istio's: what is
/// excluded is never redirected; a port that is included is, whatever its
/// address; else the addresses decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redirect {
    /// Every address; else those of `outbound_nets`.
    pub all_outbound: bool,
    pub outbound_nets: Vec<IpNet>,
    pub outbound_nets_excluded: Vec<IpNet>,
    pub outbound_ports: Vec<u16>,
    pub outbound_ports_excluded: Vec<u16>,
    /// Every port; else those of `inbound_ports`.
    pub all_inbound: bool,
    pub inbound_ports: Vec<u16>,
    pub inbound_ports_excluded: Vec<u16>,
    /// Also queries to port 53; `None` = as terrace.toml says.
    pub dns: Option<bool>,
    /// The workload is this cgroup, not a network namespace: a folder.
    pub cgroup: Option<String>,
    /// The proxy is in this cgroup: a folder.
    pub proxy_cgroup: Option<String>,
}
