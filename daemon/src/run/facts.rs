//! What the compiler and the programs must know about this host, from the
//! network and the configuration. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use terrace_abi::hash::{address_bytes, address_words};
use terrace_abi::{Limits, consts, types};
use terrace_mesh::{HostFacts, InterfaceFact};

use crate::api::Role;
use crate::config::{Config, FailMode, NoBackend};
use crate::netlink::{Link, Network};

/// The interfaces that the configuration has a rule for, by ifindex.
pub fn wanted(config: &Config, network: &Network) -> BTreeMap<u32, (Link, Role)> {
    let links = network.links.values();
    links
        .filter_map(|link| {
            let rule = config.rule_of(&link.name)?;
            Some((link.ifindex, (link.clone(), rule.role)))
        })
        .collect()
}

/// Everything but the manifests that the tables depend on.
pub fn host_facts(
    config: &Config,
    network: &Network,
    limits: &Limits,
    deny: &Arc<[IpNet]>,
    unhealthy: impl Iterator<Item = SocketAddr>,
) -> HostFacts {
    let workloads = wanted(config, network)
        .into_values()
        .filter(|(_, role)| *role == Role::Workload);
    HostFacts {
        node_name: config.node_name.clone(),
        addresses: own_addresses(network),
        interfaces: workloads
            .map(|(link, _)| (link.name.clone(), interface_fact(&link, network)))
            .collect(),
        remote_nodes: config.remote_nodes.clone(),
        cluster_cidrs: config.cluster_cidrs.clone(),
        deny: Arc::clone(deny),
        limits: *limits,
        maglev_size: config.services.maglev_size,
        no_backend: match config.services.no_backend {
            NoBackend::Reject => terrace_mesh::NoBackend::Reject,
            NoBackend::Drop => terrace_mesh::NoBackend::Drop,
        },
        fail_mode: fail_mode(config),
        unhealthy: unhealthy.map(|a| (a.ip(), a.port())).collect(),
        l7: config.l7.enabled,
        ..HostFacts::default()
    }
}

/// Of services that do not say.
fn fail_mode(config: &Config) -> terrace_mesh::FailMode {
    match config.services.fail_mode {
        FailMode::Last => terrace_mesh::FailMode::Last,
        FailMode::Open => terrace_mesh::FailMode::Open,
        FailMode::Closed => terrace_mesh::FailMode::Closed,
    }
}

fn interface_fact(link: &Link, network: &Network) -> InterfaceFact {
    InterfaceFact {
        ifindex: link.ifindex,
        mac: link.mac,
        peer_macs: network.macs_of(link.ifindex).collect(),
    }
}

/// Of all interfaces, once each; none that only this host or link can use.
fn own_addresses(network: &Network) -> Vec<IpAddr> {
    let all = network.addresses.keys().map(|(_, address)| *address);
    let own: BTreeSet<_> = all.filter(|address| is_routable(*address)).collect();
    own.into_iter().collect()
}

fn is_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}

/// An interface as the programs know it.
pub fn iface(link: &Link, role: Role, prefilter_hook: u32, network: &Network) -> types::iface {
    let [addr4, addr6] = sources(&addresses_of(link, network));
    types::iface {
        ifindex: link.ifindex,
        role: match role {
            Role::Uplink => consts::ROLE_UPLINK as u8,
            Role::Workload => consts::ROLE_WORKLOAD as u8,
        },
        prefilter_hook: prefilter_hook as u8,
        mac: link.mac,
        mtu: link.mtu,
        addr4,
        addr6,
        // XDP_TX on a veth waits in the peer's ring until something else wakes it.
        flags: if link.kind == "veth" {
            consts::IFACE_REDIRECT_BACK
        } else {
            0
        },
        ..types::iface::default()
    }
}

fn addresses_of(link: &Link, network: &Network) -> Vec<IpAddr> {
    network.addresses_of(link.ifindex).map(|(a, _)| a).collect()
}

/// The first routable address of each family, as words; zeroes for none.
fn sources(addresses: &[IpAddr]) -> [[u32; 4]; 2] {
    let first = |is_v4: bool| {
        let mut of_family = addresses.iter().filter(|a| a.is_ipv4() == is_v4);
        let found = of_family.find(|address| is_routable(**address));
        found.map_or([0; 4], |address| address_words(&address_bytes(*address)))
    };
    [first(true), first(false)]
}

