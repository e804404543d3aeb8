//! Stacking: which interface lies on which, what each one is to the others,
//! and where a program must go to see an interface's packets.

use std::collections::BTreeMap;

use super::survey::{Entries, Entry};
use crate::facts::{Fact, InterfaceFacts, InterfaceRole};

/// Kinds that lie on others and run no program of their own in the driver.
const ON_TOP: &[&str] = &[
    "bond", "team", "vlan", "bridge", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec", "vrf",
    "hsr", "dsa",
];
/// Kinds whose ports a program can be attached to through them.
const PROPAGATES: &[&str] = &["bond"];

/// Lower and upper interfaces, and switch numbers.
pub(super) fn relate(entries: &mut Entries) {
    let names: BTreeMap<u32, String> = entries
        .iter()
        .map(|(i, e)| (*i, e.facts.name.clone()))
        .collect();
    let kinds: BTreeMap<u32, Option<String>> = entries
        .iter()
        .map(|(i, e)| (*i, e.link.kind.clone()))
        .collect();
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    let mut switches: Vec<Vec<u8>> = Vec::new();
    for (ifindex, entry) in entries.iter_mut() {
        if let Some(master) = entry.link.master {
            pairs.push((master, *ifindex));
            controller(entry, names.get(&master), kinds.get(&master));
        }
        let link = &entry.link;
        let lies_on = link
            .link
            .filter(|under| under != ifindex && !link.link_elsewhere);
        let on_top = link
            .kind
            .as_deref()
            .is_some_and(|kind| ON_TOP.contains(&kind));
        if let Some(under) = lies_on.filter(|_| on_top) {
            pairs.push((*ifindex, under));
            if let Some(name) = names.get(&under) {
                entry.fact(
                    "link.parent",
                    Fact::declared(name.as_str(), "rtnl.IFLA_LINK"),
                );
            }
        }
        if let Some(id) = &entry.link.switch_id {
            let at = switches.iter().position(|known| known == id);
            let number = at.unwrap_or_else(|| {
                switches.push(id.clone());
                switches.len() - 1
            });
            entry.facts.switch_id = Some(format!("switch {}", number + 1));
        }
        if entry.link.kind.as_deref() == Some("veth") {
            let here = lies_on.is_some_and(|peer| names.contains_key(&peer));
            entry.fact("veth.peer_here", Fact::declared(here, "rtnl.IFLA_LINK"));
        }
    }
    for (upper, lower) in pairs {
        let (Some(above), Some(below)) = (names.get(&upper), names.get(&lower)) else {
            continue;
        };
        if let Some(entry) = entries.get_mut(&upper) {
            entry.facts.lower.push(below.clone());
        }
        if let Some(entry) = entries.get_mut(&lower) {
            entry.facts.upper.push(above.clone());
        }
    }
    peers(entries);
}

fn controller(entry: &mut Entry, name: Option<&String>, kind: Option<&Option<String>>) {
    let Some(name) = name else { return };
    let source = "rtnl.IFLA_MASTER";
    entry.fact(
        "link.controller",
        Fact::declared(name.as_str(), source).transient(),
    );
    let kind = kind.cloned().flatten();
    entry.fact(
        "link.controller_kind",
        Fact::declared(kind, source).transient(),
    );
}

/// A veth's native XDP depends on its other end.
fn peers(entries: &mut Entries) {
    let queues: BTreeMap<u32, Option<u32>> = entries
        .iter()
        .map(|(i, e)| (*i, e.link.tx_queues))
        .collect();
    for entry in entries.values_mut() {
        if entry.facts.facts.bool("veth.peer_here") == Some(true) {
            let peer = entry
                .link
                .link
                .and_then(|peer| queues.get(&peer).copied().flatten());
            let fact = Fact::declared(peer, "rtnl.IFLA_NUM_TX_QUEUES of the peer");
            entry.fact("veth.peer_tx_queues", fact);
        }
    }
}

/// Interfaces that this one's report needs: those under it, and the one that it
/// is a port of.
pub(super) fn rests_on(facts: &InterfaceFacts) -> Vec<String> {
    let controller = facts.facts.text("link.controller").map(str::to_owned);
    facts.lower.iter().cloned().chain(controller).collect()
}

