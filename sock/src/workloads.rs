//! The workloads that have a proxy, with their lists, as the programs read
//! them.
//!
//! A version of a workload's lists is written whole under a new number before
//! the workload's entry names it; what no entry names is removed last. So a
//! connect() sees the old lists or the new ones, and what an earlier daemon
//! left is found and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use terrace_abi::consts::{
    NETS_EXCLUDED, NETS_INCLUDED, PORTS_INBOUND_EXCLUDED, PORTS_INBOUND_INCLUDED,
    PORTS_OUTBOUND_EXCLUDED, PORTS_OUTBOUND_INCLUDED, PROXY_NET_HEAD_BITS, WORKLOAD_ALL_INBOUND,
    WORKLOAD_ALL_NETS, WORKLOAD_BY_CGROUP, WORKLOAD_BY_NETNS, WORKLOAD_DNS, WORKLOAD_FAIL_DIRECT,
    WORKLOAD_INBOUND, WORKLOAD_OUTBOUND, WORKLOAD_PROXY_CGROUP, WORKLOAD_PROXY_GID,
    WORKLOAD_PROXY_MARK, WORKLOAD_PROXY_UID,
};
use terrace_abi::hash::{address_bytes, address_words};
use terrace_abi::{Plain as _, types};

use crate::{Error, Own};

/// How a workload is told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// By the cookie of its network namespace.
    Netns(u64),
    /// By the number of its cgroup.
    Cgroup(u64),
}

/// Which connections are redirected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    /// To every address; else to `nets_included` only.
    pub all_nets: bool,
    pub nets_included: Vec<IpNet>,
    pub nets_excluded: Vec<IpNet>,
    /// Ports that are redirected whatever their address.
    pub outbound_included: Vec<u16>,
    pub outbound_excluded: Vec<u16>,
    /// To every port of the workload; else to `inbound_included` only.
    pub all_inbound: bool,
    pub inbound_included: Vec<u16>,
    pub inbound_excluded: Vec<u16>,
}

/// The proxy of a workload, and how its own sockets are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// 0 = what goes out is not redirected.
    pub outbound_port: u16,
    /// 0 = what comes in is not redirected.
    pub inbound_port: u16,
    /// 0 = DNS is not redirected.
    pub dns_port: u16,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mark: Option<u32>,
    /// Number of its cgroup.
    pub cgroup: Option<u64>,
    /// When it does not listen: connect without it, instead of refusing.
    pub fail_direct: bool,
}

impl Default for Proxy {
    /// Istio's Envoy.
    fn default() -> Self {
        Self {
            outbound_port: 15_001,
            inbound_port: 15_006,
            dns_port: 0,
            uid: Some(1337),
            gid: Some(1337),
            mark: None,
            cgroup: None,
            fail_direct: false,
        }
    }
}

/// A workload with a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub key: Key,
    /// Cookie of its network namespace.
    pub netns: u64,
    pub addresses: BTreeSet<IpAddr>,
    pub lists: Lists,
    pub proxy: Proxy,
    /// The caller's own, shown again by `explain`.
    pub number: u32,
}

/// Writes workloads. Only one process at a time may.
#[derive(Debug, Default)]
pub struct Workloads {
    held: Vec<Held>,
    /// The latest number of lists; 0 = not known yet.
    rules: u32,
}

#[derive(Debug, Clone)]
struct Held {
    workload: Workload,
    rules: u32,
}

impl Workloads {
    /// Makes the tables say `wanted`. True if something changed.
    pub fn sync(&mut self, own: &Own, wanted: &[Workload]) -> Result<bool, Error> {
        let first = self.rules == 0;
        if first {
            self.rules = latest_rules(own)?;
        }
        let same = self.held.iter().map(|held| &held.workload).eq(wanted);
        if same && !first {
            return Ok(false);
        }
        let mut next = Vec::with_capacity(wanted.len());
        for workload in wanted {
            let old = self.held.iter().find(|held| held.workload == *workload);
            next.push(match old {
                Some(held) => held.clone(),
                None => self.write(own, workload)?,
            });
        }
        self.held = next;
        self.remove_others(own)?;
        Ok(true)
    }

    fn write(&mut self, own: &Own, workload: &Workload) -> Result<Held, Error> {
        self.rules = self.rules.wrapping_add(1).max(1);
        let rules = self.rules;
        for (list, ports) in port_lists(&workload.lists) {
            for port in ports {
                let key = port_key(rules, list, *port);
                own.put("proxy_ports", key.as_bytes(), &1u32.to_ne_bytes())?;
            }
        }
        for (list, nets) in net_lists(&workload.lists) {
            for net in nets {
                let key = net_key(rules, list, *net);
                own.put("proxy_nets", key.as_bytes(), &1u32.to_ne_bytes())?;
            }
        }
        let record = record(workload, rules);
        if workload.proxy.inbound_port != 0 && matches!(workload.key, Key::Netns(_)) {
            for address in &workload.addresses {
                own.put("inbound", &address_bytes(*address), record.as_bytes())?;
            }
        }
        own.put("workloads", key(workload.key).as_bytes(), record.as_bytes())?;
        Ok(Held {
            workload: workload.clone(),
            rules,
        })
    }

