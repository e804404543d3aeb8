//! Policies of all kinds, in their one shape.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{HttpRule, Labels, ObjectName};
use crate::error::Origin;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PolicyKind {
    NetworkPolicy,
    CiliumNetworkPolicy,
    CiliumClusterwideNetworkPolicy,
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];
}

/// One policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub kind: PolicyKind,
    pub name: ObjectName,
    pub origin: Origin,
    pub parts: Vec<PolicyPart>,
}

/// One `spec` (Cilium's `specs` has several): whom it selects, and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyPart {
    pub subject: Selector,
    /// Directions in which a selected pod is default deny, by `Direction`.
    pub default_deny: [bool; 2],
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub direction: Direction,
    pub deny: bool,
    pub peers: Peers,
    pub ports: Ports,
    /// Only requests that one of these allows; `None` = all. An empty list allows none.
    pub http: Option<Vec<HttpRule>>,
    /// `spec.ingress[0]`.
    pub path: String,
    pub line: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    Any,
    /// An empty list matches nobody.
    Some(Vec<Peer>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    Select(Selector),
    Entity(Entity),
    Cidr {
        net: IpNet,
        except: Vec<IpNet>,
    },
    /// The backends of the named service.
    Service(ObjectName),
    /// The backends of the services that the labels select; namespace empty = all.
    Services {
        namespace: String,
        selector: Selector,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    All,
    World,
    Cluster,
    Host,
    RemoteNode,
    Unmanaged,
    None,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::World => "world",
            Self::Cluster => "cluster",
            Self::Host => "host",
            Self::RemoteNode => "remote-node",
            Self::Unmanaged => "unmanaged",
            Self::None => "none",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    All,
    Some(Vec<PortRule>),
}

/// Rows of the class table, as bits: TCP 1, UDP 2, SCTP 4, ICMP 8, ICMPv6 16.
pub const ROW_NAMES: [&str; 5] = ["tcp", "udp", "sctp", "icmp", "icmpv6"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRule {
    /// Bits of rows.
    pub rows: u8,
    pub what: PortMatch,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMatch {
    /// For ICMP the type.
    Range(u16, u16),
    Named(String),
}

/// Requirements on labels, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    pub requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    pub key: String,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    /// Adds the requirement that a label has a value.
    pub fn and(mut self, key: &str, value: &str) -> Self {
        self.requirements.push(Requirement {
            key: key.to_owned(),
            test: Test::In(vec![value.to_owned()]),
        });
        self
    }

    /// Adds the requirement that a label exists.
    pub fn and_has(mut self, key: &str) -> Self {
        self.requirements.push(Requirement {
            key: key.to_owned(),
            test: Test::Exists,
        });
        self
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|r| r.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::In(values) => value.is_some_and(|v| values.contains(v)),
            Test::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.requirements.is_empty() {
            return f.write_str("{}");
        }
        for (i, requirement) in self.requirements.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.test {
            Test::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0]),
            Test::In(values) => write!(f, "{key} in ({})", values.join(", ")),
            Test::NotIn(values) => write!(f, "{key} not in ({})", values.join(", ")),
            Test::Exists => f.write_str(key),
            Test::Absent => write!(f, "!{key}"),
        }
    }
}
