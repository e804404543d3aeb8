//! Packets in a few words.

use std::net::SocketAddr;

use terrace_model::{Extension, Family, Packet, Transport};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// `address:port`, the address standing for one of the family.
pub fn end(family: Family, text: &str) -> SocketAddr {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return SocketAddr::new(family.ip(text), 0);
    }
    let (address, port) = text.rsplit_once(':').unwrap();
    SocketAddr::new(family.ip(address), port.parse().unwrap())
}

/// A TCP segment without payload.
pub fn tcp(family: Family, src: &str, dst: &str, flags: u8) -> Packet {
    let transport = Transport::Tcp(flags, 1000, 2000, Vec::new());
    let packet = Packet::new(end(family, src), end(family, dst), transport);
    packet.payload(b"")
}

pub fn syn(family: Family, src: &str, dst: &str) -> Packet {
    tcp(family, src, dst, SYN)
}

pub fn udp(family: Family, src: &str, dst: &str) -> Packet {
    Packet::new(end(family, src), end(family, dst), Transport::Udp(true))
}

/// An echo; its identifier is 77.
pub fn ping(family: Family, src: &str, dst: &str) -> Packet {
    let kind = if family == Family::V4 { 8 } else { 128 };
    icmp(family, src, dst, kind, 0, [0, 77, 0, 1])
}

pub fn pong(family: Family, src: &str, dst: &str) -> Packet {
    let kind = if family == Family::V4 { 0 } else { 129 };
    icmp(family, src, dst, kind, 0, [0, 77, 0, 1])
}

pub fn icmp(family: Family, src: &str, dst: &str, kind: u8, code: u8, rest: [u8; 4]) -> Packet {
    let transport = Transport::Icmp(kind, code, rest);
    Packet::new(end(family, src), end(family, dst), transport)
}

/// A protocol without ports.
pub fn other(family: Family, src: &str, dst: &str, proto: u8) -> Packet {
    Packet::new(end(family, src), end(family, dst), Transport::Other(proto))
}

/// What the receiver of a frame sends back; TCP with these flags.
pub fn answer_to(frame: &[u8], flags: u8) -> Packet {
    let seen = terrace_model::seen(frame).unwrap();
    let (sport, dport) = seen.ports();
    let transport = match seen.proto {
        6 => Transport::Tcp(flags, 5000, 1001, Vec::new()),
        17 => Transport::Udp(true),
        proto => panic!("no answer to protocol {proto}"),
    };
    let (src, dst) = (
        SocketAddr::new(seen.dst, dport),
        SocketAddr::new(seen.src, sport),
    );
    Packet::new(src, dst, transport)
}

/// An error about a frame, back to its sender: unreachable, or "too big" with
/// an MTU. Quotes the IP header and `quote` bytes of what follows.
pub fn error_about(from: &str, frame: &[u8], quote: usize, mtu: Option<u16>) -> Packet {
    let seen = terrace_model::seen(frame).unwrap();
    let family = if seen.src.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let l3 = 14 + 4 * seen.tags;
    let end = frame.len().min(l3 + family.header_len() + quote);
    let [a, b] = mtu.unwrap_or(0).to_be_bytes();
    let (kind, code) = match (family, mtu) {
        (Family::V4, None) => (3, 1),
        (Family::V4, Some(_)) => (3, 4),
        (Family::V6, None) => (1, 0),
        (Family::V6, Some(_)) => (2, 0),
    };
    let transport = Transport::Icmp(kind, code, [0, 0, a, b]);
    let (src, dst) = (family.ip(from), seen.src);
    let packet = Packet::new(SocketAddr::new(src, 0), SocketAddr::new(dst, 0), transport);
    packet.payload(&frame[l3..end])
}

/// The packet with its IP packet cut to `len` bytes, its length field too.
pub fn cut(packet: &Packet, len: usize) -> Vec<u8> {
    let mut frame = packet.bytes();
    let l3 = packet.l3();
    frame.truncate(l3 + len);
    match packet.family() {
        Family::V4 => {
            frame[l3 + 2..l3 + 4].copy_from_slice(&(len as u16).to_be_bytes());
            frame[l3 + 10..l3 + 12].fill(0);
            let header = usize::from(frame[l3] & 15) * 4;
            let check = !terrace_model::ones_sum(&frame[l3..l3 + header]);
            frame[l3 + 10..l3 + 12].copy_from_slice(&check.to_be_bytes());
        }
        Family::V6 => {
            let payload = (len - 40) as u16;
            frame[l3 + 4..l3 + 6].copy_from_slice(&payload.to_be_bytes());
        }
    }
    frame
}

/// The frame with other bytes at an offset.
pub fn with(packet: &Packet, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = packet.bytes();
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    frame
}

/// Changes to an order.
pub trait Order: Sized {
    fn payload(self, payload: &[u8]) -> Self;
    fn len(self, len: usize) -> Self;
    fn ttl(self, ttl: u8) -> Self;
    fn tags(self, tags: &[u16]) -> Self;
    fn options(self, options: &[u8]) -> Self;
    fn extension(self, number: u8, body: &[u8]) -> Self;
    fn fragment(self, offset: u16, more: bool) -> Self;
    fn may_fragment(self) -> Self;
    fn without_checksum(self) -> Self;
}

impl Order for Packet {
    fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// `len` bytes of payload.
    fn len(self, len: usize) -> Self {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        self.payload(&payload)
    }

    fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    fn tags(mut self, tags: &[u16]) -> Self {
        self.tags = tags.to_vec();
        self
    }

    fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    fn extension(mut self, number: u8, body: &[u8]) -> Self {
        self.extensions.push(Extension(number, body.to_vec()));
        self
    }

    fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = Some((offset, more, 0x4242));
        self
    }

    fn may_fragment(mut self) -> Self {
        self.dont_fragment = false;
        self
    }

    fn without_checksum(mut self) -> Self {
        self.transport = Transport::Udp(false);
        self
    }
}
