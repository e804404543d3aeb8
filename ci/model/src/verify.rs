//! Is this a correct packet? Everything is summed up from scratch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bytes::{at, get_u16};
use crate::checksum::{ones_sum, transport_sum};

/// What a reader sees in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Link-layer addresses: destination, source.
    pub macs: ([u8; 6], [u8; 6]),
    /// VLAN tags.
    pub tags: usize,
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// After IPv6 extension headers.
    pub proto: u8,
    /// Not a first or only fragment.
    pub is_later_fragment: bool,
    /// Of any fragment.
    pub is_fragment: bool,
    /// From the transport header on.
    pub segment: Vec<u8>,
}

impl Seen {
    /// Ports, of what has them.
    pub fn ports(&self) -> (u16, u16) {
        let port = |at| get_u16(&self.segment, at).unwrap_or(0);
        (port(0), port(2))
    }

    /// The packet inside an IPIP, IP6IP6 or ICMP error.
    pub fn inner(&self) -> Option<Self> {
        let inside = match self.proto {
            4 | 41 => &self.segment[..],
            1 | 58 => self.segment.get(8..)?,
            _ => return None,
        };
        ip(inside)
    }
}

/// Reads a frame; `None` when it is not IP.
pub fn seen(frame: &[u8]) -> Option<Seen> {
    let mut l3 = 14;
    while matches!(get_u16(frame, l3 - 2)?, 0x8100 | 0x88a8) {
        l3 += 4;
    }
    let mut seen = ip(&frame[l3..])?;
    seen.macs = (at(frame, 0)?, at(frame, 6)?);
    seen.tags = (l3 - 14) / 4;
    Some(seen)
}

fn ip(packet: &[u8]) -> Option<Seen> {
    match packet.first()? >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => None,
    }
}

fn ipv4(ip: &[u8]) -> Option<Seen> {
    let header = usize::from(ip[0] & 15) * 4;
    let total = usize::from(get_u16(ip, 2)?).min(ip.len());
    let fragment = get_u16(ip, 6)?;
    Some(Seen {
        macs: Default::default(),
        tags: 0,
        src: Ipv4Addr::from(at::<4>(ip, 12)?).into(),
        dst: Ipv4Addr::from(at::<4>(ip, 16)?).into(),
        ttl: ip[8],
        proto: ip[9],
        is_later_fragment: fragment & 0x1fff != 0,
        is_fragment: fragment & 0x3fff != 0,
        segment: ip.get(header..total)?.to_vec(),
    })
}

fn ipv6(ip: &[u8]) -> Option<Seen> {
    let total = (40 + usize::from(get_u16(ip, 4)?)).min(ip.len());
    let mut seen = Seen {
        macs: Default::default(),
        tags: 0,
        src: Ipv6Addr::from(at::<16>(ip, 8)?).into(),
        dst: Ipv6Addr::from(at::<16>(ip, 24)?).into(),
        ttl: ip[7],
        proto: ip[6],
        is_later_fragment: false,
        is_fragment: false,
        segment: Vec::new(),
    };
    let mut offset = 40;
    while matches!(seen.proto, 0 | 43 | 44 | 51 | 60) && !seen.is_later_fragment {
        let header: [u8; 4] = at(ip, offset)?;
        offset += match seen.proto {
            44 => {
                let fragment = u16::from_be_bytes([header[2], header[3]]);
                seen.is_later_fragment = fragment & 0xfff8 != 0;
                seen.is_fragment = fragment & 0xfff9 != 0;
                8
            }
            51 => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        seen.proto = header[0];
    }
    seen.segment = ip.get(offset..total)?.to_vec();
    Some(seen)
}

/// What is wrong with a frame, if anything: header checksum and transport
/// checksum, those of an encapsulated packet and of a quoted one too.
pub fn verify(frame: &[u8]) -> Result<Seen, String> {
    let seen = seen(frame).ok_or("not an IP packet")?;
    let l3 = 14 + 4 * seen.tags;
    check_ip(&frame[l3..], &seen, false)?;
    Ok(seen)
}

fn check_ip(packet: &[u8], seen: &Seen, is_quoted: bool) -> Result<(), String> {
    if packet[0] >> 4 == 4 {
        let header = usize::from(packet[0] & 15) * 4;
        let sum = ones_sum(&packet[..header]);
        if sum != 0xffff {
            return Err(format!("IP header sums up to {sum:#06x}"));
        }
    }
    if seen.is_fragment {
        return Ok(());
    }
    match seen.proto {
        4 | 41 => {
            let inner = seen.inner().ok_or("no packet inside")?;
            check_ip(&seen.segment, &inner, false)
        }
        6 | 17 | 58 if !is_quoted => check_transport(seen),
        1 if !is_quoted && ones_sum(&seen.segment) != 0xffff => Err("ICMP checksum".to_owned()),
        _ => Ok(()),
    }?;
    let is_error = match seen.proto {
        1 => matches!(seen.segment.first(), Some(3 | 4 | 11 | 12)),
        58 => matches!(seen.segment.first(), Some(1..=4)),
        _ => false,
    };
    match seen.inner() {
        Some(inner) if is_error && !is_quoted => check_ip(&seen.segment[8..], &inner, true),
        _ => Ok(()),
    }
}

fn check_transport(seen: &Seen) -> Result<(), String> {
    if seen.proto == 17 && get_u16(&seen.segment, 6) == Some(0) {
        return Ok(());
    }
    let sum = transport_sum(seen.src, seen.dst, seen.proto, &seen.segment);
    if sum == 0xffff {
        return Ok(());
    }
    Err(format!("protocol {} sums up to {sum:#06x}", seen.proto))
}