/// Roles, and where programs go.
pub(super) fn resolve(entries: &mut Entries) {
    for entry in entries.values_mut() {
        entry.facts.role = role(entry);
    }
    let by_name: BTreeMap<&str, &InterfaceFacts> = entries
        .values()
        .map(|entry| (entry.facts.name.as_str(), &entry.facts))
        .collect();
    let mut places: Vec<Vec<String>> = Vec::with_capacity(entries.len());
    for entry in entries.values() {
        let mut own = Vec::new();
        places_of(&entry.facts, &by_name, &mut Vec::new(), &mut own);
        places.push(own);
    }
    for (entry, own) in entries.values_mut().zip(places) {
        entry.facts.attach_to = own;
    }
}

fn role(entry: &Entry) -> InterfaceRole {
    let facts = &entry.facts.facts;
    let is = |key: &str, word: &str| facts.text(key) == Some(word);
    let kind = entry.link.kind.as_deref();
    let port = entry.link.port_name.as_deref().unwrap_or_default();
    // Some drivers number a switch that nobody manages, too.
    let in_switch = entry.link.switch_id.is_some() && !is("eswitch.mode", "legacy");
    let flavour = facts.text("devlink.flavour").unwrap_or_default();
    if entry.link.is_loopback {
        InterfaceRole::Loopback
    } else if kind.is_some_and(|kind| ON_TOP.contains(&kind)) {
        InterfaceRole::Stacked
    } else if matches!(flavour, "pcipf" | "pcivf" | "pcisf") || in_switch && is_function(port) {
        InterfaceRole::Representor
    } else if in_switch || is("eswitch.mode", "switchdev") && flavour == "physical" {
        InterfaceRole::Uplink
    } else if facts.bool("sriov.is_vf") == Some(true) {
        InterfaceRole::Vf
    } else if entry.link.parent.as_ref().is_some_and(is_scalable) {
        InterfaceRole::Sf
    } else if entry.link.parent.is_some() {
        InterfaceRole::Port
    } else if kind.is_some() || is("id.driver", "tun") || is("id.driver", "veth") {
        InterfaceRole::Virtual
    } else {
        InterfaceRole::Unknown
    }
}

fn is_scalable(parent: &(String, String)) -> bool {
    parent.0 == "auxiliary" && parent.1.contains(".sf.")
}

/// `pf0vf3`, `c1pf0sf2`, `pf1`: a function behind the switch, not a port (`p0`).
fn is_function(port: &str) -> bool {
    let after = port.strip_prefix('c').map_or(port, |rest| {
        rest.trim_start_matches(|c: char| c.is_ascii_digit())
    });
    after.starts_with("pf")
}

/// The interfaces on which a program sees this one's packets.
fn places_of(
    facts: &InterfaceFacts,
    all: &BTreeMap<&str, &InterfaceFacts>,
    seen: &mut Vec<String>,
    places: &mut Vec<String>,
) {
    if seen.contains(&facts.name) {
        return;
    }
    seen.push(facts.name.clone());
    let controller = facts
        .facts
        .text("link.controller")
        .and_then(|name| all.get(name).copied());
    if let Some(controller) = controller.filter(|controller| takes_over(facts, controller)) {
        return places_of(controller, all, seen, places);
    }
    let lower: Vec<&InterfaceFacts> = facts
        .lower
        .iter()
        .filter_map(|n| all.get(n.as_str()).copied())
        .collect();
    let passes_down = facts.role == InterfaceRole::Stacked && !lower.is_empty();
    if passes_down && !propagates(facts) {
        for under in lower {
            places_of(under, all, seen, places);
        }
    } else if !places.contains(&facts.name) {
        places.push(facts.name.clone());
    }
}

/// A bond hands a program to its ports in the modes that bond_main.c lists.
fn propagates(facts: &InterfaceFacts) -> bool {
    let kind = facts.facts.text("id.kind").unwrap_or_default();
    let mode = facts.facts.text("bond.mode").unwrap_or_default();
    let hash = facts.facts.text("bond.xmit_hash");
    let hashed = hash != Some("vlan+srcmac");
    PROPAGATES.contains(&kind)
        && match mode {
            "balance-rr" | "active-backup" => true,
            "balance-xor" | "802.3ad" => hashed,
            _ => false,
        }
}

/// Whether a port's packets belong to what it is a port of: a bond, or the
/// synthetic half of a netvsc pair.
fn takes_over(port: &InterfaceFacts, controller: &InterfaceFacts) -> bool {
    let driver = controller.facts.text("id.driver");
    propagates(controller) && controller.lower.contains(&port.name) || driver == Some("hv_netvsc")
}
