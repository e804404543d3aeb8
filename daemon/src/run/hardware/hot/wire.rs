//! The rules of one flow, and what is in the way of any: which port of a switch its packets
//! come and go by, with or without the tag of a VLAN.

use std::net::{IpAddr, SocketAddr};

use terrace_offload::flower::{Flow, Rule};
use terrace_offload::plan::{NicState, Ways};

use super::super::Host;
use super::candidates::{Id, Seen};
use crate::netlink::{Link, Network};

const ETHERNET: u64 = 14;
const TAG: u64 = 4;

/// An uplink, and the port of a switch by which its packets come and go: itself, or what
/// is under a VLAN.
#[derive(Debug, Clone, Copy)]
pub struct Wire<'l> {
    pub uplink: &'l Link,
    pub port: &'l Link,
    tag: Option<u16>,
}

impl<'l> Wire<'l> {
    pub fn of(network: &'l Network, uplink: &'l Link) -> Option<Self> {
        let (port, tag) = match uplink.vlan {
            Some(vlan) => (network.links.get(&vlan.under)?, Some(vlan.id)),
            None => (uplink, None),
        };
        Some(Self { uplink, port, tag })
    }
}

/// Packets that are about to end come up, so that the flow's end is seen.
pub fn guards(wanted: &[(Id, Rule)]) -> Vec<Rule> {
    let mut guards = Vec::new();
    for is_tagged in [false, true] {
        if wanted.iter().any(|(_, rule)| rule.is_tagged() == is_tagged) {
            let guard = |is_ipv6| Rule::LastHop { is_ipv6, is_tagged };
            guards.extend([false, true].map(guard));
        }
    }
    guards
}

/// Bytes that a NIC counts before the IP header.
pub fn header(rule: &Rule) -> u64 {
    ETHERNET + if rule.is_tagged() { TAG } else { 0 }
}

/// The NIC that a flow's packets come to, and what it is to do. They come where answers
/// to them go; if they come elsewhere the rule just meets none.
pub fn rule(host: Host<'_>, open: &[Wire<'_>], id: &Id, seen: &Seen) -> Option<(u32, Rule)> {
    let of = |ifindex: u32| open.iter().find(|wire| wire.uplink.ifindex == ifindex);
    let towards = |address: IpAddr| terrace_offload::ask::hop(address).ok().flatten();
    let comes = of(towards(id.ends[0].ip())?.0)?;
    let (out, gateway) = towards(seen.leaves[1].ip())?;
    let leaves = of(out)?;
    let switch = switch_of(&comes.port.name)?;
    // What is too long the programs tell its sender; a NIC would not.
    let fits = comes.uplink.mtu <= leaves.uplink.mtu;
    if switch_of(&leaves.port.name)? != switch || !fits {
        return None;
    }
    let to = host
        .network
        .neighbours
        .get(&(out, gateway))
        .copied()
        .flatten()?;
    let ends = |ends: [SocketAddr; 2]| ends.map(|end| (end.ip(), end.port()));
    let flow = Flow {
        protocol: id.protocol,
        comes: ends(id.ends),
        leaves: ends(seen.leaves),
        macs: [leaves.uplink.mac, to],
        out: leaves.port.ifindex,
        tags: [comes.tag, leaves.tag],
    };
    Some((comes.port.ifindex, Rule::Flow(Box::new(flow))))
}

/// What is in the way of flows in a link's NIC; `None` = nothing that is known before
/// anything is tried.
pub fn closed(network: &Network, link: &Link, ways: &Ways) -> Option<NicState> {
    let name = &link.name;
    let by_design = |why: String| (why, "nothing to do".to_owned());
    let (way, port) = match (link.kind.as_str(), Wire::of(network, link)) {
        (
            "vlan",
            Some(Wire {
                tag: Some(_), port, ..
            }),
        ) => (&ways.tagged, port),
        ("vlan", _) => {
            let what = "a VLAN of another kind than 802.1Q, or of another namespace";
            return Some(state(by_design(format!("{name} is {what}"))));
        }
        (kind @ ("vxlan" | "geneve" | "gre" | "ipip" | "sit"), _) => {
            let what = "rules of hot flows wrap and unwrap nothing";
            return Some(state(by_design(format!("{name} is a {kind}: {what}"))));
        }
        _ => (&ways.rules, link),
    };
    let port = &port.name;
    match way {
        Err(closed) => Some(state(closed.clone())),
        Ok(()) if switch_of(port).is_none() => {
            let why = format!("{port} is no port of a switch in a NIC (no phys_switch_id)");
            let fix = format!("`devlink dev eswitch set DEVICE mode switchdev`, if {port} has one");
            Some(state((why, fix)))
        }
        Ok(()) => None,
    }
}

