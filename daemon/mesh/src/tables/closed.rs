//! What policy drops whatever the port, and where workers take requests, in words that a
//! NIC can follow.
//!
//! Packets from a prefix to a local workload are dropped, all of them, when policy
//! denies both ways on every port: what comes is neither let in nor an answer to what
//! went out. So much can be said of TCP, UDP and SCTP. Not of ICMP, whose errors belong
//! to flows with others; not of prefixes that hold an address of a local
//! workload, host, service or backend, whose packets may belong to flows of another pair of addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use terrace_abi::consts::{
    ENDPOINT_EGRESS, ENDPOINT_INGRESS, ENDPOINT_SERVICE, ENDPOINT_WORKLOAD, POLICY_ALLOW,
    POLICY_DENY, POLICY_HAS_CELLS, POLICY_ROW, SERVICE_L7,
};

use super::Tables;
use crate::objects::Direction;

/// A prefix and a local workload between which nothing passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closed {
    pub source: IpNet,
    pub destination: IpAddr,
}

impl Tables {
    /// Ends at which a worker takes requests, lowest first.
    pub fn l7_fronts(&self) -> Vec<SocketAddr> {
        let all = self.directory.frontends.iter().filter(|(index, front)| {
            let flags = u32::from(self.service(**index).flags);
            flags & SERVICE_L7 != 0 && !front.address.is_unspecified()
        });
        let ends: BTreeSet<SocketAddr> = all
            .map(|(_, front)| SocketAddr::new(front.address, front.port))
            .collect();
        ends.into_iter().collect()
    }

    /// Pairs of which every TCP, UDP and SCTP packet from the first to the second is
    /// dropped by a rule that denies it; at most `limit`, the widest prefixes first.
    pub fn closed(&self, limit: usize) -> Vec<Closed> {
        let subjects = self.subjects();
        if subjects.is_empty() {
            return Vec::new();
        }
        let mut sources = self.plain_prefixes();
        sources.sort_by_key(|(net, _)| (net.prefix_len(), *net));
        let mut found: Vec<Closed> = Vec::new();
        for (source, identities) in &sources {
            for (subject, addresses) in &subjects {
                if !identities.iter().all(|id| self.is_closed(*subject, *id)) {
                    continue;
                }
                let alike = |address: &&IpAddr| address.is_ipv4() == source.addr().is_ipv4();
                for &destination in addresses.iter().filter(alike) {
                    let known = |closed: &Closed| {
                        closed.destination == destination && closed.source.contains(source)
                    };
                    if found.iter().any(known) {
                        continue;
                    }
                    if found.len() == limit {
                        return found;
                    }
                    let source = *source;
                    found.push(Closed {
                        source,
                        destination,
                    });
                }
            }
        }
        found
    }

    /// Local workloads under policy in both directions, by identity.
    fn subjects(&self) -> BTreeMap<u32, Vec<IpAddr>> {
        let both = ENDPOINT_WORKLOAD | ENDPOINT_INGRESS | ENDPOINT_EGRESS;
        let mut subjects: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
        for net in self.directory.addresses.keys() {
            let endpoint = self.endpoint_of(net.addr());
            let is_one = net.prefix_len() == net.max_prefix_len();
            if is_one && endpoint.flags & (both | ENDPOINT_SERVICE) == both {
                subjects
                    .entry(endpoint.identity)
                    .or_default()
                    .push(net.addr());
            }
        }
        subjects
    }

    /// Prefixes of rules that hold nothing but such, with the identities in them.
    fn plain_prefixes(&self) -> Vec<(IpNet, Vec<u32>)> {
        let backends: Vec<IpNet> = self
            .directory
            .backends
            .values()
            .map(|backend| IpNet::from(backend.address))
            .collect();
        let mut plain: Vec<(IpNet, Vec<u32>)> = Vec::new();
        // Those around the prefix that is looked at: a prefix comes before what is in it.
        let mut open: Vec<(IpNet, Option<Vec<u32>>)> = Vec::new();
        let close = |open: &mut Vec<(IpNet, Option<Vec<u32>>)>, plain: &mut Vec<_>| {
            let Some((net, identities)) = open.pop() else {
                return;
            };
            if let Some(identities) = identities {
                plain.push((net, identities));
            }
        };
        let backends = backends.into_iter().map(|net| (net, None));
        let prefixes = self.directory.addresses.iter().map(|(net, address)| {
            let flags = self
                .endpoints
                .read::<terrace_abi::types::endpoint>(address.endpoint);
            (*net, (flags.flags == 0).then_some(flags.identity))
        });
        let mut all: Vec<(IpNet, Option<u32>)> = backends.chain(prefixes).collect();
        // What is not plain makes the same prefix of a rule not plain, too.
        all.sort_by_key(|(net, identity)| (net.network(), net.prefix_len(), identity.is_none()));
        for (net, identity) in all {
            while open.last().is_some_and(|(outer, _)| !outer.contains(&net)) {
                close(&mut open, &mut plain);
            }
            for (_, identities) in &mut open {
                match (identity, identities.as_mut()) {
                    (Some(identity), Some(held)) if !held.contains(&identity) => {
                        held.push(identity);
                    }
                    (None, _) => *identities = None,
                    _ => {}
                }
            }
            open.push((net, identity.map(|identity| vec![identity])));
        }
        while !open.is_empty() {
            close(&mut open, &mut plain);
        }
        plain
    }

    fn is_closed(&self, subject: u32, remote: u32) -> bool {
        let closed = |direction| self.whole_row(subject, remote, direction);
        let ingress = closed(Direction::Ingress);
        let egress = closed(Direction::Egress);
        ingress.is_some_and(|value| value & POLICY_DENY != 0)
            && egress.is_some_and(|value| value & POLICY_DENY != 0 || value & POLICY_ALLOW == 0)
    }

    /// The value that all ports have; `None` = they differ.
    fn whole_row(&self, subject: u32, remote: u32, direction: Direction) -> Option<u32> {
        let way = direction as u32 | self.generation() << 8;
        let row = |remote| self.policy.get(&[subject, remote, POLICY_ROW, way, 0]);
        let value = match row(remote) {
            0 => row(0),
            value => value,
        };
        (value & POLICY_HAS_CELLS == 0).then_some(value)
    }
}
