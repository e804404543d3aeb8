//! Flower rules as bytes (linux/pkt_cls.h, linux/rtnetlink.h). Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Held, Place};
use crate::wire::tc::{FILTER, TC_H_MIN_INGRESS, TCA_CLS_FLAGS_IN_HW};
use crate::wire::{NESTED, push};

const TC_ACT_SHOT: u32 = 2;
const TCA_CLS_FLAGS_SKIP_SW: u32 = 2;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const TCA_ACT_STATS: u16 = 4;
const TCA_ACT_COOKIE: u16 = 6;
/// The first half of each cookie.
const OWNER: [u8; 8] = *b"terrace\x01";

/// Says that a rule is Terrace's, and for which prefix. FNV-1a is enough to tell
/// rules of one list apart; two that met would only be counted together.
pub fn cookie(source: &IpNet) -> [u8; 16] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in source.to_string().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut cookie = [0; 16];
    cookie[..8].copy_from_slice(&OWNER);
    cookie[8..].copy_from_slice(&hash.to_be_bytes());
    cookie
}

/// `struct tcmsg`.
fn head(ifindex: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut head = vec![0; FILTER.header_len];
    for (at, word) in [(4, ifindex), (8, handle), (12, parent), (16, info)] {
        head[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    head
}

fn at(ifindex: u32, place: Place) -> Vec<u8> {
    let info = place.priority() << 16 | u32::from(place.protocol().to_be());
    head(ifindex, place.handle, TC_H_MIN_INGRESS, info)
}

/// The qdisc that filters need.
pub fn clsact(ifindex: u32) -> Vec<u8> {
    let mut body = head(ifindex, CLSACT_HANDLE, CLSACT, 0);
    push(&mut body, 1, b"clsact\0");
    body
}

/// Drops what comes from a prefix, in the NIC or nowhere.
pub fn add(ifindex: u32, place: Place, source: &IpNet) -> Vec<u8> {
    let mut flower = Vec::new();
    push(&mut flower, 8, &place.protocol().to_be_bytes());
    let id = if place.is_ipv6 { 14 } else { 10 };
    push(&mut flower, id, &octets(source.network()));
    push(&mut flower, id + 1, &octets(source.netmask()));
    push(&mut flower, 22, &TCA_CLS_FLAGS_SKIP_SW.to_ne_bytes());
    push(&mut flower, 3 | NESTED, &drops(&cookie(source)));
    let mut body = at(ifindex, place);
    push(&mut body, 1, b"flower\0");
    push(&mut body, 2 | NESTED, &flower);
    body
}

/// One action: `gact` that drops.
fn drops(cookie: &[u8]) -> Vec<u8> {
    let mut parameters = Vec::new();
    for word in [0, 0, TC_ACT_SHOT, 0, 0] {
        parameters.extend(word.to_ne_bytes());
    }
    let (mut options, mut action, mut actions) = (Vec::new(), Vec::new(), Vec::new());
    push(&mut options, 2, &parameters);
    push(&mut action, 1, b"gact\0");
    push(&mut action, 2 | NESTED, &options);
    push(&mut action, TCA_ACT_COOKIE, cookie);
    push(&mut actions, 1 | NESTED, &action);
    actions
}

/// Removes one rule.
pub fn delete(ifindex: u32, place: Place) -> Vec<u8> {
    let mut body = at(ifindex, place);
    push(&mut body, 1, b"flower\0");
    body
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A rule of Terrace's; `None` = somebody else's, or no rule.
pub fn read(message: &[u8]) -> Option<Held> {
    let attrs = FILTER.attrs(message);
    let handle = u32::try_from(FILTER.field(message, "handle")).ok()?;
    if handle == 0 || attrs.text(1)? != "flower" {
        return None;
    }
    let info = FILTER.field(message, "info");
    let place = [false, true].map(|is_ipv6| Place { is_ipv6, handle });
    let place = place
        .into_iter()
        .find(|p| u64::from(p.priority()) == info >> 16)?;
    let options = attrs.nest(2);
    let action = options.nest(3).nest(1);
    let cookie: [u8; 16] = action.get(TCA_ACT_COOKIE)?.try_into().ok()?;
    if cookie[..8] != OWNER {
        return None;
    }
    let (packets, bytes) = stats(&action.nest(TCA_ACT_STATS));
    Some(Held {
        place,
        cookie,
        in_hw: options
            .uint(22)
            .is_some_and(|flags| flags & TCA_CLS_FLAGS_IN_HW != 0),
        packets,
        bytes,
    })
}

/// `struct gnet_stats_basic`: bytes, then packets, which has a wider form beside it.
fn stats(stats: &crate::wire::Attrs<'_>) -> (u64, u64) {
    let Some(basic) = stats.get(1).filter(|basic| basic.len() >= 12) else {
        return (0, 0);
    };
    let bytes = crate::wire::unsigned(&basic[..8]).unwrap_or(0);
    let packets = crate::wire::unsigned(&basic[8..12]).unwrap_or(0);
    (stats.uint(8).unwrap_or(packets), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a prefix")
    }

    /// What the kernel shows of a rule that it was given: with flags, and counters.
    fn shown(rule: &[u8], flags: u32, bytes: u64, packets: u32) -> Vec<u8> {
        let attrs = FILTER.attrs(rule);
        let mut basic = bytes.to_ne_bytes().to_vec();
        basic.extend(packets.to_ne_bytes());
        let (mut stats, mut action, mut actions, mut flower) = Default::default();
        push(&mut stats, 1, &basic);
        let given = attrs.nest(2).nest(3).nest(1);
        push(
            &mut action,
            TCA_ACT_COOKIE,
            given.get(TCA_ACT_COOKIE).expect("a cookie"),
        );
        push(&mut action, TCA_ACT_STATS | NESTED, &stats);
        push(&mut actions, 1 | NESTED, &action);
        push(&mut flower, 22, &flags.to_ne_bytes());
        push(&mut flower, 3 | NESTED, &actions);
        let mut message = rule[..FILTER.header_len].to_vec();
        push(&mut message, 1, b"flower\0");
        push(&mut message, 2 | NESTED, &flower);
        message
    }

    #[test]
    fn a_rule_is_known_again_with_its_place_and_counters() {
        for source in ["192.0.2.0/24", "2001:db8::/32"] {
            let place = Place::of(&net(source), 7);
            let rule = add(3, place, &net(source));
            for (flags, in_hw) in [(2, false), (2 | 4, true), (2 | 8, false)] {
                let held = read(&shown(&rule, flags, 900, 9)).expect("ours");
                let expected = Held {
                    place,
                    cookie: cookie(&net(source)),
                    in_hw,
                    packets: 9,
                    bytes: 900,
                };
                assert_eq!(held, expected, "{source} {flags}");
            }
        }
    }

    #[test]
    fn rules_of_others_are_not_ours() {
        let place = Place::of(&net("192.0.2.0/24"), 7);
        let ours = shown(&add(3, place, &net("192.0.2.0/24")), 6, 0, 0);
        assert!(read(&ours).is_some());
        let theirs = |find: &[u8], put: &[u8]| {
            let mut other = ours.clone();
            let at = ours.windows(find.len()).position(|part| part == find);
            let at = at.expect("it is there");
            other[at..at + put.len()].copy_from_slice(put);
            other
        };
        let rows = [
            ("another cookie", theirs(b"terrace", b"openvsw")),
            ("another kind", theirs(b"flower", b"matcha")),
            (
                "another priority",
                theirs(&0xa000_u16.to_ne_bytes(), &[9, 9]),
            ),
            ("no handle", theirs(&7_u32.to_ne_bytes(), &[0; 4])),
            ("cut off", ours[..40].to_vec()),
            ("nothing", Vec::new()),
        ];
        for (name, message) in rows {
            assert_eq!(read(&message), None, "{name}");
        }
    }
}
