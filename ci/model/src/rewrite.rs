//! Translating headers.

use std::net::IpAddr;

use crate::bytes::put_u16;
use crate::checksum::Change;
use crate::facts::{Facts, Part, UDP};
use crate::flows::Tuple;
use crate::frame::{put_address, put_counted, word};

/// Addresses, ports, checksums; `hops` off TTL or hop limit.
pub(crate) fn rewrite(frame: &mut [u8], facts: &Facts, to: &Tuple, hops: u8) {
    rewrite_with(frame, facts, to, hops, Change::default());
}

/// The same, where something else that the checksum covers has changed too.
pub(crate) fn rewrite_with(frame: &mut [u8], facts: &Facts, to: &Tuple, hops: u8, other: Change) {
    let mut addresses = Change::default();
    let (src, dst) = if facts.is_v4 { (12, 16) } else { (8, 24) };
    put_address(frame, facts.l3 + src, to.src, &mut addresses);
    put_address(frame, facts.l3 + dst, to.dst, &mut addresses);
    if facts.is_v4 {
        let check = addresses.apply(word(frame, facts.l3 + 10));
        put_u16(frame, facts.l3 + 10, check);
    }
    take_hops(frame, facts, hops);
    if facts.part == Part::Later || !facts.has_ports() {
        return;
    }
    let mut change = addresses;
    change.join(other);
    put_counted(frame, facts.l4, &to.sport.to_be_bytes(), &mut change);
    put_counted(frame, facts.l4 + 2, &to.dport.to_be_bytes(), &mut change);
    let is_udp = facts.key.proto == UDP;
    fix_transport(
        frame,
        facts.l4 + if is_udp { 6 } else { 16 },
        change,
        is_udp,
    );
}

/// A UDP checksum of zero means that there is none.
pub(crate) fn fix_transport(frame: &mut [u8], at: usize, change: Change, is_udp: bool) {
    let old = word(frame, at);
    if is_udp && old == 0 {
        return;
    }
    let new = change.apply(old);
    put_u16(frame, at, if is_udp && new == 0 { 0xffff } else { new });
}

pub(crate) fn take_hops(frame: &mut [u8], facts: &Facts, hops: u8) {
    set_ttl(frame, facts, facts.ttl.wrapping_sub(hops));
}

pub(crate) fn set_ttl(frame: &mut [u8], facts: &Facts, ttl: u8) {
    if !facts.is_v4 {
        frame[facts.l3 + 7] = ttl;
        return;
    }
    if ttl == frame[facts.l3 + 8] {
        return;
    }
    let proto = frame[facts.l3 + 9];
    let mut change = Change::default();
    put_counted(frame, facts.l3 + 8, &[ttl, proto], &mut change);
    let check = change.apply(word(frame, facts.l3 + 10));
    put_u16(frame, facts.l3 + 10, check);
}

/// The address words that a checksum sees change.
pub(crate) fn pseudo(facts: &Facts, src: IpAddr, dst: IpAddr) -> Change {
    let mut change = Change::default();
    change.address(facts.key.src, src);
    change.address(facts.key.dst, dst);
    change
}