    fn remove_others(&self, own: &Own) -> Result<(), Error> {
        let workloads = self.held.iter().map(|held| &held.workload);
        let keys: BTreeSet<Vec<u8>> = workloads
            .clone()
            .map(|workload| key(workload.key).as_bytes().to_vec())
            .collect();
        retain(own, "workloads", |key| keys.contains(key))?;
        let addresses: BTreeSet<Vec<u8>> = workloads
            .flat_map(|workload| &workload.addresses)
            .map(|address| address_bytes(*address).to_vec())
            .collect();
        retain(own, "inbound", |key| addresses.contains(key))?;
        let rules: BTreeSet<u32> = self.held.iter().map(|held| held.rules).collect();
        retain(own, "proxy_ports", |key| rules.contains(&port_rules(key)))?;
        retain(own, "proxy_nets", |key| rules.contains(&net_rules(key)))
    }

    /// The workloads that were written last.
    pub fn held(&self) -> impl Iterator<Item = &Workload> {
        self.held.iter().map(|held| &held.workload)
    }
}

fn retain(own: &Own, map: &'static str, keep: impl Fn(&Vec<u8>) -> bool) -> Result<(), Error> {
    for key in own.keys(map)?.iter().filter(|key| !keep(key)) {
        own.remove(map, key)?;
    }
    Ok(())
}

/// The highest number that lists of an earlier daemon have.
fn latest_rules(own: &Own) -> Result<u32, Error> {
    let ports = own.keys("proxy_ports")?;
    let nets = own.keys("proxy_nets")?;
    let ports = ports.iter().map(|key| port_rules(key));
    let nets = nets.iter().map(|key| net_rules(key));
    let used = own.values("workloads")?;
    let used = used
        .iter()
        .filter_map(|value| types::workload::from_bytes(value));
    let used = used.map(|workload| workload.rules);
    Ok(ports.chain(nets).chain(used).max().unwrap_or(0))
}

fn port_rules(key: &[u8]) -> u32 {
    types::proxy_port_key::from_bytes(key).map_or(0, |key| key.rules)
}

fn net_rules(key: &[u8]) -> u32 {
    types::proxy_net_key::from_bytes(key).map_or(0, |key| key.rules)
}

fn port_lists(lists: &Lists) -> [(u32, &[u16]); 4] {
    [
        (PORTS_OUTBOUND_INCLUDED, &lists.outbound_included),
        (PORTS_OUTBOUND_EXCLUDED, &lists.outbound_excluded),
        (PORTS_INBOUND_INCLUDED, &lists.inbound_included),
        (PORTS_INBOUND_EXCLUDED, &lists.inbound_excluded),
    ]
}

fn net_lists(lists: &Lists) -> [(u32, &[IpNet]); 2] {
    [
        (NETS_INCLUDED, &lists.nets_included),
        (NETS_EXCLUDED, &lists.nets_excluded),
    ]
}

fn port_key(rules: u32, list: u32, port: u16) -> types::proxy_port_key {
    types::proxy_port_key {
        rules,
        port: port.to_be(),
        list: list as u8,
        ..Default::default()
    }
}

fn net_key(rules: u32, list: u32, net: IpNet) -> types::proxy_net_key {
    let bits = match net {
        IpNet::V4(net) => 96 + u32::from(net.prefix_len()),
        IpNet::V6(net) => u32::from(net.prefix_len()),
    };
    types::proxy_net_key {
        bits: PROXY_NET_HEAD_BITS + bits,
        rules,
        list,
        addr: address_words(&address_bytes(net.network())),
    }
}

fn key(key: Key) -> types::workload_key {
    let (id, kind) = match key {
        Key::Netns(cookie) => (cookie, WORKLOAD_BY_NETNS),
        Key::Cgroup(id) => (id, WORKLOAD_BY_CGROUP),
    };
    types::workload_key { id, kind, pad: 0 }
}

fn record(workload: &Workload, rules: u32) -> types::workload {
    let (proxy, lists) = (&workload.proxy, &workload.lists);
    let flags: BTreeMap<u32, bool> = [
        (WORKLOAD_OUTBOUND, proxy.outbound_port != 0),
        (WORKLOAD_INBOUND, proxy.inbound_port != 0),
        (WORKLOAD_DNS, proxy.dns_port != 0),
        (WORKLOAD_ALL_NETS, lists.all_nets),
        (WORKLOAD_ALL_INBOUND, lists.all_inbound),
        (WORKLOAD_FAIL_DIRECT, proxy.fail_direct),
        (WORKLOAD_PROXY_CGROUP, proxy.cgroup.is_some()),
        (WORKLOAD_PROXY_UID, proxy.uid.is_some()),
        (WORKLOAD_PROXY_GID, proxy.gid.is_some()),
        (WORKLOAD_PROXY_MARK, proxy.mark.is_some()),
    ]
    .into();
    let of_family = |v4| {
        let mut addresses = workload.addresses.iter();
        let found = addresses.find(|address| address.is_ipv4() == v4);
        found.map_or([0; 4], |address| address_words(&address_bytes(*address)))
    };
    types::workload {
        rules,
        flags: flags
            .iter()
            .filter(|(_, set)| **set)
            .map(|(flag, _)| flag)
            .sum(),
        addr4: of_family(true),
        addr6: of_family(false),
        netns: workload.netns,
        proxy_cgroup: proxy.cgroup.unwrap_or(0),
        proxy_uid: proxy.uid.unwrap_or(0),
        proxy_gid: proxy.gid.unwrap_or(0),
        proxy_mark: proxy.mark.unwrap_or(0),
        outbound_port: proxy.outbound_port.to_be(),
        inbound_port: proxy.inbound_port.to_be(),
        dns_port: proxy.dns_port.to_be(),
        number: workload.number,
        ..Default::default()
    }
}
