//! Everybody that a rule can name: identities with their labels, addresses of
//! services' backends, ports that pods name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use terrace_abi::consts::{IDENTITY_HOST, IDENTITY_REMOTE_NODE};

use super::super::Host;
use super::super::identities::{Identities, RESERVED};
use super::super::model::Model;
use crate::objects::{Labels, NamedPort, ObjectName, Selector, Test};

#[derive(Debug)]
pub struct Universe<'m> {
    pub model: &'m Model,
    /// Identities of pods.
    pub pods: Vec<u32>,
    pub cidrs: &'m BTreeMap<IpNet, u32>,
    labels: BTreeMap<u32, Labels>,
    by_label: FxHashMap<(String, String), Vec<u32>>,
    named_ports: FxHashMap<u32, BTreeSet<NamedPort>>,
    addresses: FxHashMap<IpAddr, u32>,
}

impl<'m> Universe<'m> {
    pub fn new(
        model: &'m Model,
        host: &Host<'_>,
        identities: &Identities,
        (cidrs, all): (&'m BTreeMap<IpNet, u32>, bool),
    ) -> Self {
        let mut universe = Self {
            model,
            pods: identities.iter(all).map(|(number, _)| number).collect(),
            cidrs,
            labels: identities
                .iter(all)
                .map(|(number, traits)| (number, traits.labels.clone()))
                .collect(),
            by_label: FxHashMap::default(),
            named_ports: identities
                .iter(all)
                .filter(|(_, traits)| !traits.named_ports.is_empty())
                .map(|(number, traits)| (number, traits.named_ports.clone()))
                .collect(),
            addresses: FxHashMap::default(),
        };
        for (number, name) in RESERVED {
            let label = (format!("reserved:{name}"), String::new());
            universe.labels.insert(number, Labels::from([label]));
        }
        for number in cidrs.values() {
            let label = ("reserved:world".to_owned(), String::new());
            universe.labels.insert(*number, Labels::from([label]));
        }
        universe.index();
        universe.pods(host, identities);
        universe
    }

    fn index(&mut self) {
        for (number, labels) in &self.labels {
            for (key, value) in labels {
                let label = (key.clone(), value.clone());
                self.by_label.entry(label).or_default().push(*number);
            }
        }
    }

    fn pods(&mut self, host: &Host<'_>, identities: &Identities) {
        for pod in self.model.pods.values().flatten() {
            let Some(identity) = identities.of_pod(&pod.name) else {
                continue;
            };
            self.addresses
                .extend(pod.addresses.iter().map(|address| (*address, identity)));
        }
        let remote = host.facts.remote_nodes.iter();
        self.addresses
            .extend(remote.map(|address| (*address, IDENTITY_REMOTE_NODE)));
        let own = host.facts.addresses.iter();
        self.addresses
            .extend(own.map(|address| (*address, IDENTITY_HOST)));
    }

    /// The identities that a selector matches.
    pub fn select(&self, selector: &Selector) -> Vec<u32> {
        let pairs =
            selector
                .requirements
                .iter()
                .filter_map(|requirement| match &requirement.test {
                    Test::In(values) if values.len() == 1 => {
                        Some((requirement.key.clone(), values[0].clone()))
                    }
                    _ => None,
                });
        let empty = Vec::new();
        let fewest = pairs
            .map(|pair| self.by_label.get(&pair).unwrap_or(&empty))
            .min_by_key(|found| found.len());
        let matches = |number: &u32| selector.matches(&self.labels[number]);
        match fewest {
            Some(found) => found.iter().copied().filter(matches).collect(),
            None => self.labels.keys().copied().filter(matches).collect(),
        }
    }

    /// The prefixes inside `net` and outside `except`, as identities.
    pub fn inside(&self, net: &IpNet, except: &[IpNet]) -> Vec<u32> {
        let outside = |inner: &IpNet| except.iter().all(|carved| !carved.contains(inner));
        let first = IpNet::new(net.network(), 0).expect("0 is a length of any family");
        self.cidrs
            .range(first..)
            .take_while(|(inner, _)| {
                inner.network() <= net.broadcast() && is_v4(inner) == is_v4(net)
            })
            .filter(|(inner, _)| net.contains(*inner) && outside(inner))
            .map(|(_, number)| *number)
            .collect()
    }

    /// The identity of an address that something has, or of its own prefix.
    pub fn at(&self, address: IpAddr) -> Option<u32> {
        let known = self.addresses.get(&address);
        known
            .or_else(|| self.cidrs.get(&IpNet::from(address)))
            .copied()
    }

    /// Addresses of the backends of a Service.
    pub fn backends(&self, service: &ObjectName) -> impl Iterator<Item = IpAddr> + '_ {
        backends(self.model, service)
    }

    /// The ports that the pods of an identity name so.
    pub fn named<'u>(
        &'u self,
        identity: u32,
        name: &'u str,
    ) -> impl Iterator<Item = &'u NamedPort> {
        let ports = self.named_ports.get(&identity).into_iter().flatten();
        ports.filter(move |port| port.name == name)
    }

    /// All named ports, and the identities that have some.
    pub fn all_named(&self) -> impl Iterator<Item = (u32, &NamedPort)> {
        let ports = self.named_ports.iter();
        ports.flat_map(|(identity, ports)| ports.iter().map(|port| (*identity, port)))
    }
}

/// Addresses of the backends of a Service.
pub fn backends<'m>(
    model: &'m Model,
    service: &ObjectName,
) -> impl Iterator<Item = IpAddr> + use<'m> {
    let slices = model.slices.get(service).into_iter().flatten();
    slices.flat_map(|slice| slice.endpoints.iter().map(|endpoint| endpoint.address))
}

fn is_v4(net: &IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}
