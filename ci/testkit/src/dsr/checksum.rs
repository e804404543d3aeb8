//! Checksums that the kernel left to hardware.

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A packet that the kernel merged on its way carries only the sum of its
/// pseudo-header, which hardware would complete. Completes exactly such a one:
/// any other checksum stays as it is, a wrong one too.
pub fn complete(packet: &mut [u8]) -> Option<()> {
    let (header, protocol, addresses) = match packet.first()? >> 4 {
        4 => (usize::from(packet[0] & 0xf) * 4, *packet.get(9)?, 12..20),
        _ => (40, *packet.get(6)?, 8..40),
    };
    let offset = match protocol {
        TCP => 16,
        UDP => 6,
        _ => return None,
    };
    let length = packet.len().checked_sub(header)?;
    let pseudo = sum(packet.get(addresses)?) + u64::from(protocol) + length as u64;
    let field = packet.get(header + offset..header + offset + 2)?;
    if fold(pseudo) != u16::from_be_bytes([field[0], field[1]]) {
        return None;
    }
    // The field holds the pseudo-header's sum, so one sum covers both.
    let checksum = !fold(sum(&packet[header..]));
    packet[header + offset..header + offset + 2].copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2);
    let words = words.map(|pair| [pair[0], pair.get(1).copied().unwrap_or(0)]);
    words.map(|pair| u64::from(u16::from_be_bytes(pair))).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IPv4, 10.0.0.1 to 10.0.0.2, UDP, six bytes of payload.
    fn packet(checksum: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 34, 0, 0, 0, 0, 64, UDP, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend([0, 7, 0, 9, 0, 14]);
        packet.extend(checksum.to_be_bytes());
        packet.extend(*b"sixsix");
        packet
    }

    #[test]
    fn only_the_sum_of_the_pseudo_header_is_completed() {
        let pseudo = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + u16::from(UDP) + 14;
        let mut partial = packet(pseudo);
        assert_eq!(complete(&mut partial), Some(()));
        // Right: header, payload and pseudo-header sum up to all ones.
        let check = sum(&partial[20..]) + u64::from(pseudo);
        assert_eq!(fold(check), 0xffff);
        let full = partial.clone();
        for (row, mut other) in [("complete", full), ("wrong", packet(0x1234))] {
            let before = other.clone();
            assert_eq!(complete(&mut other), None, "{row}");
            assert_eq!(other, before, "{row}");
        }
    }
}
