//! Hot established flows in NICs: rules that translate and send on within one switch.
//!
//! Each flow's own counters tell its rate, so there is no sketch: the table is looked at
//! every few seconds, and only where a NIC takes such rules; a number a slot is kept of it. What a NIC does for a flow is
//! credited to the flow, its service and its backend, and keeps it alive. All flows leave the
//! NICs at once when policy or routes change; the programs serve them meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use terrace_abi::types;
use terrace_offload::flower::{self, Kind, Port, Rule};
use terrace_offload::plan::NicState;
use terrace_offload::promote::{Marks, Promoter};
use terrace_offload::verdict::NicTier;

use super::{Host, front};
use crate::netlink::Link;
use crate::run::events::Kind as Event;
use crate::run::hooks::Hooks;

mod candidates;
mod wire;

use candidates::{Id, Last, Seen, candidates};
pub use wire::closed;
use wire::{Wire, guards, header, rule};

/// What one NIC holds.
#[derive(Debug)]
struct Held {
    link: Link,
    /// With what is in front of their packets there.
    flows: BTreeMap<[u8; 16], (Id, u64)>,
    counts: flower::Counts,
    state: NicState,
}

/// Flows in all NICs.
#[derive(Debug, Default)]
pub struct Hot {
    promoter: Promoter<Id>,
    pinned: BTreeSet<Id>,
    seen: BTreeMap<Id, Seen>,
    last: Last,
    looked: Option<Instant>,
    policy_rev: u32,
    /// By ifindex of the port.
    ports: BTreeMap<u32, Held>,
    /// The port of each uplink.
    under: BTreeMap<u32, u32>,
    /// Why others take none, by ifindex.
    closed: BTreeMap<u32, NicState>,
}

impl Hot {
    /// What became of flows in one NIC.
    pub fn state(&self, ifindex: u32) -> Option<NicState> {
        let port = self.under.get(&ifindex);
        let held = port.and_then(|port| self.ports.get(port));
        let held = held.map(|held| &held.state);
        held.or(self.closed.get(&ifindex)).cloned()
    }

    /// Flows in a NIC, and what it has done for flows since the daemon's start.
    pub fn shown(&self) -> impl Iterator<Item = (&Link, usize, (u64, u64))> {
        let ports = self.ports.values();
        ports.map(|held| {
            let done = (held.counts.packets, held.counts.bytes);
            (&held.link, held.flows.len(), done)
        })
    }

    /// One look: counts, and moves what has become hot or cold. `links` are uplinks, with
    /// what is in the way of flows in their NICs.
    pub fn look(&mut self, host: Host<'_>, hooks: &Hooks, links: &[(Link, Option<NicState>)]) {
        self.credit(host);
        let offload = &host.config.offload;
        let closed = links.iter().filter(|_| offload.flows);
        self.closed = closed
            .filter_map(|(link, state)| Some((link.ifindex, state.clone()?)))
            .collect();
        let open = links.iter().filter(|(_, closed)| closed.is_none());
        let open = open.filter_map(|(link, _)| Wire::of(host.network, link));
        let open: Vec<Wire<'_>> = open.collect();
        let open = open.as_slice();
        let under = open.iter();
        self.under = under
            .map(|wire| (wire.uplink.ifindex, wire.port.ifindex))
            .collect();
        let now = Instant::now();
        let since = self.looked.map(|looked| now.duration_since(looked));
        if since.is_some_and(|since| since < offload.flow_look) {
            return;
        }
        if !offload.flows || open.is_empty() {
            return self.clear(host, hooks);
        }
        let marks = Marks {
            heavy: u64::from(offload.flow_heavy),
            light: u64::from(offload.flow_light),
            looks: 2,
            budget: offload.flow_rules as usize,
        };
        let seconds = since.map_or(0.0, |since| since.as_secs_f64());
        let (promoter, pinned) = (&self.promoter, &offload.pinned);
        // What is light, neither promoted nor pinned, is nothing to remember.
        let keeps = |id: &Id, seen: &Seen, rate: u64| {
            rate >= marks.light || promoter.is_promoted(id) || is_of(pinned, id, seen)
        };
        let found = match candidates(host, &mut self.last, seconds, keeps) {
            Ok(found) => found,
            Err(error) => return host.events.tell(Event::KernelRefused, format!("{error:#}")),
        };
        self.policy_rev = host
            .maps
            .config()
            .map_or(self.policy_rev, |config| config.policy_rev);
        self.looked = Some(now);
        self.seen = found.seen;
        self.pin(&offload.pinned);
        self.promoter.look(&found.rates, &marks);
        self.place(host, hooks, open);
    }

