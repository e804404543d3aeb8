//! Packets to order, with right checksums unless the order says otherwise.

use std::net::{IpAddr, SocketAddr};

use crate::bytes::{put, put_u16};
use crate::checksum::{ones_sum, transport_sum};
use crate::world::Family;

/// What is inside the IP packet.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Flags, sequence number, acknowledgement, options.
    Tcp(u8, u32, u32, Vec<u8>),
    /// With or without a checksum.
    Udp(bool),
    /// SCTP's common header; its checksum does not cover addresses.
    Sctp,
    /// Type, code, and the four bytes after the checksum.
    Icmp(u8, u8, [u8; 4]),
    /// Another protocol: payload only.
    Other(u8),
}

/// An IPv6 extension header: its number and its bytes without the first.
#[derive(Debug, Clone)]
pub struct Extension(pub u8, pub Vec<u8>);

/// A packet to be built.
#[derive(Debug, Clone)]
pub struct Packet {
    /// VLAN numbers, the outer one first.
    pub tags: Vec<u16>,
    /// Source and destination.
    pub ends: (IpAddr, IpAddr),
    /// Ports, where the transport has them.
    pub ports: (u16, u16),
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4 only.
    pub dont_fragment: bool,
    /// Bytes of IPv4 options, a multiple of four.
    pub options: Vec<u8>,
    /// IPv6 only.
    pub extensions: Vec<Extension>,
    /// Offset in bytes, more fragments, identification.
    pub fragment: Option<(u16, bool, u32)>,
    /// The next header.
    pub transport: Transport,
    /// The rest.
    pub payload: Vec<u8>,
}

/// Link-layer addresses of the far end and of us.
pub const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0xfa, 1], [2, 0, 0, 0, 0xee, 1]);

impl Packet {
    /// From one address and port to another.
    pub fn new(src: SocketAddr, dst: SocketAddr, transport: Transport) -> Self {
        Self {
            tags: Vec::new(),
            ends: (src.ip(), dst.ip()),
            ports: (src.port(), dst.port()),
            ttl: 64,
            dont_fragment: true,
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            transport,
            payload: b"terrace!".to_vec(),
        }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        if self.ends.0.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }

    /// Bytes before the IP header.
    pub fn l3(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// The whole frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = self.link();
        frame.extend(self.ip());
        frame
    }

    fn link(&self) -> Vec<u8> {
        let mut link = MACS.1.to_vec();
        link.extend(MACS.0);
        for tag in &self.tags {
            link.extend(0x8100u16.to_be_bytes());
            link.extend(tag.to_be_bytes());
        }
        let proto: u16 = match self.family() {
            Family::V4 => 0x0800,
            Family::V6 => 0x86dd,
        };
        link.extend(proto.to_be_bytes());
        link
    }

    /// The IP packet.
    pub fn ip(&self) -> Vec<u8> {
        match self.ends {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4(src.octets(), dst.octets()),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.ipv6(src.octets(), dst.octets()),
            _ => panic!("both ends have the same family"),
        }
    }

    fn proto(&self) -> u8 {
        match (&self.transport, self.family()) {
            (Transport::Tcp(..), _) => 6,
            (Transport::Udp(_), _) => 17,
            (Transport::Sctp, _) => 132,
            (Transport::Icmp(..), Family::V4) => 1,
            (Transport::Icmp(..), Family::V6) => 58,
            (Transport::Other(proto), _) => *proto,
        }
    }

    fn ipv4(&self, src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
        let segment = self.segment();
        let header = 20 + self.options.len();
        let mut ip = vec![0; 20];
        ip[0] = 0x40 | (header / 4) as u8;
        put_u16(&mut ip, 2, (header + segment.len()) as u16);
        let mut flags = u16::from(self.dont_fragment) << 14;
        if let Some((offset, more, id)) = self.fragment {
            put_u16(&mut ip, 4, id as u16);
            flags = (u16::from(more) << 13) | (offset / 8);
        }
        put_u16(&mut ip, 6, flags);
        ip[8] = self.ttl;
        ip[9] = self.proto();
        put(&mut ip, 12, &src);
        put(&mut ip, 16, &dst);
        ip.extend(&self.options);
        let check = !ones_sum(&ip);
        put_u16(&mut ip, 10, check);
        ip.extend(segment);
        ip
    }

    fn ipv6(&self, src: [u8; 16], dst: [u8; 16]) -> Vec<u8> {
        let mut extensions = self.extensions.clone();
        if let Some((offset, more, id)) = self.fragment {
            let mut header = vec![0];
            header.extend(((offset & !7) | u16::from(more)).to_be_bytes());
            header.extend(id.to_be_bytes());
            extensions.push(Extension(44, header));
        }
        let mut rest = Vec::new();
        for (i, Extension(_, body)) in extensions.iter().enumerate() {
            let next = extensions.get(i + 1).map(|next| next.0);
            rest.push(next.unwrap_or(self.proto()));
            rest.extend(body);
        }
        rest.extend(self.segment());
        let mut ip = vec![0x60, 0, 0, 0, 0, 0, 0, self.ttl];
        put_u16(&mut ip, 4, rest.len() as u16);
        ip[6] = extensions.first().map_or(self.proto(), |first| first.0);
        ip.extend(src);
        ip.extend(dst);
        ip.extend(rest);
        ip
    }

    /// The transport header and what follows; of a later fragment its payload.
    fn segment(&self) -> Vec<u8> {
        if matches!(self.fragment, Some((offset, _, _)) if offset > 0) {
            return self.payload.clone();
        }
        let mut segment = self.transport_header();
        segment.extend(&self.payload);
        let (check, sum) = match &self.transport {
            Transport::Tcp(..) => (16, self.pseudo_sum(&segment)),
            Transport::Udp(true) => (6, self.pseudo_sum(&segment)),
            Transport::Icmp(..) if self.family() == Family::V6 => (2, self.pseudo_sum(&segment)),
            Transport::Icmp(..) => (2, ones_sum(&segment)),
            _ => return segment,
        };
        let value = match (&self.transport, !sum) {
            (Transport::Udp(_), 0) => 0xffff,
            (_, value) => value,
        };
        put_u16(&mut segment, check, value);
        segment
    }

    fn pseudo_sum(&self, segment: &[u8]) -> u16 {
        transport_sum(self.ends.0, self.ends.1, self.proto(), segment)
    }

    fn transport_header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend(self.ports.0.to_be_bytes());
        header.extend(self.ports.1.to_be_bytes());
        match &self.transport {
            Transport::Tcp(flags, seq, ack, options) => {
                header.extend(seq.to_be_bytes());
                header.extend(ack.to_be_bytes());
                let words = 5 + options.len() as u8 / 4;
                header.extend([words << 4, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                header.extend(options);
            }
            Transport::Udp(_) => {
                header.extend((8 + self.payload.len() as u16).to_be_bytes());
                header.extend([0, 0]);
            }
            Transport::Sctp => header.extend([7; 8]),
            Transport::Icmp(kind, code, rest) => {
                header = vec![*kind, *code, 0, 0];
                header.extend(rest);
            }
            Transport::Other(_) => header.clear(),
        }
        header
    }
}
