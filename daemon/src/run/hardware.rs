//! The deny list, and what policy drops whatever the port, in the NICs of uplinks: put
//! there, read back, counted, taken away.
//!
//! Both stand in front of the programs, which go on dropping all of them, so that
//! any part may be in the NIC and its end is never a gap. Nothing is recorded of
//! what was put there: rules carry the owner's cookie, and programs hang on a link.

mod front;
mod hot;
mod list;
mod meter;
mod spread;
mod wish;

use std::collections::BTreeMap;

use terrace_offload::flower;
use terrace_offload::plan::{NicState, Ways};
use terrace_offload::{Machine, Wishes};

use self::front::{Front, Tools};
use self::hot::Hot;
use self::list::List;
pub use self::list::Part;
use self::meter::Meter;
use self::spread::Led;
pub use self::spread::Reach;
pub use self::wish::untried;
use self::wish::{closed, into, lost, off};
use super::events::Kind;
use super::hooks::Hooks;
use super::interfaces::Host;
use crate::api;
use crate::config::OffloadInto;
use crate::lifecycle::nic_rules::NicRules;
use crate::netlink::Link;

/// What all NICs hold.
#[derive(Debug, Default)]
pub struct Hardware {
    /// By ifindex.
    fronts: BTreeMap<(u32, Part), Placed>,
    /// Outlive what they count: a list may leave a NIC and come back.
    meters: BTreeMap<(u32, Part), Meter>,
    hot: Hot,
    /// What leads requests to workers, by ifindex.
    led: BTreeMap<u32, Led>,
    record: NicRules,
}

/// What was put into one NIC, and what for.
#[derive(Debug)]
struct Placed {
    link: Link,
    tried: Tried,
    front: Option<Front>,
    state: NicState,
}

/// What an attempt depends on: it is made again when any of this changes.
#[derive(Debug, Clone)]
struct Tried {
    list: List,
    into: OffloadInto,
    ways: Ways,
    /// Somebody else's program has the NIC's place for one.
    taken: bool,
}

impl Tried {
    fn is_same(&self, other: &Self) -> bool {
        self.list.is_same(&other.list)
            && self.into == other.into
            && self.ways == other.ways
            && self.taken == other.taken
    }
}

/// What is wanted of one NIC.
pub struct Wanted<'w> {
    pub link: &'w Link,
    pub wishes: &'w Wishes,
    pub machine: Machine<'w>,
}

impl Hardware {
    pub fn new(record: NicRules) -> Self {
        Self {
            record,
            ..Self::default()
        }
    }

