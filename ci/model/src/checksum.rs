//! Internet checksums: from scratch, and after a change.

use std::net::IpAddr;

/// The one's complement sum of big-endian words; an odd byte is a high one.
pub fn ones_sum(bytes: &[u8]) -> u16 {
    fold(wide_sum(bytes))
}

fn wide_sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u64::from(u16::from_be_bytes([pair[0], low]))
    });
    words.sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The sum over pseudo header and segment; 0xffff when the checksum is right.
pub fn transport_sum(src: IpAddr, dst: IpAddr, proto: u8, segment: &[u8]) -> u16 {
    let address = |address| match address {
        IpAddr::V4(v4) => wide_sum(&v4.octets()),
        IpAddr::V6(v6) => wide_sum(&v6.octets()),
    };
    let len = segment.len() as u64;
    fold(
        address(src)
            + address(dst)
            + u64::from(proto)
            + (len & 0xffff)
            + (len >> 16)
            + wide_sum(segment),
    )
}

/// A change of words that a checksum covers (RFC 1624).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change(u64);

impl Change {
    /// `old` became `new`; both begin at an even offset and are equally long.
    pub fn add(&mut self, old: &[u8], new: &[u8]) {
        debug_assert_eq!(old.len(), new.len());
        let inverse: Vec<u8> = old.iter().map(|byte| !byte).collect();
        self.0 += wide_sum(&inverse) + wide_sum(new);
    }

    /// An address became another.
    pub fn address(&mut self, old: IpAddr, new: IpAddr) {
        match (old, new) {
            (IpAddr::V4(old), IpAddr::V4(new)) => self.add(&old.octets(), &new.octets()),
            (IpAddr::V6(old), IpAddr::V6(new)) => self.add(&old.octets(), &new.octets()),
            _ => unreachable!("a packet keeps its family"),
        }
    }

    /// Both changes.
    pub fn join(&mut self, other: Self) {
        self.0 += other.0;
    }

    /// A 16-bit word became another.
    pub fn word(&mut self, old: u16, new: u16) {
        self.add(&old.to_be_bytes(), &new.to_be_bytes());
    }

    /// The checksum field after the change.
    pub fn apply(self, check: u16) -> u16 {
        if self.0 == 0 {
            return check;
        }
        !fold(u64::from(!check) + self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1624_comes_out_right() {
        let mut change = Change::default();
        change.word(0x5555, 0x3285);
        assert_eq!(change.apply(0xdd2f), 0);
    }

    #[test]
    fn an_odd_byte_counts_as_a_high_one() {
        assert_eq!(ones_sum(&[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
    }
}