fn state((why, fix): (String, String)) -> NicState {
    NicState::Closed { why, fix }
}

/// Ports of one switch tell the same number.
fn switch_of(iface: &str) -> Option<String> {
    let path = format!("/sys/class/net/{iface}/phys_switch_id");
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Vlan;

    fn link(name: &str, kind: &str, vlan: Option<Vlan>) -> Link {
        Link {
            name: name.to_owned(),
            kind: kind.to_owned(),
            vlan,
            ..Link::default()
        }
    }

    #[test]
    fn a_nic_that_cannot_take_flows_says_why() {
        let no = |why: &str| Err((why.to_owned(), "what to do".to_owned()));
        let off = || no("hw-tc-offload is off");
        let unlisted = || no("does not list the action vlan_push");
        let tag = Some(Vlan { under: 9, id: 5 });
        let elsewhere = Some(Vlan { under: 8, id: 5 });
        let rows = [
            (
                link("tun0", "vxlan", None),
                Ok(()),
                Ok(()),
                "unwrap nothing",
            ),
            (
                link("no-such", "", None),
                Ok(()),
                unlisted(),
                "no-such is no port of a switch",
            ),
            (link("up0", "", None), off(), Ok(()), "hw-tc-offload is off"),
            // What is under a VLAN counts, not what the VLAN's own device tells.
            (
                link("up0.5", "vlan", tag),
                off(),
                unlisted(),
                "does not list the action",
            ),
            (
                link("up0.5", "vlan", tag),
                off(),
                Ok(()),
                "no-such is no port of a switch",
            ),
            (
                link("up0.5", "vlan", elsewhere),
                Ok(()),
                Ok(()),
                "of another namespace",
            ),
            (
                link("up0.5", "vlan", None),
                Ok(()),
                Ok(()),
                "another kind than 802.1Q",
            ),
        ];
        let mut network = Network::default();
        network.links.insert(9, link("no-such", "", None));
        for (link, rules, tagged, words) in rows {
            let ways = Ways {
                program: off(),
                rules,
                tagged,
                classifier: off(),
                queues: off(),
            };
            match closed(&network, &link, &ways) {
                Some(NicState::Closed { why, .. }) => assert!(why.contains(words), "{why}"),
                state => panic!("{words}: {state:?}"),
            }
        }
    }

    #[test]
    fn packets_at_their_last_hop_come_up_with_a_tag_and_without() {
        let ends = ["192.0.2.1:1", "192.0.2.2:2"].map(|end| end.parse().expect("an end"));
        let id = Id {
            protocol: 6,
            ends,
            created: 0,
        };
        let flow = |tags| {
            let ends = ends.map(|end: SocketAddr| (end.ip(), end.port()));
            let flow = Flow {
                protocol: 6,
                comes: ends,
                leaves: ends,
                macs: [[2; 6]; 2],
                out: 1,
                tags,
            };
            (id, Rule::Flow(Box::new(flow)))
        };
        let (plain, tagged) = (flow([None, Some(5)]), flow([Some(5), None]));
        let rows = [
            (vec![plain.clone()], 14, vec![false, false]),
            (vec![tagged.clone()], 18, vec![true, true]),
            (vec![plain, tagged], 14, vec![false, false, true, true]),
        ];
        for (wanted, bytes, expected) in rows {
            let guards = guards(&wanted);
            let tagged: Vec<bool> = guards.iter().map(Rule::is_tagged).collect();
            assert_eq!(tagged, expected);
            assert_eq!(header(&wanted[0].1), bytes);
        }
    }
}
