//! Hashes and indexes that C and Rust must compute alike. Each function here
//! has its twin in `include/terrace/`.

use crate::consts::{
    CELL_KEY_WORDS, HOOK_MAX, IFACES_MAX, POLICY_CLASS_ROWS, PREFIX_V6_ROOT, REASON_MAX,
};

/// The key of a cell: five words as a little-endian host loads them.
pub type CellKey = [u32; CELL_KEY_WORDS as usize];

const CELL_SEEDS: [u32; 5] = [0x9747b28c, 0x3c6ef372, 0xdaa66d2b, 0x78dde6e4, 0x1715609d];
const CELL_FACTORS: [u64; 5] = [
    0x9e3779b97f4a7c15,
    0xbf58476d1ce4e5b9,
    0x94d049bb133111eb,
    0xd6e8feb86659fd93,
    0xa0761d6478bd642f,
];
const CELL_FINISH: u64 = 0xe7037ed1a0b428db;
/// First two bytes of the address choose the root; ports come four to a word.
const PORTS_PER_WORD: u32 = 4;
const CLASS_WORDS: u32 = 65536 / PORTS_PER_WORD;

/// The hash of a cell's key; its home bucket is `cell_hash(key) & (buckets - 1)`.
pub fn cell_hash(key: &CellKey) -> u32 {
    let words = key.iter().zip(CELL_SEEDS).zip(CELL_FACTORS);
    let sum = words.fold(0_u64, |sum, ((word, seed), factor)| {
        sum.wrapping_add(u64::from(word ^ seed).wrapping_mul(factor))
    });
    let mixed = (sum ^ (sum >> 32)).wrapping_mul(CELL_FINISH);
    (mixed >> 32) as u32
}

/// The four words of an address as the kernel loads them from memory.
pub fn address_words(address: &[u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(address.chunks_exact(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().expect("chunks of four"));
    }
    words
}

/// The 16-byte form of an address: IPv4 is v4-mapped.
pub fn address_bytes(address: std::net::IpAddr) -> [u8; 16] {
    match address {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address of a 16-byte form; v4-mapped becomes IPv4.
pub fn address_from_bytes(bytes: &[u8; 16]) -> std::net::IpAddr {
    std::net::Ipv6Addr::from(*bytes).to_canonical()
}

/// The root of an address in its 16-byte form: IPv4 by its first two bytes,
/// IPv6 likewise, above [`PREFIX_V6_ROOT`].
pub fn prefix_root_index(address: &[u8; 16]) -> u32 {
    const V4_MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    if address[..12] == V4_MAPPED {
        u32::from(u16::from_be_bytes([address[12], address[13]]))
    } else {
        PREFIX_V6_ROOT + u32::from(u16::from_be_bytes([address[0], address[1]]))
    }
}

/// The word of `port_classes` that holds `port` (host order; for ICMP the
/// type). The class is `(word >> (16 * (port & 3))) & 0xffff`.
pub fn policy_class_index(generation: u32, row: u32, port: u16) -> u32 {
    (generation * POLICY_CLASS_ROWS + row) * CLASS_WORDS + u32::from(port) / PORTS_PER_WORD
}

/// The entry of `reasons` for an interface slot, hook and reason number.
pub fn reason_index(slot: u32, hook: u32, reason: u32) -> u32 {
    (slot * HOOK_MAX + hook) * REASON_MAX + reason
}

/// The fifth word of a service cell's key; `port` in host order.
pub fn service_key_word(port: u16, protocol: u8) -> u32 {
    u32::from(u16::from_ne_bytes(port.to_be_bytes())) << 16 | u32::from(protocol)
}

/// The home slot of an interface in `ifaces`; slot 0 stays "unknown".
pub fn iface_home(ifindex: u32) -> u32 {
    ifindex & (IFACES_MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_hash_gives_the_known_vectors() {
        let rows: [(CellKey, u32); 4] = [
            ([0, 0, 0, 0, 0], 0xd4e9d115),
            ([1, 2, 3, 4, 5], 0xc7ef3a83),
            ([0, 0, 0xffff0000, 0x0100000a, 0x50000006], 0x9c4dfc1c),
            (
                [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
                0x95fae363,
            ),
        ];
        for (key, expected) in rows {
            assert_eq!(cell_hash(&key), expected, "{key:?}");
        }
    }

    #[test]
    fn roots_are_chosen_by_the_first_two_bytes() {
        let rows = [
            ("10.1.2.3", 0x0a01),
            ("0.0.0.0", 0),
            ("255.255.0.1", 0xffff),
            ("fd00::1", 65536 + 0xfd00),
            ("::1", 65536),
        ];
        for (address, expected) in rows {
            let bytes = address_bytes(address.parse().unwrap());
            assert_eq!(prefix_root_index(&bytes), expected, "{address}");
            assert_eq!(address_from_bytes(&bytes).to_string(), address);
        }
    }

    #[test]
    fn indexes_stay_inside_their_tables() {
        assert_eq!(
            policy_class_index(1, 4, 65535),
            crate::consts::POLICY_CLASS_ENTRIES - 1
        );
        assert_eq!(policy_class_index(0, 0, 0), 0);
        assert_eq!(
            reason_index(IFACES_MAX - 1, HOOK_MAX - 1, REASON_MAX - 1),
            IFACES_MAX * HOOK_MAX * REASON_MAX - 1
        );
        assert_eq!(service_key_word(80, 6), u32::from(80u16.to_be()) << 16 | 6);
    }
}