    /// Out of all NICs when what they were judged by is another one.
    pub fn judge(&mut self, host: Host<'_>, hooks: &Hooks) {
        let held = self.ports.values().any(|held| !held.flows.is_empty());
        if !held {
            return;
        }
        let config = host.maps.config();
        if config.is_ok_and(|config| config.policy_rev == self.policy_rev) {
            return;
        }
        self.withdraw(host, hooks);
    }

    /// Out of all NICs; what is hot comes back with the next look.
    pub fn withdraw(&mut self, host: Host<'_>, hooks: &Hooks) {
        self.credit(host);
        for held in self.ports.values_mut() {
            take_out(host, hooks, held);
        }
    }

    /// For good.
    pub fn clear(&mut self, host: Host<'_>, hooks: &Hooks) {
        self.withdraw(host, hooks);
        self.ports.clear();
        self.promoter = Promoter::default();
        self.pinned.clear();
        self.seen.clear();
        self.last = Last::default();
    }

    /// What NICs have done since the last time is the flows' own.
    fn credit(&mut self, host: Host<'_>) {
        for (ifindex, held) in &mut self.ports {
            if held.flows.is_empty() {
                continue;
            }
            let Ok(rules) = flower::of_kind(&mut Port { ifindex: *ifindex }, Kind::Flow) else {
                continue;
            };
            for (cookie, (packets, bytes)) in held.counts.note(&rules) {
                let flow = held
                    .flows
                    .get(&cookie)
                    .and_then(|(id, header)| Some((id, header, self.seen.get(id)?)));
                let Some((id, header, seen)) = flow.filter(|_| packets > 0) else {
                    continue;
                };
                // NICs count whole frames.
                let bytes = bytes.saturating_sub(header * packets);
                let credit = types::credit {
                    key: seen.key,
                    created: id.created,
                    found: 0,
                    packets,
                    bytes,
                };
                if let Err(error) = host.maps.credit(&credit) {
                    host.events.tell(Event::KernelRefused, error.to_string());
                }
            }
        }
    }

    /// Flows of the services that the operator has named.
    fn pin(&mut self, services: &[(u8, SocketAddr)]) {
        let wanted: BTreeSet<Id> = self
            .seen
            .iter()
            .filter(|(id, seen)| is_of(services, id, seen))
            .map(|(id, _)| *id)
            .collect();
        for id in self.pinned.difference(&wanted) {
            self.promoter.pin(*id, false);
        }
        for id in wanted.difference(&self.pinned) {
            self.promoter.pin(*id, true);
        }
        self.pinned = wanted;
    }

