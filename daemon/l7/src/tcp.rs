//! TCP segments as values: sequence arithmetic, the fields that the engine
//! reads and writes, and how they stand in packets ([`wire`]).

pub mod wire;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An address and port; IPv4 addresses are v4-mapped, as in abi.h.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Endpoint {
    pub ip: [u8; 16],
    pub port: u16,
}

impl Endpoint {
    pub fn is_v4(&self) -> bool {
        self.ip[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
    }

    pub fn address(&self) -> IpAddr {
        Ipv6Addr::from(self.ip).to_canonical()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Self {
            ip,
            port: address.port(),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from((self.address(), self.port)).fmt(f)
    }
}

/// Bits of the flags byte.
pub mod flags {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const PSH: u8 = 8;
    pub const ACK: u8 = 16;
    pub const URG: u8 = 32;
    pub const ECE: u8 = 64;
    pub const CWR: u8 = 128;
}

/// TSval and TSecr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamps {
    pub value: u32,
    pub echo: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    pub mss: Option<u16>,
    pub scale: Option<u8>,
    pub sack_permitted: bool,
    pub timestamps: Option<Timestamps>,
    pub sacks: [(u32, u32); 4],
    pub n_sacks: u8,
}

/// A segment with the addresses of its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment<'p> {
    pub src: Endpoint,
    pub dst: Endpoint,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    /// As it stands in the header, not scaled.
    pub window: u16,
    pub options: Options,
    pub payload: &'p [u8],
}

impl Segment<'_> {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The sequence number behind payload, SYN and FIN.
    pub fn end(&self) -> u32 {
        let flags = u32::from(self.has(flags::SYN)) + u32::from(self.has(flags::FIN));
        self.payload_end().wrapping_add(flags)
    }

    pub fn payload_end(&self) -> u32 {
        self.seq.wrapping_add(self.payload.len() as u32)
    }
}

/// `a < b` in sequence space.
pub fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// `a <= b` in sequence space.
pub fn up_to(a: u32, b: u32) -> bool {
    !before(b, a)
}

/// The later of two sequence numbers.
pub fn later(a: u32, b: u32) -> u32 {
    if before(a, b) { b } else { a }
}

/// Bytes from `a` to `b`; 0 when `b` is not after `a`.
pub fn distance(a: u32, b: u32) -> usize {
    (b.wrapping_sub(a) as i32).max(0) as usize
}
