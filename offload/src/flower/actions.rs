//! What a rule does (linux/tc_act/*.h), as bytes. Pure.

use std::net::IpAddr;

use super::VLAN;
use super::message::octets;
use super::rule::{Flow, Rule};
use crate::wire::{NESTED, push};

const TC_ACT_SHOT: u32 = 2;
const TC_ACT_PIPE: u32 = 3;
const TC_ACT_STOLEN: u32 = 4;
const TC_ACT_TRAP: u32 = 8;
const TCA_ACT_COOKIE: u16 = 6;
const TCA_EGRESS_REDIR: u32 = 1;
const VLAN_POP: u32 = 1;
const VLAN_PUSH: u32 = 2;
const TCP: u8 = 6;

/// Headers of act_pedit.
const ETH: u16 = 1;
const IP4: u16 = 2;
const IP6: u16 = 3;
const TCP_HEADER: u16 = 4;
const UDP_HEADER: u16 = 5;

/// All actions of a rule; the first has the cookie.
pub(super) fn of(rule: &Rule, cookie: &[u8]) -> Vec<u8> {
    let all = match rule {
        Rule::Deny(_) | Rule::Closed { .. } => vec![gact(TC_ACT_SHOT)],
        Rule::LastHop { .. } => vec![gact(TC_ACT_TRAP)],
        Rule::Flow(flow) => {
            let [comes, leaves] = flow.tags;
            let popped = comes.map(|_| vlan(VLAN_POP, None));
            let pushed = leaves.map(|id| vlan(VLAN_PUSH, Some(id)));
            let changed = [Some(pedit(flow)), Some(csum(flow))];
            let all = std::iter::once(popped).chain(changed);
            let all = all.chain([pushed, Some(mirred(flow.out))]);
            all.flatten().collect()
        }
    };
    let mut actions = Vec::new();
    for (number, (kind, options)) in (1..).zip(&all) {
        let mut action = Vec::new();
        push(&mut action, 1, kind);
        push(&mut action, 2 | NESTED, options);
        if number == 1 {
            push(&mut action, TCA_ACT_COOKIE, cookie);
        }
        push(&mut actions, number | NESTED, &action);
    }
    actions
}

