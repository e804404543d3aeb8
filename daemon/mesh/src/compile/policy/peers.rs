//! Whom the rules name: prefixes that need an identity, then identities.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use terrace_abi::consts::{
    IDENTITY_HOST, IDENTITY_REMOTE_NODE, IDENTITY_UNMANAGED, IDENTITY_WORLD,
};

use super::super::Host;
use super::super::model::Model;
use super::rules::Rules;
use super::universe::{Universe, backends};
use crate::objects::{Entity, ObjectName, Peer, Peers, Selector};

/// The prefixes that the rules tell apart. A backend that is neither a pod
/// nor a host counts as a prefix of its own.
pub fn prefixes(rules: &Rules<'_>, model: &Model, host: &Host<'_>) -> BTreeSet<IpNet> {
    let mut nets = BTreeSet::new();
    for selected in &rules.rules {
        let Peers::Some(peers) = &selected.rule.peers else {
            continue;
        };
        for peer in peers {
            match peer {
                Peer::Cidr { net, except } => nets.extend([*net].iter().chain(except)),
                Peer::Service(_) | Peer::Services { .. } => {
                    let addresses = services(model, peer)
                        .into_iter()
                        .flat_map(|name| backends(model, name));
                    let unknown = addresses.filter(|address| !is_known(model, host, *address));
                    nets.extend(unknown.map(IpNet::from));
                }
                Peer::Select(_) | Peer::Entity(_) => {}
            }
        }
    }
    nets
}

fn is_known(model: &Model, host: &Host<'_>, address: IpAddr) -> bool {
    model.pod_at(address).is_some()
        || host.facts.addresses.contains(&address)
        || host.facts.remote_nodes.contains(&address)
}

/// The Services that a peer names.
fn services<'m>(model: &'m Model, peer: &'m Peer) -> Vec<&'m ObjectName> {
    match peer {
        Peer::Service(name) => vec![name],
        Peer::Services {
            namespace,
            selector,
        } => {
            let held = model.services.values().filter_map(|held| held.first());
            held.filter(|service| namespace.is_empty() || *namespace == service.name.namespace)
                .filter(|service| selector.matches(&service.labels))
                .map(|service| &service.name)
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Fills in the identities that each rule names.
pub fn resolve(rules: &mut Rules<'_>, universe: &Universe<'_>) {
    let mut cache = HashMap::new();
    for selected in &mut rules.rules {
        let Peers::Some(peers) = &selected.rule.peers else {
            continue;
        };
        if peers.contains(&Peer::Entity(Entity::All)) {
            continue;
        }
        let mut found: Vec<u32> = peers
            .iter()
            .flat_map(|peer| identities(peer, universe, &mut cache))
            .collect();
        found.sort_unstable();
        found.dedup();
        selected.peers = Some(found);
    }
}

fn identities<'m>(
    peer: &'m Peer,
    universe: &Universe<'_>,
    cache: &mut HashMap<&'m Selector, Vec<u32>>,
) -> Vec<u32> {
    match peer {
        Peer::Select(selector) => {
            let found = cache
                .entry(selector)
                .or_insert_with(|| universe.select(selector));
            found.clone()
        }
        Peer::Entity(entity) => of_entity(*entity, universe),
        Peer::Cidr { net, except } => universe.inside(net, except),
        Peer::Service(_) | Peer::Services { .. } => services(universe.model, peer)
            .into_iter()
            .flat_map(|name| universe.backends(name))
            .filter_map(|address| universe.at(address))
            .collect(),
    }
}

fn of_entity(entity: Entity, universe: &Universe<'_>) -> Vec<u32> {
    let own = [IDENTITY_HOST, IDENTITY_REMOTE_NODE, IDENTITY_UNMANAGED];
    match entity {
        Entity::All | Entity::None => Vec::new(),
        Entity::World => universe
            .cidrs
            .values()
            .copied()
            .chain([IDENTITY_WORLD])
            .collect(),
        Entity::Cluster => universe.pods.iter().copied().chain(own).collect(),
        Entity::Host => vec![IDENTITY_HOST],
        Entity::RemoteNode => vec![IDENTITY_REMOTE_NODE],
        Entity::Unmanaged => vec![IDENTITY_UNMANAGED],
    }
}
