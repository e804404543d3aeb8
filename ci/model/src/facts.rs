//! Packet in, facts out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use terrace_abi::Reason;

use crate::bytes::{at, get_u16};
use crate::flows::Key;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SCTP: u8 = 132;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// VLAN tags that are looked through.
const TAGS_MAX: usize = 2;
/// Extension headers that are looked through.
const EXTENSIONS_MAX: usize = 6;
/// A header that begins later is out of the programs' sight.
const REACH: usize = 1023;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    First,
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icmp {
    /// Not ICMP, or a message without state.
    Other,
    Echo,
    Reply,
    Error,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub l3: usize,
    pub l4: usize,
    /// Of the IP packet.
    pub len: usize,
    pub is_v4: bool,
    pub key: Key,
    pub ttl: u8,
    pub dont_fragment: bool,
    pub part: Part,
    /// Says which fragments belong together.
    pub fragment_id: u32,
    pub tcp_flags: u8,
    pub icmp: Icmp,
    pub icmp_type: u8,
    pub tags: usize,
}

impl Facts {
    /// Bytes of the IP header without options.
    pub fn header_len(&self) -> usize {
        if self.is_v4 { 20 } else { 40 }
    }

    /// `N` bytes that the IP packet really has, within reach.
    pub fn get<const N: usize>(&self, frame: &[u8], offset: usize) -> Option<[u8; N]> {
        let inside = offset + N <= self.l3 + self.len && offset <= REACH;
        inside.then(|| at(frame, offset)).flatten()
    }

    pub fn is_tcp(&self) -> bool {
        self.key.proto == TCP
    }

    /// Ports that may change.
    pub fn has_ports(&self) -> bool {
        matches!(self.key.proto, TCP | UDP)
    }

    /// Of the packet's own family; the other's is a protocol like any.
    pub fn is_icmp(&self) -> bool {
        self.key.proto == if self.is_v4 { ICMP } else { ICMPV6 }
    }
}

fn reach<const N: usize>(frame: &[u8], offset: usize) -> Option<[u8; N]> {
    (offset <= REACH).then(|| at(frame, offset)).flatten()
}

/// Ethernet and IP, without the transport header.
pub(crate) fn network(frame: &[u8]) -> Result<Facts, Reason> {
    let mut l3 = 14;
    let mut tags = 0;
    let mut proto = get_u16(frame, 12).ok_or(Reason::Truncated)?;
    while matches!(proto, 0x8100 | 0x88a8) && tags < TAGS_MAX {
        proto = get_u16(frame, l3 + 2).ok_or(Reason::Truncated)?;
        l3 += 4;
        tags += 1;
    }
    match proto {
        0x0800 => ipv4(frame, l3, tags),
        0x86dd => ipv6(frame, l3, tags),
        _ => Err(Reason::NotIp),
    }
}

fn ipv4(frame: &[u8], l3: usize, tags: usize) -> Result<Facts, Reason> {
    let ip: [u8; 20] = reach(frame, l3).ok_or(Reason::Truncated)?;
    let header = usize::from(ip[0] & 15) * 4;
    let len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    if ip[0] >> 4 != 4 || header < 20 || len < header || l3 + len > frame.len() {
        return Err(Reason::BadIpHeader);
    }
    let fragment = u16::from_be_bytes([ip[6], ip[7]]);
    let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
    Ok(Facts {
        l3,
        l4: l3 + header,
        len,
        is_v4: true,
        key: key(address(12).into(), address(16).into(), ip[9]),
        ttl: ip[8],
        dont_fragment: fragment & 0x4000 != 0,
        part: match (fragment & 0x1fff, fragment & 0x2000) {
            (0, 0) => Part::Whole,
            (0, _) => Part::First,
            _ => Part::Later,
        },
        fragment_id: u32::from(u16::from_be_bytes([ip[4], ip[5]])),
        tcp_flags: 0,
        icmp: Icmp::Other,
        icmp_type: 0,
        tags,
    })
}

fn key(src: IpAddr, dst: IpAddr, proto: u8) -> Key {
    Key {
        src,
        dst,
        sport: 0,
        dport: 0,
        proto,
    }
}

fn ipv6(frame: &[u8], l3: usize, tags: usize) -> Result<Facts, Reason> {
    let ip: [u8; 40] = reach(frame, l3).ok_or(Reason::Truncated)?;
    let len = 40 + usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    if ip[0] >> 4 != 6 || l3 + len > frame.len() {
        return Err(Reason::BadIpHeader);
    }
    let address = |offset| Ipv6Addr::from(at::<16>(&ip, offset).expect("inside the header"));
    let mut facts = Facts {
        l3,
        l4: l3 + 40,
        len,
        is_v4: false,
        key: key(address(8).into(), address(24).into(), ip[6]),
        ttl: ip[7],
        dont_fragment: true,
        part: Part::Whole,
        fragment_id: 0,
        tcp_flags: 0,
        icmp: Icmp::Other,
        icmp_type: 0,
        tags,
    };
    for _ in 0..=EXTENSIONS_MAX {
        if !extension(frame, &mut facts)? {
            return Ok(facts);
        }
    }
    Err(Reason::ExtensionHeaders)
}

