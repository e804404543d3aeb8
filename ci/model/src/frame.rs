//! A packet on its way through one program.

use std::net::IpAddr;

use crate::bytes::{at, put};
use crate::checksum::Change;
use crate::facts::Facts;

/// The link-layer header without its tags' rest: destination, source, ...
pub(crate) fn swap_macs(frame: &mut [u8]) {
    let (dst, src) = frame.split_at_mut(6);
    dst.swap_with_slice(&mut src[..6]);
}

pub(crate) fn set_macs(frame: &mut [u8], dmac: [u8; 6], smac: [u8; 6]) {
    put(frame, 0, &dmac);
    put(frame, 6, &smac);
}

/// Takes the VLAN tags out: a workload's interface carries none.
pub(crate) fn pop_tags(frame: &mut Vec<u8>, facts: &Facts) {
    if facts.tags > 0 {
        frame.drain(12..facts.l3 - 2);
    }
}

/// Writes an address at `offset` and says how the sum over it changes.
pub(crate) fn put_address(frame: &mut [u8], offset: usize, new: IpAddr, change: &mut Change) {
    match new {
        IpAddr::V4(v4) => put_counted(frame, offset, &v4.octets(), change),
        IpAddr::V6(v6) => put_counted(frame, offset, &v6.octets(), change),
    }
}

/// Writes bytes at an even offset of what a checksum covers.
pub(crate) fn put_counted(frame: &mut [u8], offset: usize, new: &[u8], change: &mut Change) {
    let old = frame[offset..offset + new.len()].to_vec();
    change.add(&old, new);
    put(frame, offset, new);
}

/// A fresh IP header with `payload` bytes behind it.
pub(crate) fn ip_header(src: IpAddr, dst: IpAddr, proto: u8, payload: usize) -> Vec<u8> {
    const TTL: u8 = 64;
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, TTL, proto, 0, 0];
            put(&mut ip, 2, &(20 + payload as u16).to_be_bytes());
            ip.extend(src.octets());
            ip.extend(dst.octets());
            let check = !crate::ones_sum(&ip);
            put(&mut ip, 10, &check.to_be_bytes());
            ip
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut ip = vec![0x60, 0, 0, 0, 0, 0, proto, TTL];
            put(&mut ip, 4, &(payload as u16).to_be_bytes());
            ip.extend(src.octets());
            ip.extend(dst.octets());
            ip
        }
        _ => unreachable!("a packet keeps its family"),
    }
}

/// The 16-bit word at an offset that is known to be inside.
pub(crate) fn word(frame: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes(at(frame, offset).expect("the header was read before"))
}