    fn tools<'t>(&'t self, host: Host<'t>, hooks: &'t Hooks) -> Tools<'t> {
        Tools {
            hooks,
            maps: host.maps,
            record: &self.record,
        }
    }

    /// Brings one NIC to what is wanted of it. Equal wants cost a comparison.
    pub fn place(&mut self, host: Host<'_>, hooks: &Hooks, wanted: &Wanted<'_>) {
        for part in Part::ALL {
            self.place_part(host, hooks, wanted, part);
        }
    }

    fn place_part(&mut self, host: Host<'_>, hooks: &Hooks, wanted: &Wanted<'_>, part: Part) {
        let key = (wanted.link.ifindex, part);
        let before = self.fronts.get(&key);
        let is_ours =
            before.is_some_and(|placed| placed.front.as_ref().is_some_and(Front::is_program));
        let Some(tried) = wanted.tried(host, part, is_ours) else {
            return;
        };
        if before.is_some_and(|placed| placed.tried.is_same(&tried)) {
            return;
        }
        let was = self.take(host, hooks, key);
        let (front, state) = match wanted.off(host.config, part) {
            Some(off) => (None, off),
            None => put(
                host,
                self.tools(host, hooks),
                wanted.link,
                &tried,
                was.is_some(),
            ),
        };
        tell(host, (&wanted.link.name, part), was.as_ref(), &state);
        let link = wanted.link.clone();
        let placed = Placed {
            link,
            tried,
            front,
            state,
        };
        self.fronts.insert(key, placed);
    }

    /// What became of a list in a NIC.
    pub fn state(&self, ifindex: u32, part: Part) -> Option<NicState> {
        let placed = self.fronts.get(&(ifindex, part));
        placed.map(|placed| placed.state.clone())
    }

    /// What became of hot flows in a NIC.
    pub fn flows(&self, ifindex: u32) -> Option<NicState> {
        self.hot.state(ifindex)
    }

    /// Moves flows that have become hot or cold, in NICs that take rules of tc.
    pub fn look(&mut self, host: Host<'_>, hooks: &Hooks) {
        let deny = self.fronts.iter().filter(|(key, _)| key.1 == Part::Deny);
        let asked = deny.map(|(_, placed)| {
            let closed = hot::closed(host.network, &placed.link, &placed.tried.ways);
            (placed.link.clone(), closed)
        });
        let asked: Vec<(Link, Option<NicState>)> = asked.collect();
        self.hot.look(host, hooks, &asked);
    }

    /// Flows leave the NICs when policy has changed.
    pub fn judge_flows(&mut self, host: Host<'_>, hooks: &Hooks) {
        self.hot.judge(host, hooks);
    }

    /// Flows leave the NICs, as the way to somewhere may be another one.
    pub fn withdraw_flows(&mut self, host: Host<'_>, hooks: &Hooks) {
        self.hot.withdraw(host, hooks);
    }

    /// Takes it out of a NIC that is not served any more; one that is gone has none.
    pub fn forget(&mut self, host: Host<'_>, hooks: &Hooks, ifindex: u32) {
        self.hot.withdraw(host, hooks);
        for part in Part::ALL {
            self.take(host, hooks, (ifindex, part));
            self.meters.remove(&(ifindex, part));
        }
        self.unlead(host, ifindex);
    }

    /// Out of all of them.
    pub fn clear(&mut self, host: Host<'_>, hooks: &Hooks) {
        self.hot.clear(host, hooks);
        let all: Vec<(u32, Part)> = self.fronts.keys().copied().collect();
        for key in all {
            self.take(host, hooks, key);
        }
        let led: Vec<u32> = self.led.keys().copied().collect();
        for ifindex in led {
            self.unlead(host, ifindex);
        }
    }

    /// Reads counters and looks whether everything is there still; true = something
    /// is not, and is to be placed again.
    pub fn tend(&mut self, host: Host<'_>) -> bool {
        let mut lost = Vec::new();
        for (key, placed) in &mut self.fronts {
            let Some(front) = &mut placed.front else {
                continue;
            };
            let meter = self.meters.entry(*key).or_default();
            if !front.look((key.0, &placed.link.name), meter) {
                lost.push(*key);
            }
        }
        for key in &lost {
            if let Some(placed) = self.fronts.remove(key) {
                let what = format!(
                    "{}: what the NIC held of {} was taken off; it is put there anew",
                    placed.link.name,
                    key.1.noun()
                );
                host.events.tell(Kind::NicLost, what);
            }
        }
        !lost.is_empty()
    }

    /// What is in the NICs, with what they have dropped.
    pub fn shown(&self) -> Vec<api::NicFront> {
        let mut shown = Vec::new();
        for (key, placed) in &self.fronts {
            let meter = self.meters.get(key).cloned().unwrap_or_default();
            let (packets, bytes) = meter.total();
            let held = match placed.state {
                NicState::Held { held, of, tier, .. } => Some((held, of, tier)),
                _ => None,
            };
            if held.is_none() && packets == 0 {
                continue;
            }
            shown.push(api::NicFront {
                iface: placed.link.name.clone(),
                ifindex: key.0,
                part: key.1.name().to_owned(),
                way: held.map_or_else(String::new, |(_, _, tier)| tier.name().to_owned()),
                held: held.map_or(0, |(held, ..)| held),
                of: held.map_or(0, |(_, of, _)| of),
                program_id: placed.front.as_ref().and_then(Front::program_id),
                packets,
                bytes,
            });
        }
        shown.extend(self.shown_flows());
        shown.extend(self.shown_queues());
        shown
    }

    fn shown_flows(&self) -> impl Iterator<Item = api::NicFront> {
        let any = self
            .hot
            .shown()
            .filter(|(_, n, (packets, _))| *n > 0 || *packets > 0);
        any.map(|(link, held, (packets, bytes))| api::NicFront {
            iface: link.name.clone(),
            ifindex: link.ifindex,
            part: "flows".to_owned(),
            way: "hw-switch".to_owned(),
            held,
            of: held,
            program_id: None,
            packets,
            bytes,
        })
    }

    /// What was there; it is not any more.
    fn take(&mut self, host: Host<'_>, hooks: &Hooks, key: (u32, Part)) -> Option<NicState> {
        let mut placed = self.fronts.remove(&key)?;
        if let Some(front) = &mut placed.front {
            let meter = self.meters.entry(key).or_default();
            front.look((key.0, &placed.link.name), meter);
            meter.restart();
        }
        if let Some(front) = placed.front
            && let Err(error) = front.remove(self.tools(host, hooks), &placed.link)
        {
            host.events.tell(Kind::KernelRefused, format!("{error:#}"));
        }
        matches!(placed.state, NicState::Held { .. }).then_some(placed.state)
    }
}

