//! The packets that the drivers write, and the keys that they vary.

use std::net::Ipv4Addr;

/// Bytes of a frame: `FRAME_BYTES` of harness.bpf.h.
pub const FRAME_BYTES: usize = 64;
const ETHERTYPE_IPV4: [u8; 2] = [8, 0];
const PROTO_TCP: u8 = 6;
/// Of the TCP sequence number.
pub const SEQ_AT: usize = 38;
pub const TCP_SYN: u8 = 2;
pub const TCP_ACK: u8 = 16;

/// Which keys a driver takes, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Uniform, with repetition.
    Random,
    /// Every key once, scattered; again from the first after the last.
    Once,
}

/// How key `k` becomes addresses and ports: source `base + (k * mul >> shift)`,
/// the others `base + (k & mask)`.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// A power of two.
    pub n_keys: u32,
    pub order: Order,
    pub src: Ipv4Addr,
    pub src_mul: u32,
    pub src_shift: u32,
    pub dst: Ipv4Addr,
    pub dst_mask: u32,
    pub sport: u16,
    pub sport_mask: u32,
    pub dport: u16,
    pub dport_mask: u32,
}

impl Keys {
    /// Clients of 16 ports each, all towards one address and port.
    pub fn clients(n_keys: u32, order: Order, dst: Ipv4Addr, dport: u16) -> Self {
        Self {
            n_keys,
            order,
            src: Ipv4Addr::new(172, 16, 0, 0),
            src_mul: 1,
            src_shift: 4,
            dst,
            dst_mask: 0,
            sport: 20_000,
            sport_mask: 15,
            dport,
            dport_mask: 0,
        }
    }

    /// The same keys, each once.
    pub fn once(self) -> Self {
        Self {
            order: Order::Once,
            ..self
        }
    }
}

/// An IPv4 TCP frame of 64 bytes without options; the driver fills in the key.
/// Nothing on the way checks checksums, so they are those of nothing.
pub fn tcp_frame(dst_mac: [u8; 6], src_mac: [u8; 6], flags: u8) -> [u8; FRAME_BYTES] {
    const TOTAL: u16 = (FRAME_BYTES - 14) as u16;
    let mut frame = [0; FRAME_BYTES];
    frame[..6].copy_from_slice(&dst_mac);
    frame[6..12].copy_from_slice(&src_mac);
    frame[12..14].copy_from_slice(&ETHERTYPE_IPV4);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&TOTAL.to_be_bytes());
    frame[20] = 0x40;
    frame[22] = 64;
    frame[23] = PROTO_TCP;
    frame[46] = 5 << 4;
    frame[47] = flags;
    frame[48] = 0xff;
    frame
}

/// The beginning of an IPv4 UDP frame of `size` bytes without a checksum; the
/// generator fills in the key and the checksum of the IP header.
pub fn udp_frame(dst_mac: [u8; 6], src_mac: [u8; 6], size: usize) -> [u8; FRAME_BYTES] {
    const PROTO_UDP: u8 = 17;
    let total = (size - 14) as u16;
    let length = (size - 34) as u16;
    let mut frame = tcp_frame(dst_mac, src_mac, 0);
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[23] = PROTO_UDP;
    frame[34..].fill(0);
    frame[38..40].copy_from_slice(&length.to_be_bytes());
    frame
}
