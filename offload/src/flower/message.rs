//! Flower rules as bytes (linux/pkt_cls.h, linux/rtnetlink.h). Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Flow, Held, Place, Rule, actions};
use crate::wire::tc::{FILTER, TC_H_MIN_INGRESS, TCA_CLS_FLAGS_IN_HW};
use crate::wire::{NESTED, push};

const TCA_CLS_FLAGS_SKIP_SW: u32 = 2;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const TCA_ACT_STATS: u16 = 4;
const TCA_ACT_COOKIE: u16 = 6;
/// Each cookie begins with it, and goes on with the kind.
const OWNER: [u8; 7] = *b"terrace";
const TCP: u8 = 6;
/// FIN, SYN and RST.
const TURNS: u16 = 7;

/// Says that a rule is Terrace's, and all that it says. FNV-1a is enough to tell
/// rules of one kind apart; two that met would only be counted together.
pub fn cookie(rule: &Rule) -> [u8; 16] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in format!("{rule:?}").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut cookie = [0; 16];
    cookie[..7].copy_from_slice(&OWNER);
    cookie[7] = rule.kind().number();
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

/// A rule that is in the NIC or nowhere.
pub fn add(ifindex: u32, place: Place, rule: &Rule) -> Vec<u8> {
    let mut flower = Vec::new();
    push(&mut flower, 8, &place.protocol().to_be_bytes());
    if place.is_tagged {
        push(&mut flower, 25, &place.of_packet().to_be_bytes());
    }
    match rule {
        Rule::Deny(source) => address(&mut flower, SOURCE, source),
        Rule::Closed {
            source,
            destination,
            protocol,
        } => {
            push(&mut flower, 9, &[*protocol]);
            address(&mut flower, SOURCE, source);
            address(&mut flower, DESTINATION, &IpNet::from(*destination));
        }
        // 0 and 1.
        Rule::LastHop { .. } => masked(&mut flower, (75, 76), &[0], &[0xfe]),
        Rule::Flow(flow) => of_flow(&mut flower, flow),
    }
    push(&mut flower, 22, &TCA_CLS_FLAGS_SKIP_SW.to_ne_bytes());
    push(&mut flower, 3 | NESTED, &actions::of(rule, &cookie(rule)));
    let mut body = at(ifindex, place);
    push(&mut body, 1, b"flower\0");
    push(&mut body, 2 | NESTED, &flower);
    body
}

/// Numbers of an address's key, of IPv4 and of IPv6; its mask is the next one.
type AddressKeys = (u16, u16);
const SOURCE: AddressKeys = (10, 14);
const DESTINATION: AddressKeys = (12, 16);

fn address(to: &mut Vec<u8>, (v4, v6): AddressKeys, net: &IpNet) {
    let id = if matches!(net, IpNet::V6(_)) { v6 } else { v4 };
    let (value, mask) = (octets(net.network()), octets(net.netmask()));
    masked(to, (id, id + 1), &value, &mask);
}

fn masked(to: &mut Vec<u8>, (key, mask_key): (u16, u16), value: &[u8], mask: &[u8]) {
    push(to, key, value);
    push(to, mask_key, mask);
}

fn of_flow(to: &mut Vec<u8>, flow: &Flow) {
    if let [Some(vlan), _] = flow.tags {
        push(to, 23, &vlan.to_ne_bytes());
    }
    push(to, 9, &[flow.protocol]);
    let [source, destination] = flow.comes;
    address(to, SOURCE, &IpNet::from(source.0));
    address(to, DESTINATION, &IpNet::from(destination.0));
    let is_tcp = flow.protocol == TCP;
    let (sport, dport) = if is_tcp {
        ((18, 35), (19, 36))
    } else {
        ((20, 37), (21, 38))
    };
    masked(to, sport, &source.1.to_be_bytes(), &[0xff; 2]);
    masked(to, dport, &destination.1.to_be_bytes(), &[0xff; 2]);
    // No fragment.
    masked(to, (47, 48), &[0; 4], &1_u32.to_be_bytes());
    if is_tcp {
        masked(to, (71, 72), &[0; 2], &TURNS.to_be_bytes());
    }
}

