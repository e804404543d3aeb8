//! What is put into a NIC.

use std::net::IpAddr;

use ipnet::IpNet;

/// What a rule is for. Each has priorities of its own, and is brought up to date by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Entries of the deny list.
    Deny,
    /// What policy drops whatever the port.
    Policy,
    /// Established flows.
    Flow,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Deny, Self::Policy, Self::Flow];

    /// In the cookie.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Deny => 1,
            Self::Policy => 2,
            Self::Flow => 3,
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Drops what comes from a prefix.
    Deny(IpNet),
    /// Drops what comes from a prefix to one address, of one protocol.
    Closed {
        /// Where from.
        source: IpNet,
        /// Where to.
        destination: IpAddr,
        /// As in the IP header.
        protocol: u8,
    },
    /// Packets that may travel no further go up: the stack has to tell their senders.
    LastHop {
        /// Else IPv4.
        is_ipv6: bool,
        /// In a VLAN, whichever.
        is_tagged: bool,
    },
    /// Translates and sends on what belongs to a flow.
    Flow(Box<Flow>),
}

/// One direction of an established flow, and what becomes of its packets. FIN, SYN, RST
/// and fragments go up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// TCP or UDP.
    pub protocol: u8,
    /// From and to, as its packets come.
    pub comes: [(IpAddr, u16); 2],
    /// From and to, as they leave.
    pub leaves: [(IpAddr, u16); 2],
    /// The Ethernet addresses with which they leave, from and to.
    pub macs: [[u8; 6]; 2],
    /// The link by which they leave.
    pub out: u32,
    /// The VLANs in which they come and leave.
    pub tags: [Option<u16>; 2],
}

impl Rule {
    /// What it is for.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Deny(_) => Kind::Deny,
            Self::Closed { .. } => Kind::Policy,
            Self::LastHop { .. } | Self::Flow(_) => Kind::Flow,
        }
    }

    /// Of which family its packets are.
    pub fn is_ipv6(&self) -> bool {
        match self {
            Self::Deny(source) | Self::Closed { source, .. } => matches!(source, IpNet::V6(_)),
            Self::LastHop { is_ipv6, .. } => *is_ipv6,
            Self::Flow(flow) => flow.comes[0].0.is_ipv6(),
        }
    }

    /// Whether its packets come with a VLAN tag.
    pub fn is_tagged(&self) -> bool {
        match self {
            Self::Deny(_) | Self::Closed { .. } => false,
            Self::LastHop { is_tagged, .. } => *is_tagged,
            Self::Flow(flow) => flow.tags[0].is_some(),
        }
    }
}

impl From<IpNet> for Rule {
    fn from(source: IpNet) -> Self {
        Self::Deny(source)
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deny(source) => source.fmt(f),
            Self::Closed {
                source,
                destination,
                protocol,
            } => write!(f, "{source} to {destination}, protocol {protocol}"),
            Self::LastHop { .. } => f.write_str("packets at their last hop"),
            Self::Flow(flow) => {
                let [(from, sport), (to, dport)] = flow.comes;
                write!(f, "{from} port {sport} to {to} port {dport}")
            }
        }
    }
}
