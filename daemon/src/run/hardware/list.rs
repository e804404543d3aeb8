//! What a NIC is to drop.

use std::sync::Arc;

use ipnet::IpNet;
use terrace_abi::Reason;
use terrace_mesh::Closed;
use terrace_offload::Task;
use terrace_offload::flower::{Kind, Rule};

use super::Host;

/// Transport protocols of which policy tells what it drops: ICMP's errors belong to
/// flows with others.
const PROTOCOLS: [u8; 2] = [6, 17];

/// A list of its own in each NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Sources that are denied everything.
    Deny,
    /// What policy drops whatever the port.
    Policy,
}

impl Part {
    pub const ALL: [Self; 2] = [Self::Deny, Self::Policy];

    pub fn kind(self) -> Kind {
        match self {
            Self::Deny => Kind::Deny,
            Self::Policy => Kind::Policy,
        }
    }

    /// Whose drops they are.
    pub fn task(self) -> Task {
        match self {
            Self::Deny => Task::Prefilter,
            Self::Policy => Task::Policy,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny-list",
            Self::Policy => "policy",
        }
    }

    /// How drops of a part are counted.
    pub fn reason(name: &str) -> Reason {
        match name == Self::Policy.name() {
            true => Reason::IngressDenied,
            false => Reason::DenyList,
        }
    }

    pub fn what(self) -> &'static str {
        match self {
            Self::Deny => "deny list",
            Self::Policy => "drops of policy",
        }
    }

    pub fn noun(self) -> &'static str {
        match self {
            Self::Deny => "the deny list",
            Self::Policy => "what policy closes",
        }
    }

    /// What to write to have it in NICs.
    pub fn key(self) -> &'static str {
        match self {
            Self::Deny => "deny_list to \"auto\"",
            Self::Policy => "policy to true",
        }
    }
}

/// A list as it is now; two of one origin are the same.
#[derive(Debug, Clone)]
pub enum List {
    Deny(Arc<[IpNet]>),
    Policy(Arc<[Closed]>),
}

impl List {
    pub fn of(host: Host<'_>, part: Part) -> Self {
        match part {
            Part::Deny => Self::Deny(Arc::clone(host.deny)),
            Part::Policy => Self::Policy(Arc::clone(host.closed)),
        }
    }

    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Deny(a), Self::Deny(b)) => Arc::ptr_eq(a, b),
            (Self::Policy(a), Self::Policy(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Deny(_) => Part::Deny.kind(),
            Self::Policy(_) => Part::Policy.kind(),
        }
    }

    /// Rules that it makes.
    pub fn len(&self) -> usize {
        match self {
            Self::Deny(list) => list.len(),
            Self::Policy(list) => list.len() * PROTOCOLS.len(),
        }
    }

    /// Its start, where all that a NIC must know is the source.
    pub fn sources(&self, limit: usize) -> &[IpNet] {
        match self {
            Self::Deny(list) => &list[..list.len().min(limit)],
            Self::Policy(_) => &[],
        }
    }

    /// Its start, as rules.
    pub fn rules(&self, limit: usize) -> Vec<Rule> {
        match self {
            Self::Deny(_) => self
                .sources(limit)
                .iter()
                .copied()
                .map(Rule::Deny)
                .collect(),
            Self::Policy(list) => {
                let both = list.iter().flat_map(|closed| {
                    PROTOCOLS.map(|protocol| Rule::Closed {
                        source: closed.source,
                        destination: closed.destination,
                        protocol,
                    })
                });
                both.take(limit).collect()
            }
        }
    }
}
