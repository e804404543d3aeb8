//! The rules, read naively: what the tables must say.

use std::net::IpAddr;

use terrace_mesh::{
    Direction, Entity, Labels, Manifests, NAMESPACE_LABEL, NAMESPACE_LABELS, Object, Peer, Peers,
    Pod, Policy, PortMatch, Ports, Rule,
};

use crate::support::facts;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny,
    Default,
}

/// The rules, read naively.
pub struct Naive<'m> {
    pods: Vec<&'m Pod>,
    policies: Vec<&'m Policy>,
}

impl<'m> Naive<'m> {
    pub fn new(manifests: &'m Manifests) -> Self {
        let mut naive = Self {
            pods: Vec::new(),
            policies: Vec::new(),
        };
        for object in manifests.objects() {
            match object {
                Object::Pod(pod) => naive.pods.push(pod),
                Object::Policy(policy) => naive.policies.push(policy),
                _ => {}
            }
        }
        naive
    }

    fn pod(&self, address: IpAddr) -> Option<&Pod> {
        self.pods
            .iter()
            .find(|pod| pod.addresses.contains(&address))
            .copied()
    }

    fn labels(pod: &Pod) -> Labels {
        let mut labels = pod.labels.clone();
        labels.insert(NAMESPACE_LABEL.to_owned(), pod.name.namespace.clone());
        labels.insert(
            format!("{NAMESPACE_LABELS}kubernetes.io/metadata.name"),
            pod.name.namespace.clone(),
        );
        labels
    }

    pub fn verdict(
        &self,
        subject: IpAddr,
        remote: IpAddr,
        direction: Direction,
        packet: (u8, u8, u16),
    ) -> Verdict {
        let labels = Self::labels(self.pod(subject).expect("subjects are pods"));
        let parts = self.policies.iter().flat_map(|policy| &policy.parts);
        let parts: Vec<_> = parts.filter(|part| part.subject.matches(&labels)).collect();
        let owner = if direction == Direction::Ingress {
            subject
        } else {
            remote
        };
        let matching = |deny: bool| {
            let mut rules = parts.iter().flat_map(|part| &part.rules);
            rules.any(|rule| {
                rule.direction == direction
                    && rule.deny == deny
                    && self.names(rule, remote, owner, packet)
            })
        };
        let default_deny = parts
            .iter()
            .any(|part| part.default_deny[direction as usize]);
        match (matching(true), matching(false) || !default_deny) {
            (true, _) => Verdict::Deny,
            (false, true) => Verdict::Allow,
            (false, false) => Verdict::Default,
        }
    }

    fn names(&self, rule: &Rule, remote: IpAddr, owner: IpAddr, packet: (u8, u8, u16)) -> bool {
        let peers = match &rule.peers {
            Peers::Any => true,
            Peers::Some(peers) => peers.iter().any(|peer| self.is(peer, remote)),
        };
        peers && self.has_port(&rule.ports, owner, packet)
    }

    fn is(&self, peer: &Peer, remote: IpAddr) -> bool {
        let facts = facts();
        let pod = self.pod(remote);
        let host = facts.addresses.contains(&remote);
        let node = facts.remote_nodes.contains(&remote);
        let world = pod.is_none() && !host && !node;
        match peer {
            Peer::Select(selector) => pod.is_some_and(|pod| selector.matches(&Self::labels(pod))),
            Peer::Cidr { net, except } => {
                world
                    && net.contains(&remote)
                    && !except.iter().any(|carved| carved.contains(&remote))
            }
            Peer::Entity(entity) => match entity {
                Entity::All => true,
                Entity::World => world,
                Entity::Cluster => !world,
                Entity::Host => host,
                Entity::RemoteNode => node,
                Entity::Unmanaged | Entity::None => false,
            },
            Peer::Service(_) | Peer::Services { .. } => false,
        }
    }

    fn has_port(&self, ports: &Ports, owner: IpAddr, (row, _, number): (u8, u8, u16)) -> bool {
        let Ports::Some(ports) = ports else {
            return true;
        };
        ports
            .iter()
            .filter(|port| port.rows & row != 0)
            .any(|port| match &port.what {
                PortMatch::Range(first, last) => (*first..=*last).contains(&number),
                PortMatch::Named(name) => {
                    let mut named = self.pod(owner).into_iter().flat_map(|pod| &pod.named_ports);
                    named.any(|port| port.name == *name && port.row == row && port.port == number)
                }
            })
    }
}
