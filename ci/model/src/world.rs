//! What the programs find in their tables, as plain collections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use terrace_abi::consts;

use crate::l7::L7;

/// IPv4 or IPv6. Tests write IPv4 addresses; [`Family::ip`] gives the IPv6
/// address with the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 10.1.2.3.
    V4,
    /// fd00:10:1:2::3.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The address of this family that stands for an IPv4 address; other text
    /// is an address of its own.
    pub fn ip(self, text: &str) -> IpAddr {
        let address: IpAddr = text.parse().expect("tests write addresses");
        match (self, address) {
            (Self::V6, IpAddr::V4(v4)) => IpAddr::V6(mirror(v4)),
            _ => address,
        }
    }

    /// Bytes of an IP header without options.
    pub fn header_len(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

/// fd00:a:b:c::d, the decimal digits read as hexadecimal ones.
fn mirror(v4: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = v4.octets();
    let text = format!("fd00:{a}:{b}:{c}::{d}");
    text.parse().expect("decimal digits are hexadecimal ones")
}

/// Who is behind an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Number of its set of labels.
    pub identity: u32,
    /// `ENDPOINT_*`.
    pub flags: u32,
    /// The host's side of a workload.
    pub ifindex: u32,
    /// Of the workload's side; zeroes = not known.
    pub mac: [u8; 6],
    /// Of the host's side.
    pub iface_mac: [u8; 6],
}

impl Endpoint {
    pub(crate) fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    /// A workload of this host, or the host itself.
    pub(crate) fn is_local(&self) -> bool {
        self.has(consts::ENDPOINT_WORKLOAD | consts::ENDPOINT_HOST)
    }
}

/// A configured interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iface {
    /// Its index.
    pub ifindex: u32,
    /// The deny list runs in XDP, which may also redirect to it; else in tc.
    pub xdp: bool,
    /// XDP sends back by a redirect: XDP_TX would not wake the other end.
    pub redirect_back: bool,
    /// Its entry says that workers have a socket on its first queue. In test
    /// runs there is none, so XDP finds that out and leaves all as it was.
    pub sockets: bool,
    /// Sources for hairpin NAT; unspecified = none.
    pub addresses: [IpAddr; 2],
}

/// A Service's port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// `SERVICE_*`.
    pub flags: u32,
    /// `FAIL_*`.
    pub fail_mode: u32,
    /// Affinity is shared inside a group.
    pub group: u32,
    /// Seconds that affinity lasts.
    pub affinity_secs: u32,
    /// Backends by ring slot; empty = no backend.
    pub ring: Vec<u32>,
}

/// Where a service listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frontend {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Protocol number.
    pub proto: u8,
    /// Index into [`World::services`], from 1.
    pub service: usize,
}

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// `BACKEND_*`.
    pub flags: u32,
    /// Of the services that it serves.
    pub group: u32,
}

/// One rule of policy on identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whose policy it is.
    pub subject: u32,
    /// `DIRECTION_INGRESS` or `DIRECTION_EGRESS`.
    pub direction: u32,
    /// The other end; 0 = anybody.
    pub remote: u32,
    /// Protocol and first and last port (type for ICMP); `None` = everything.
    pub ports: Option<(u8, u16, u16)>,
    /// Denies, else allows.
    pub deny: bool,
    /// Allows what a worker finds good.
    pub l7: bool,
}

/// What the routing table answers for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// No route.
    None,
    /// The neighbour's link-layer address is not known.
    Unresolved {
        /// Outgoing interface.
        ifindex: u32,
    },
    /// Ready.
    Known {
        /// Outgoing interface.
        ifindex: u32,
        /// Of the route.
        mtu: u32,
        /// Our link-layer address.
        smac: [u8; 6],
        /// The neighbour's.
        dmac: [u8; 6],
    },
}

/// The host as the programs see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// Of all flow hashes.
    pub seed: u32,
    /// Bit 0 = generation of the policy tables.
    pub policy_rev: u32,
    /// `CONFIG_*`.
    pub flags: u32,
    /// Source ports for NAT, first and last.
    pub snat_ports: (u16, u16),
    /// Sources when a workload meets itself.
    pub host: Option<[IpAddr; 2]>,
    /// The daemon's heartbeat is too old.
    pub silent: bool,
    /// Timeout in seconds by `FLOW_*` state.
    pub timeouts: Vec<u32>,
    /// Configured interfaces.
    pub ifaces: Vec<Iface>,
    /// By index; 0 is everybody else.
    pub endpoints: Vec<Endpoint>,
    /// Prefixes and their index into `endpoints`.
    pub addresses: Vec<(IpNet, usize)>,
    /// Prefixes whose packets are dropped.
    pub deny: Vec<IpNet>,
    /// By index; 0 is none.
    pub services: Vec<Service>,
    /// Addresses and ports of services.
    pub frontends: Vec<Frontend>,
    /// By index; 0 is none.
    pub backends: Vec<Option<Backend>>,
    /// Policy.
    pub rules: Vec<Rule>,
    /// The routing table, longest prefix first.
    pub routes: Vec<(IpNet, Hop)>,
    /// The L7 tier.
    pub l7: L7,
}

impl World {
    /// Who is behind an address.
    pub fn endpoint(&self, address: IpAddr) -> (usize, Endpoint) {
        let index = longest(&self.addresses, address).copied().unwrap_or(0);
        (index, self.endpoints[index])
    }

    /// Where packets to an address go.
    pub fn hop(&self, address: IpAddr) -> Hop {
        longest(&self.routes, address).copied().unwrap_or(Hop::None)
    }

    /// Whether a source is on the deny list.
    pub fn is_denied(&self, address: IpAddr) -> bool {
        self.deny.iter().any(|prefix| prefix.contains(&address))
    }

    /// A configured interface.
    pub fn iface(&self, ifindex: u32) -> Option<Iface> {
        let mut ifaces = self.ifaces.iter().copied();
        ifaces.find(|iface| iface.ifindex == ifindex)
    }

    /// The service at an address and port.
    pub fn service(&self, address: IpAddr, port: u16, proto: u8) -> Option<usize> {
        let is = |at: &&Frontend| (at.address, at.port, at.proto) == (address, port, proto);
        self.frontends.iter().find(is).map(|at| at.service)
    }
}

fn longest<T>(table: &[(IpNet, T)], address: IpAddr) -> Option<&T> {
    let matching = table.iter().filter(|(prefix, _)| prefix.contains(&address));
    let best = matching.max_by_key(|(prefix, _)| prefix.prefix_len());
    best.map(|(_, value)| value)
}
