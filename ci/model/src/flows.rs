//! Flows and the key that they are found by.

use std::net::IpAddr;

use terrace_abi::hash::{address_bytes, address_words};

/// One direction of a flow, ports in host order. The identifier of an ICMP
/// echo is the port of the end that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Protocol number.
    pub proto: u8,
}

/// What a packet's addresses and ports become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

impl Key {
    /// What the other end sends.
    pub fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            proto: self.proto,
        }
    }

    /// The same hash in both directions, `both_ways_hash` of l7.h.
    pub fn both_ways_hash(self, seed: u32) -> u32 {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let end = |address, port: u16| {
            let [a, b, c, d] = address_words(&address_bytes(address)).map(u64::from);
            let port = u64::from(u16::from_ne_bytes(port.to_be_bytes()));
            let words = ((a ^ c) << 32 | (b ^ d)).wrapping_add(port);
            let mixed = (words ^ u64::from(seed)).wrapping_mul(FACTOR);
            mixed ^ (mixed >> 29)
        };
        let sum = end(self.src, self.sport).wrapping_add(end(self.dst, self.dport));
        (sum.wrapping_mul(FACTOR) >> 32) as u32
    }

    /// The key as it is.
    pub fn tuple(self) -> Tuple {
        Tuple {
            src: self.src,
            dst: self.dst,
            sport: self.sport,
            dport: self.dport,
        }
    }

    /// `flow_hash` of flow.h: bits 0-31 choose the bucket and the pool port,
    /// bits 32-63 the ring slot.
    pub fn hash(self, seed: u32) -> u64 {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let words = self.words();
        let s = u64::from(seed).wrapping_mul(FACTOR);
        let mut h = (words[0] ^ s).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        h = add(h, words[1].wrapping_add(s), 0x94d0_49bb_1331_11eb);
        h = add(h, words[2] ^ (s >> 7), 0xd6e8_feb8_6659_fd93);
        h = add(h, words[3].wrapping_add(s >> 13), 0xa076_1d64_78bd_642f);
        h = add(h, words[4] ^ (s << 9), 0xe703_7ed1_a0b4_28db);
        h ^= h >> 32;
        h = h.wrapping_mul(FACTOR);
        h ^ (h >> 29)
    }

    /// The bytes of `struct flow_key`, loaded as five words.
    fn words(self) -> [u64; 5] {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&address_bytes(self.src));
        bytes[16..32].copy_from_slice(&address_bytes(self.dst));
        bytes[32..34].copy_from_slice(&self.sport.to_be_bytes());
        bytes[34..36].copy_from_slice(&self.dport.to_be_bytes());
        bytes[36] = self.proto;
        let mut words = [0; 5];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    }
}

fn add(h: u64, word: u64, factor: u64) -> u64 {
    h.wrapping_add(word.wrapping_mul(factor))
}

/// What is known of one direction.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// The opener's direction, else the answerer's.
    pub is_orig: bool,
    /// What its packets become.
    pub to: Tuple,
    /// The other direction.
    pub peer: Key,
    /// `FLOW_*` state.
    pub state: u32,
    /// `FLOW_*` flags.
    pub flags: u32,
    /// Under which policy it was allowed.
    pub policy_rev: u32,
    /// Index of the backend, 0 = none.
    pub backend: u32,
    /// Index of the service, 0 = none; the number of a worker's flow.
    pub service: u32,
}