    /// Brings the rules of every NIC to the flows that are promoted and live.
    fn place(&mut self, host: Host<'_>, hooks: &Hooks, open: &[Wire<'_>]) {
        let mut wanted: BTreeMap<u32, Vec<(Id, Rule)>> = BTreeMap::new();
        let promoted: Vec<Id> = self.promoter.promoted().copied().collect();
        for id in promoted {
            let seen = self.seen.get(&id);
            match seen.and_then(|seen| rule(host, open, &id, seen)) {
                Some((port, rule)) => wanted.entry(port).or_default().push((id, rule)),
                None => self.promoter.refused(&id),
            }
        }
        // Several VLANs may be on one port.
        let ports = open.iter().map(|wire| (wire.port.ifindex, wire.port));
        let ports: BTreeMap<u32, &Link> = ports.collect();
        let is_open = |ifindex: &u32| ports.contains_key(ifindex);
        for (_, held) in self
            .ports
            .iter_mut()
            .filter(|(ifindex, _)| !is_open(ifindex))
        {
            take_out(host, hooks, held);
        }
        self.ports.retain(|ifindex, _| is_open(ifindex));
        for (ifindex, link) in ports {
            let held = self.ports.entry(ifindex).or_insert_with(|| Held {
                link: link.clone(),
                flows: BTreeMap::new(),
                counts: flower::Counts::default(),
                state: NicState::Nothing,
            });
            let wanted = wanted.remove(&ifindex).unwrap_or_default();
            if wanted.is_empty() {
                take_out(host, hooks, held);
                continue;
            }
            for id in put(host, hooks, held, &wanted) {
                self.promoter.refused(&id);
            }
        }
    }
}

/// Whether a flow is of one of the services.
fn is_of(services: &[(u8, SocketAddr)], id: &Id, seen: &Seen) -> bool {
    let ends = [id.ends[1], seen.leaves[0]];
    let of = |(protocol, end): &(u8, SocketAddr)| *protocol == id.protocol && ends.contains(end);
    services.iter().any(of)
}

fn take_out(host: Host<'_>, hooks: &Hooks, held: &mut Held) {
    if held.flows.is_empty() {
        return;
    }
    if let Err(no) = flower::clear_kind(held.link.ifindex, Kind::Flow) {
        return host.events.tell(Event::KernelRefused, no.evidence());
    }
    held.flows.clear();
    held.state = NicState::Nothing;
    front::drop_qdisc(hooks, host.maps, &held.link);
}

/// Those that the NIC did not take.
fn put(host: Host<'_>, hooks: &Hooks, held: &mut Held, wanted: &[(Id, Rule)]) -> Vec<Id> {
    let all: Vec<Id> = wanted.iter().map(|(id, _)| *id).collect();
    let refused = |why: String| NicState::Refused {
        why,
        fix: "set offload.flows to false to keep flows out of NICs".to_owned(),
    };
    let link = &held.link;
    if let Err(error) = hooks.make_qdisc(&link.name, link.ifindex) {
        held.state = refused(format!("{error:#}"));
        return all;
    }
    let flows = wanted.iter().map(|(_, rule)| rule.clone());
    let rules: Vec<Rule> = guards(wanted).into_iter().chain(flows).collect();
    let mut port = Port {
        ifindex: link.ifindex,
    };
    let outcome = flower::sync(&mut port, Kind::Flow, &rules, rules.len());
    let there = flower::of_kind(&mut port, Kind::Flow).unwrap_or_default();
    let there: BTreeSet<[u8; 16]> = there.into_iter().map(|rule| rule.cookie).collect();
    held.flows = wanted
        .iter()
        .map(|(id, rule)| (flower::cookie(rule), (*id, header(rule))))
        .filter(|(cookie, _)| there.contains(cookie))
        .collect();
    let why = match outcome {
        Ok(outcome) => outcome.refused.map(|refused| refused.why),
        Err(no) => Some(no.evidence()),
    };
    if held.flows.is_empty() {
        let _ = flower::clear_kind(link.ifindex, Kind::Flow);
        front::drop_qdisc(hooks, host.maps, link);
        held.state = refused(why.unwrap_or_else(|| "the NIC holds none of the rules".to_owned()));
        return all;
    }
    let is_held = |id: &Id| held.flows.values().any(|(held, _)| held == id);
    held.state = NicState::Held {
        tier: NicTier::HwSwitch,
        held: held.flows.len(),
        of: wanted.len(),
        next: why,
    };
    all.into_iter().filter(|id| !is_held(id)).collect()
}