/// Removes one rule.
pub fn delete(ifindex: u32, place: Place) -> Vec<u8> {
    let mut body = at(ifindex, place);
    push(&mut body, 1, b"flower\0");
    body
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
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
    let place = Place::all().find(|place| u64::from(place.priority()) == info >> 16)?;
    let place = Place { handle, ..place };
    let options = attrs.nest(2);
    let action = options.nest(3).nest(1);
    let cookie: [u8; 16] = action.get(TCA_ACT_COOKIE)?.try_into().ok()?;
    if cookie[..7] != OWNER || cookie[7] != place.kind.number() {
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

    fn deny(text: &str) -> Rule {
        Rule::Deny(text.parse().expect("a prefix"))
    }

    /// One of each.
    fn all() -> Vec<Rule> {
        let address = |text: &str| text.parse().expect("an address");
        let flow = |from, to, protocol, tags| {
            let (comes, leaves) = ([(from, 1), (to, 2)], [(to, 3), (from, 4)]);
            Rule::Flow(Box::new(Flow {
                protocol,
                comes,
                leaves,
                macs: [[2; 6], [4; 6]],
                out: 9,
                tags,
            }))
        };
        let guard = |is_ipv6, is_tagged| Rule::LastHop { is_ipv6, is_tagged };
        let (v4, v6) = (
            [address("192.0.2.1"), address("10.0.0.1")],
            [address("2001:db8::1"), address("2001:db8::2")],
        );
        vec![
            deny("192.0.2.0/24"),
            deny("2001:db8::/32"),
            Rule::Closed {
                source: "192.0.2.0/24".parse().expect("a prefix"),
                destination: address("10.0.0.1"),
                protocol: 17,
            },
            guard(true, false),
            flow(v4[0], v4[1], 6, [None; 2]),
            flow(v6[0], v6[1], 17, [None, Some(7)]),
            guard(false, true),
            guard(true, true),
            flow(v4[0], v4[1], 6, [Some(5), None]),
            flow(v6[0], v6[1], 17, [Some(5), Some(7)]),
        ]
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
        for wanted in all() {
            let place = Place::of(&wanted, 7);
            let rule = add(3, place, &wanted);
            for (flags, in_hw) in [(2, false), (2 | 4, true), (2 | 8, false)] {
                let held = read(&shown(&rule, flags, 900, 9)).expect("ours");
                let expected = Held {
                    place,
                    cookie: cookie(&wanted),
                    in_hw,
                    packets: 9,
                    bytes: 900,
                };
                assert_eq!(held, expected, "{wanted} {flags}");
            }
        }
    }

    #[test]
    fn one_priority_holds_one_protocol_and_denied_ones_come_first() {
        let order: Vec<u32> = all().iter().map(|r| Place::of(r, 1).priority()).collect();
        assert_eq!(
            order,
            [
                0xa000, 0xa001, 0xa002, 0xa005, 0xa006, 0xa007, 0xa008, 0xa009, 0xa00a, 0xa00b
            ]
        );
        for rule in all() {
            let place = Place::of(&rule, 1);
            assert_eq!(place.priority() & 1, u32::from(place.of_packet() == 0x86dd));
            let is_tagged = place.priority() >= 0xa008;
            assert_eq!(place.protocol() == 0x8100, is_tagged, "{rule}");
        }
    }

    #[test]
    fn a_flow_in_a_vlan_is_known_by_its_tag_and_by_what_is_behind_it() {
        for rule in all() {
            let place = Place::of(&rule, 1);
            let message = add(3, place, &rule);
            let flower = FILTER.attrs(&message).nest(2);
            let be = |id| flower.get(id).map(|bytes| [bytes[0], bytes[1]]);
            let (outer, behind, tag) = match (&rule, place.is_ipv6) {
                (rule, false) if !rule.is_tagged() => ([0x08, 0x00], None, None),
                (rule, true) if !rule.is_tagged() => ([0x86, 0xdd], None, None),
                (Rule::Flow(_), v6) => ([0x81, 0], Some(v6), Some(5_u16.to_ne_bytes())),
                (_, v6) => ([0x81, 0], Some(v6), None),
            };
            let behind = behind.map(|v6| if v6 { [0x86, 0xdd] } else { [0x08, 0x00] });
            assert_eq!(
                (be(8), be(25), be(23)),
                (Some(outer), behind, tag),
                "{rule}"
            );
        }
    }

    #[test]
    fn rules_of_others_are_not_ours() {
        let place = Place::of(&deny("192.0.2.0/24"), 7);
        let ours = shown(&add(3, place, &deny("192.0.2.0/24")), 6, 0, 0);
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
            (
                "another kind's cookie",
                theirs(b"terrace\x01", b"terrace\x02"),
            ),
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