type Action = (&'static [u8], Vec<u8>);

/// `tc_gen`: index, capabilities, action, two counts; and more words.
fn parameters(action: u32, more: &[u32]) -> Vec<u8> {
    let words = [0, 0, action, 0, 0].into_iter().chain(more.iter().copied());
    words.flat_map(u32::to_ne_bytes).collect()
}

fn one(id: u16, parameters: &[u8]) -> Vec<u8> {
    let mut options = Vec::new();
    push(&mut options, id, parameters);
    options
}

fn gact(action: u32) -> Action {
    (b"gact\0", one(2, &parameters(action, &[])))
}

fn mirred(out: u32) -> Action {
    let parameters = parameters(TC_ACT_STOLEN, &[TCA_EGRESS_REDIR, out]);
    (b"mirred\0", one(2, &parameters))
}

/// Takes a tag off, or puts one on.
fn vlan(action: u32, id: Option<u16>) -> Action {
    let mut options = one(2, &parameters(TC_ACT_PIPE, &[action]));
    if let Some(id) = id {
        push(&mut options, 3, &id.to_ne_bytes());
        push(&mut options, 4, &VLAN.to_be_bytes());
    }
    (b"vlan\0", options)
}

fn csum(flow: &Flow) -> Action {
    let of_ip = u32::from(flow.comes[0].0.is_ipv4());
    let of_transport = if flow.protocol == TCP { 8 } else { 16 };
    let parameters = parameters(TC_ACT_PIPE, &[of_ip | of_transport]);
    (b"csum\0", one(1, &parameters))
}

/// A word of a header: its bits in `keep` stay.
struct Edit {
    header: u16,
    at: u32,
    keep: [u8; 4],
    value: [u8; 4],
    adds: bool,
}

/// Addresses, ports, Ethernet addresses, and one hop less.
fn edits(flow: &Flow) -> Vec<Edit> {
    let set = |header, at, value| Edit {
        header,
        at,
        keep: [0; 4],
        value,
        adds: false,
    };
    let words = |header, at: u32, bytes: &[u8]| -> Vec<Edit> {
        let words = bytes.chunks_exact(4).zip((at..).step_by(4));
        words
            .map(|(word, at)| set(header, at, [word[0], word[1], word[2], word[3]]))
            .collect()
    };
    let [from, to] = flow.leaves;
    let (header, hop_at, hop, addresses_at) = match from.0 {
        IpAddr::V4(_) => (IP4, 8, [0xff, 0, 0, 0], 12),
        IpAddr::V6(_) => (IP6, 4, [0, 0, 0, 0xff], 8),
    };
    let macs = [flow.macs[1], flow.macs[0]].concat();
    let addresses = [octets(from.0), octets(to.0)].concat();
    let ports = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    let transport = if flow.protocol == TCP {
        TCP_HEADER
    } else {
        UDP_HEADER
    };
    let mut edits = words(ETH, 0, &macs);
    edits.push(Edit {
        header,
        at: hop_at,
        keep: hop.map(|byte: u8| !byte),
        value: hop,
        adds: true,
    });
    edits.extend(words(header, addresses_at, &addresses));
    edits.extend(words(transport, 0, &ports));
    edits
}

/// `tc_pedit_sel` with its keys, and for each key which header it counts from.
fn pedit(flow: &Flow) -> Action {
    let edits = edits(flow);
    let mut selector = parameters(TC_ACT_PIPE, &[]);
    let count = u8::try_from(edits.len()).expect("13 words at most");
    selector.extend([count, 0, 0, 0]);
    let mut headers = Vec::new();
    for edit in &edits {
        selector.extend(edit.keep);
        selector.extend(edit.value);
        selector.extend([edit.at, 0, 0, 0].into_iter().flat_map(u32::to_ne_bytes));
        let mut header = Vec::new();
        push(&mut header, 1, &edit.header.to_ne_bytes());
        push(&mut header, 2, &u16::from(edit.adds).to_ne_bytes());
        push(&mut headers, 6 | NESTED, &header);
    }
    let mut options = Vec::new();
    push(&mut options, 4, &selector);
    push(&mut options, 5 | NESTED, &headers);
    (b"pedit\0", options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(from: &str, to: &str, protocol: u8) -> Flow {
        let end = |text: &str, port| (text.parse().expect("an address"), port);
        Flow {
            protocol,
            comes: [end(from, 1), end(to, 2)],
            leaves: [end(to, 0x0304), end(from, 0x0506)],
            macs: [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]],
            out: 7,
            tags: [None; 2],
        }
    }

    #[test]
    fn a_tag_goes_before_the_headers_change_and_comes_behind_it() {
        let rows: [([Option<u16>; 2], &[&str]); 4] = [
            ([None, None], &["pedit", "csum", "mirred"]),
            ([Some(5), None], &["vlan", "pedit", "csum", "mirred"]),
            ([None, Some(7)], &["pedit", "csum", "vlan", "mirred"]),
            (
                [Some(5), Some(7)],
                &["vlan", "pedit", "csum", "vlan", "mirred"],
            ),
        ];
        for (tags, kinds) in rows {
            let flow = Flow {
                tags,
                ..flow("192.0.2.1", "198.51.100.2", 6)
            };
            let bytes = of(&Rule::Flow(Box::new(flow)), b"whose");
            let actions = crate::wire::Attrs(&bytes);
            let mut shown = Vec::new();
            for number in 1..=u16::try_from(kinds.len()).expect("a few") {
                let action = actions.nest(number);
                shown.push(action.text(1).unwrap_or_default().to_owned());
                assert_eq!(action.get(TCA_ACT_COOKIE).is_some(), number == 1);
                if shown.last().is_some_and(|kind| kind == "vlan") {
                    let options = action.nest(2);
                    let word = options.get(2).expect("parameters")[20..24].to_vec();
                    let pushes = word == VLAN_PUSH.to_ne_bytes();
                    assert_eq!(pushes, number != 1, "{tags:?}");
                    let expected = pushes.then_some((7_u16.to_ne_bytes(), [0x81, 0]));
                    let said = options.get(3).zip(options.get(4));
                    let said = said.map(|(id, of)| ([id[0], id[1]], [of[0], of[1]]));
                    assert_eq!(said, expected, "{tags:?}");
                }
            }
            assert_eq!(shown, kinds, "{tags:?}");
            let end = u16::try_from(kinds.len() + 1).expect("a few");
            assert!(actions.get(end).is_none(), "{tags:?}");
        }
    }

    /// What the edits make of headers of zeroes, with 64 hops to go.
    fn edited(flow: &Flow) -> std::collections::BTreeMap<u16, Vec<u8>> {
        let mut headers = std::collections::BTreeMap::new();
        for edit in edits(flow) {
            let header: &mut Vec<u8> = headers.entry(edit.header).or_insert_with(|| {
                let mut header = vec![0; 40];
                match edit.header {
                    IP4 => header[8] = 64,
                    IP6 => header[7] = 64,
                    _ => {}
                }
                header
            });
            for (i, (keep, value)) in edit.keep.iter().zip(edit.value).enumerate() {
                let byte = &mut header[edit.at as usize + i];
                *byte = match edit.adds {
                    true => (*byte & keep) | (byte.wrapping_add(value) & !keep),
                    false => (*byte & keep) ^ value,
                };
            }
        }
        headers
    }

    #[test]
    fn a_flow_leaves_with_its_new_ends_and_one_hop_less() {
        let v4 = edited(&flow("192.0.2.1", "198.51.100.2", 6));
        assert_eq!(v4[&ETH][..12], [7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6]);
        assert_eq!(v4[&IP4][8], 63);
        assert_eq!(v4[&IP4][12..20], [198, 51, 100, 2, 192, 0, 2, 1]);
        assert_eq!(v4[&TCP_HEADER][..4], [3, 4, 5, 6]);
        let v6 = edited(&flow("2001:db8::1", "2001:db8::2", 17));
        assert_eq!(v6[&IP6][4..8], [0, 0, 0, 63]);
        assert_eq!((v6[&IP6][23], v6[&IP6][39]), (2, 1));
        assert_eq!(v6[&UDP_HEADER][..4], [3, 4, 5, 6]);
    }
}