/// The programs' configuration. What the tables need for themselves (seed,
/// revisions, clock) is kept from `current`.
pub fn kernel_config(
    config: &Config,
    network: &Network,
    deny_list: bool,
    current: &types::config,
) -> types::config {
    let jiffies = |time: Duration| {
        let jiffies = time.as_millis() * u128::from(current.hz) / 1000;
        u32::try_from(jiffies).unwrap_or(i32::MAX as u32).max(1)
    };
    let flag = |on: bool, flag: u32| if on { flag } else { 0 };
    let uplinks_first = |(link, role): &(Link, Role)| (*role != Role::Uplink, link.ifindex);
    let mut interfaces: Vec<_> = wanted(config, network).into_values().collect();
    interfaces.sort_by_key(uplinks_first);
    let addresses: Vec<_> = interfaces
        .iter()
        .flat_map(|(link, _)| addresses_of(link, network))
        .collect();
    let [host_addr4, host_addr6] = sources(&addresses);
    types::config {
        heartbeat_timeout: jiffies(config.services.heartbeat_timeout),
        flags: flag(deny_list, consts::CONFIG_DENY_LIST)
            | flag(config.policy.check_source, consts::CONFIG_CHECK_SOURCE)
            | flag(
                config.policy.allow_host_ingress,
                consts::CONFIG_HOST_INGRESS,
            )
            | flag(config.services.answer_echo, consts::CONFIG_ANSWER_ECHO),
        snat_port_min: *config.services.snat_ports.start(),
        snat_port_max: *config.services.snat_ports.end(),
        timeouts: config.timeouts.by_state().map(jiffies),
        host_addr4,
        host_addr6,
        ..*current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Change;
    use std::path::Path;

    const CONFIG: &str = r#"
        [[interfaces]]
        match = "up0"
        role = "uplink"
        [[interfaces]]
        match = "w*"
        role = "workload"
    "#;

    fn config() -> Config {
        Config::parse(Path::new("terrace.toml"), CONFIG).unwrap()
    }

    fn network() -> Network {
        let mut network = Network::default();
        for (ifindex, name) in [(1, "lo"), (2, "w0"), (3, "up0")] {
            network.apply(Change::Link(Link {
                ifindex,
                name: name.into(),
                mac: [2, 0, 0, 0, 0, ifindex as u8],
                mtu: 1500,
                up: true,
                ..Link::default()
            }));
        }
        for (ifindex, address) in [
            (1, "127.0.0.1"),
            (1, "::1"),
            (2, "10.40.0.1"),
            (2, "fe80::2"),
            (3, "10.10.0.2"),
            (3, "fe80::3"),
            (3, "fd00::2"),
        ] {
            network.apply(Change::Address {
                ifindex,
                address: address.parse().unwrap(),
                prefix_len: 24,
            });
        }
        network
    }

    fn words(address: &str) -> [u32; 4] {
        address_words(&address_bytes(address.parse().unwrap()))
    }

    #[test]
    fn loopback_and_link_local_addresses_are_not_the_hosts_to_others() {
        let facts = host_facts(
            &config(),
            &network(),
            &Limits::small(),
            &Arc::default(),
            std::iter::empty(),
        );
        let shown: Vec<_> = facts.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.10.0.2", "10.40.0.1", "fd00::2"]);
        assert_eq!(facts.interfaces.keys().collect::<Vec<_>>(), ["w0"]);
    }

    #[test]
    fn the_hosts_own_source_is_that_of_its_uplink() {
        let current = terrace_abi::default_config(250);
        let kernel = kernel_config(&config(), &network(), true, &current);
        assert_eq!(kernel.host_addr4, words("10.10.0.2"));
        assert_eq!(kernel.host_addr6, words("fd00::2"));
        assert_eq!(kernel.hash_seed, current.hash_seed);
        assert_ne!(kernel.flags & consts::CONFIG_DENY_LIST, 0);
        assert_eq!(kernel.heartbeat_timeout, 5 * 250);
        let off = kernel_config(&config(), &network(), false, &current);
        assert_eq!(off.flags & consts::CONFIG_DENY_LIST, 0);
    }

    #[test]
    fn an_interface_has_the_addresses_that_others_can_answer_to() {
        let network = network();
        let of = |ifindex: u32| {
            let link = &network.links[&ifindex];
            iface(link, Role::Workload, consts::HOOK_XDP, &network)
        };
        assert_eq!(of(2).addr4, words("10.40.0.1"));
        assert_eq!(of(2).addr6, [0; 4]);
        assert_eq!(of(3).addr6, words("fd00::2"));
        assert_eq!(of(3).mac, [2, 0, 0, 0, 0, 3]);
    }
}
