//! What the operator wants in a NIC, and what is in the way before anything is tried.

use terrace_offload::plan::{NicState, Way, Ways};
use terrace_offload::{Machine, Tier, Wish, Wishes};

use super::{Part, front};
use crate::config::{Offload, OffloadInto};

/// The ways that the operator allows. A program in a NIC finds its entries by the source
/// alone, so that policy goes there as rules.
pub fn into(offload: &Offload, part: Part) -> OffloadInto {
    match (part, offload.policy) {
        (Part::Deny, _) => offload.deny_list,
        (Part::Policy, true) => OffloadInto::Flower,
        (Part::Policy, false) => OffloadInto::Off,
    }
}

/// Why the operator wants nothing in a NIC; `None` = wants it there.
pub fn off(offload: &Offload, wishes: &Wishes, iface: &str, part: Part) -> Option<NicState> {
    let say = |why: String, fix: &str| {
        let fix = fix.to_owned();
        Some(NicState::Off { why, fix })
    };
    let key = part.key();
    if into(offload, part) == OffloadInto::Off {
        let why = format!("the configuration puts no {} into NICs", part.what());
        return say(why, &format!("set offload.{key}"));
    }
    let task = part.task();
    if wishes.of(iface, task, Tier::Nic) == Wish::Forbid {
        let why = format!("the configuration forbids nic for {task} on {iface}");
        return say(why, &format!("set tiers.{task}.nic to \"auto\""));
    }
    None
}

/// What is in the way of all that the operator allows; `None` = some of it is open.
pub fn closed(into: OffloadInto, ways: &Ways) -> Option<NicState> {
    let of = |way: &Way| {
        let (why, fix) = way.clone().err()?;
        Some(NicState::Closed { why, fix })
    };
    match into {
        OffloadInto::Program => of(&ways.program),
        OffloadInto::Flower => of(&ways.rules),
        OffloadInto::Ntuple => of(&ways.classifier),
        OffloadInto::Auto | OffloadInto::Off => ways.closed(),
    }
}

/// What was closed while the list was there: news, and nobody's wish.
pub fn lost(closed: NicState) -> NicState {
    match closed {
        NicState::Closed { why, fix } => NicState::Refused { why, fix },
        other => other,
    }
}

/// What a start would do, for a plan without a daemon.
pub fn untried(
    machine: Machine<'_>,
    offload: &Offload,
    wishes: &Wishes,
    iface: &str,
) -> Option<NicState> {
    if let Some(off) = off(offload, wishes, iface, Part::Deny) {
        return Some(off);
    }
    let mut known = machine.interfaces.iter();
    let facts = known.find(|facts| facts.name == iface)?;
    let ways = Ways::of(machine, facts);
    let untried = || {
        let ways = front::ways(offload.deny_list, &ways);
        let way = ways
            .first()
            .map(|way| terrace_offload::plan::way(way.tier()));
        let how = format!("the deny list by {}", way.unwrap_or("rules"));
        NicState::Untried { how }
    };
    Some(closed(offload.deny_list, &ways).unwrap_or_else(untried))
}