/// Steps over one extension header; whether another one may follow.
fn extension(frame: &[u8], facts: &mut Facts) -> Result<bool, Reason> {
    let kind = facts.key.proto;
    if !matches!(
        kind,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION | AUTHENTICATION
    ) {
        return Ok(false);
    }
    let header: [u8; 8] = facts.get(frame, facts.l4).ok_or(Reason::Truncated)?;
    let units = usize::from(header[1]);
    if kind == ROUTING && header[2] == 0 {
        return Err(Reason::RoutingHeader);
    }
    facts.l4 += match kind {
        FRAGMENT => 8,
        AUTHENTICATION => (units + 2) * 4,
        _ => (units + 1) * 8,
    };
    facts.key.proto = header[0];
    if kind != FRAGMENT {
        return Ok(true);
    }
    let fragment = u16::from_be_bytes([header[2], header[3]]);
    facts.fragment_id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    if fragment & 0xfff8 != 0 {
        facts.part = Part::Later;
    } else if fragment & 1 != 0 {
        facts.part = Part::First;
    }
    // What follows a later fragment's header is payload.
    Ok(facts.part != Part::Later)
}

/// The transport header: ports, flags, kind of ICMP message.
pub(crate) fn transport(frame: &[u8], facts: &mut Facts) -> Result<(), Reason> {
    if facts.part == Part::Later {
        return Ok(());
    }
    match facts.key.proto {
        TCP => tcp(frame, facts),
        UDP => udp(frame, facts),
        SCTP => {
            let header: [u8; 12] = header(frame, facts)?;
            ports(facts, &header);
            Ok(())
        }
        _ if facts.is_icmp() => icmp(frame, facts),
        _ => Ok(()),
    }
}

fn header<const N: usize>(frame: &[u8], facts: &Facts) -> Result<[u8; N], Reason> {
    facts.get(frame, facts.l4).ok_or(match facts.part {
        Part::Whole => Reason::Truncated,
        _ => Reason::FragmentTiny,
    })
}

fn ports(facts: &mut Facts, header: &[u8]) {
    facts.key.sport = u16::from_be_bytes([header[0], header[1]]);
    facts.key.dport = u16::from_be_bytes([header[2], header[3]]);
}

fn tcp(frame: &[u8], facts: &mut Facts) -> Result<(), Reason> {
    let tcp: [u8; 20] = header(frame, facts)?;
    let len = usize::from(tcp[12] >> 4) * 4;
    if len < 20 || facts.l4 - facts.l3 + len > facts.len {
        return Err(Reason::BadL4Header);
    }
    ports(facts, &tcp);
    facts.tcp_flags = tcp[13];
    Ok(())
}

fn udp(frame: &[u8], facts: &mut Facts) -> Result<(), Reason> {
    let udp: [u8; 8] = header(frame, facts)?;
    let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    let fits = len >= 8 && facts.l4 - facts.l3 + len <= facts.len;
    if facts.part == Part::Whole && !fits {
        return Err(Reason::BadL4Header);
    }
    ports(facts, &udp);
    Ok(())
}

fn icmp(frame: &[u8], facts: &mut Facts) -> Result<(), Reason> {
    let icmp: [u8; 8] = header(frame, facts)?;
    facts.icmp_type = icmp[0];
    if is_neighbour_discovery(facts) {
        return Err(Reason::NeighbourDiscovery);
    }
    facts.icmp = kind(facts.key.proto, icmp[0]);
    let id = u16::from_be_bytes([icmp[4], icmp[5]]);
    match facts.icmp {
        Icmp::Echo => facts.key.sport = id,
        Icmp::Reply => facts.key.dport = id,
        _ => (),
    }
    Ok(())
}

/// Never of a packet that a router has forwarded: discovery has hop limit 255
/// (RFC 4861), listener reports 1 (RFC 2710, 3810).
fn is_neighbour_discovery(facts: &Facts) -> bool {
    let listener = matches!(facts.icmp_type, 130..=132 | 143);
    let neighbour = matches!(facts.icmp_type, 133..=137);
    !facts.is_v4 && (listener && facts.ttl == 1 || neighbour && facts.ttl == 255)
}

fn kind(proto: u8, icmp_type: u8) -> Icmp {
    match (proto, icmp_type) {
        (ICMP, 8) | (ICMPV6, 128) => Icmp::Echo,
        (ICMP, 0) | (ICMPV6, 129) => Icmp::Reply,
        (ICMP, 3 | 4 | 11 | 12) | (ICMPV6, 1..=4) => Icmp::Error,
        _ => Icmp::Other,
    }
}

/// Addresses that are not for the pipeline.
pub(crate) fn addresses(facts: &Facts) -> Result<(), Reason> {
    let Key { src, dst, .. } = facts.key;
    let multicast = match dst {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    };
    if multicast {
        return Err(Reason::Multicast);
    }
    let bad = match src {
        IpAddr::V4(v4) => matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(v6) => {
            v6.is_multicast()
                || v6.is_loopback()
                || v6.is_unspecified()
                || v6.to_ipv4_mapped().is_some()
        }
    };
    let mapped = matches!(dst, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if bad || mapped || src == dst {
        return Err(Reason::BadSource);
    }
    Ok(())
}