impl Wanted<'_> {
    /// What an attempt would depend on now; `None` = the interface is gone.
    fn tried(&self, host: Host<'_>, part: Part, is_ours: bool) -> Option<Tried> {
        let mut known = self.machine.interfaces.iter();
        let facts = known.find(|facts| facts.name == self.link.name)?;
        let mode = facts.facts.text("xdp.attached_mode");
        Some(Tried {
            list: List::of(host, part),
            into: into(&host.config.offload, part),
            ways: Ways::of(self.machine, facts),
            taken: part == Part::Deny && !is_ours && matches!(mode, Some("offloaded" | "multi")),
        })
    }

    fn off(&self, config: &crate::config::Config, part: Part) -> Option<NicState> {
        off(&config.offload, self.wishes, &self.link.name, part)
    }
}

fn put(
    host: Host<'_>,
    tools: Tools<'_>,
    link: &Link,
    tried: &Tried,
    was_held: bool,
) -> (Option<Front>, NicState) {
    if tried.list.len() == 0 {
        return (None, NicState::Nothing);
    }
    // A driver may go on taking what the host has switched off (netdevsim of Linux 7.3
    // does), so it is not asked.
    if let Some(closed) = closed(tried.into, &tried.ways) {
        return (None, if was_held { lost(closed) } else { closed });
    }
    let limit = host.config.offload.entries as usize;
    let mut refusals = Vec::new();
    for way in front::ways(tried.into, &tried.ways) {
        match Front::put(way, tools, link, (&tried.list, limit)) {
            Ok((front, next)) => {
                let state = NicState::Held {
                    tier: way.tier(),
                    held: front.held(),
                    of: tried.list.len(),
                    next,
                };
                return (Some(front), state);
            }
            Err(why) => refusals.push(format!("{}: {why}", way.name())),
        }
    }
    let why = refusals.join("; ");
    let fix = "see what the kernel says, or keep it out of NICs by [offload]".to_owned();
    (None, NicState::Refused { why, fix })
}

fn tell(host: Host<'_>, (iface, part): (&str, Part), was: Option<&NicState>, now: &NicState) {
    let noun = part.noun();
    match now {
        NicState::Held { held, of, tier, .. } => {
            let way = terrace_offload::plan::way(*tier);
            let what = format!("{iface}: {held} of {of} entries of {noun}, by {way}");
            host.events.tell(Kind::NicHolds, what);
        }
        _ if was.is_some() => {
            let what = format!("{iface}: {noun} left the NIC; the programs drop all of it");
            host.events.tell(Kind::NicLost, what);
        }
        _ => {}
    }
}

/// Removes what a killed daemon has left in NICs: what is wanted there is put there anew,
/// and the programs do its work meanwhile.
pub fn sweep(host: Host<'_>) {
    let record = NicRules::beside(&host.config.control_socket);
    for what in record.sweep().err().unwrap_or_default() {
        host.events.tell(Kind::KernelRefused, what);
    }
    let holders = match flower::holders() {
        Ok(holders) => holders,
        // Kernels without tc have no rules of it.
        Err(no) => return tracing::debug!("no rules of tc to look for: {}", no.evidence()),
    };
    for (ifindex, _) in holders {
        if let Err(no) = flower::clear(ifindex) {
            let what = format!("rules in the NIC of link {ifindex}: {}", no.evidence());
            host.events.tell(Kind::KernelRefused, what);
        }
    }
}
