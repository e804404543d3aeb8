//! Workers' sockets on the queues of uplinks: bound while native XDP is there,
//! given up before it goes.
//!
//! Order: sockets are bound and have readers before the interface's entry tells
//! the program of them, and the entry is cleared before anything of that goes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use anyhow::Result;
use terrace_offload::Machine;
use terrace_offload::facts::InterfaceFacts;
use terrace_offload::judge::verdicts;
use terrace_offload::plan;
use terrace_offload::verdict::NicTier;
use terrace_xdp::xsk::Bind;

use super::{Armed, Host, Interfaces};
use crate::api::Role;
use crate::l7::inlet::InletState;
use crate::l7::tier::Tier as Workers;
use crate::l7::uplink::{Uplink, Ways, ways, worth_a_bind};
use crate::render::units::plural;
use crate::run::events::Kind;
use crate::run::hardware::Reach;

/// Sockets on the queues of one uplink.
#[derive(Debug, Clone)]
struct Open {
    of: Uplink,
    first: u32,
    how: Bind,
    /// Why not zero-copy, where that was wanted.
    why: String,
    /// Whether the kernel was asked for zero-copy.
    tried_zero_copy: bool,
    /// What of the queues is not read, and what the NIC does about it.
    led: String,
    inlets: Vec<Arc<InletState>>,
}

/// What the kernel refused, and of what.
#[derive(Debug, Clone)]
struct Refusal {
    of: Uplink,
    why: String,
    /// An earlier daemon's socket is on its way out.
    is_passing: bool,
}

/// By ifindex.
#[derive(Debug, Default)]
pub struct Uplinks {
    open: BTreeMap<u32, Open>,
    leaving: BTreeMap<u32, Open>,
    refused: BTreeMap<u32, Refusal>,
    /// Why others are not read.
    declined: BTreeMap<u32, (String, String)>,
}

/// How what is for workers comes from one uplink.
#[derive(Debug, Clone)]
pub struct Reading {
    pub iface: String,
    /// Mode of the sockets; empty = by the port.
    pub mode: &'static str,
    /// Why by the port, or why not in a better mode; may be empty.
    pub why: String,
    /// Entry of the first queue: its worker, modulo their number.
    pub first: u32,
    /// By queue.
    pub inlets: Vec<Arc<InletState>>,
}

impl Open {
    fn whys(&self) -> String {
        let both = [self.why.as_str(), self.led.as_str()];
        let said: Vec<&str> = both.into_iter().filter(|why| !why.is_empty()).collect();
        said.join("; ")
    }
}

impl Uplinks {
    pub fn shown(&self) -> Vec<Reading> {
        let open = self.open.values().map(|open| Reading {
            iface: open.of.iface.clone(),
            mode: mode(open.how),
            why: open.whys(),
            first: open.first,
            inlets: open.inlets.clone(),
        });
        let by_port = |(iface, why): &(String, String)| Reading {
            iface: iface.clone(),
            mode: "",
            why: why.clone(),
            first: 0,
            inlets: Vec::new(),
        };
        let declined = self.declined.values().map(by_port);
        let mut all: Vec<_> = open.chain(declined).collect();
        all.sort_by(|a, b| a.iface.cmp(&b.iface));
        all
    }

    /// Entries for so many queues, or for fewer, and the first of them.
    fn room(&self, n: u32, of: u32) -> Option<(u32, u32)> {
        let mut fewer = (1..=n).rev();
        fewer.find_map(|n| Some((n, self.free_entries(n, of)?)))
    }

    /// The lowest entries that are free, one behind the other.
    fn free_entries(&self, n: u32, of: u32) -> Option<u32> {
        let mut taken: Vec<(u32, u32)> = self
            .open
            .values()
            .chain(self.leaving.values())
            .map(|open| (open.first, open.inlets.len() as u32))
            .collect();
        taken.sort_unstable();
        let mut first = 0;
        for (start, len) in taken {
            if first + n <= start {
                break;
            }
            first = start + len;
        }
        (first + n <= of).then_some(first)
    }
}

impl Open {
    fn told(&self) -> String {
        let (iface, mode) = (&self.of.iface, mode(self.how));
        let all = plural(self.of.n_queues as usize, "queue");
        let queues = match self.inlets.len() {
            n if n < self.of.n_queues as usize => format!("{n} of its {all}"),
            _ => format!("its {all}"),
        };
        let what = format!("{iface}: workers read {queues} themselves, in {mode} mode");
        match self.why.as_str() {
            "" => what,
            why => format!("{what}: {why}"),
        }
    }
}

/// Whether the queue belongs to a socket that is on its way out.
fn is_passing(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::ResourceBusy)
}

fn mode(how: Bind) -> &'static str {
    match how {
        Bind::Copy => "copy",
        Bind::ZeroCopy => "zero-copy",
    }
}

impl Interfaces {
    /// Has the workers read what they may, and no more.
    pub fn tend_uplinks(&mut self, host: Host<'_>, workers: Option<&Workers>) -> Vec<Reading> {
        self.uplinks
            .leaving
            .retain(|_, open| !open.inlets.iter().all(|i| i.has_left()));
        self.uplinks.declined.clear();
        let known: Vec<u32> = self.uplinks.open.keys().copied().collect();
        for ifindex in known {
            self.close_changed(host, ifindex, workers);
        }
        let Some(workers) = workers else {
            return Vec::new();
        };
        let uplinks: Vec<u32> = self
            .armed
            .iter()
            .filter(|(_, armed)| armed.role == Role::Uplink)
            .map(|(ifindex, _)| *ifindex)
            .collect();
        for ifindex in uplinks {
            match self.read(host, ifindex, workers) {
                Ok(()) => self.lead(host, ifindex),
                Err(why) => {
                    let iface = self.armed[&ifindex].link.name.clone();
                    self.uplinks.declined.insert(ifindex, (iface, why));
                }
            }
        }
        self.uplinks.shown()
    }

    fn surveyed(&self, iface: &str) -> Option<&InterfaceFacts> {
        let mut surveyed = self.seen.survey.interfaces.iter();
        surveyed.find(|facts| facts.name == iface)
    }

    fn machine(&self) -> Machine<'_> {
        Machine {
            host: &self.seen.survey.host,
            interfaces: &self.seen.survey.interfaces,
            profiles: &self.profiles,
        }
    }

    /// Has the NIC lead requests to the queues that are read.
    fn lead(&mut self, host: Host<'_>, ifindex: u32) {
        let Some(armed) = self.armed.get(&ifindex) else {
            return;
        };
        let machine = self.machine();
        let facts = self.surveyed(&armed.link.name);
        let ways = facts.map(|facts| plan::Ways::of(machine, facts));
        let Some(open) = self.uplinks.open.get_mut(&ifindex) else {
            return;
        };
        let reach = Reach {
            read: open.inlets.len() as u32,
            of: open.of.n_queues,
        };
        open.led = self.hardware.lead(host, &armed.link, ways, reach);
    }

    fn uplink(&self, ifindex: u32) -> Option<Uplink> {
        let armed = self.armed.get(&ifindex)?;
        let name = &armed.link.name;
        let facts = self.surveyed(name).map(|facts| &facts.facts);
        let int = |key| facts.and_then(|facts| facts.int(key)).unwrap_or(0);
        let n_queues = (int("channels.rx") + int("channels.combined")).max(1);
        Some(Uplink {
            iface: name.clone(),
            kind: armed.link.kind.clone(),
            tier: armed.xdp.as_ref().map(|xdp| xdp.tier),
            mtu: armed.link.mtu,
            n_queues: u32::try_from(n_queues).unwrap_or(1),
        })
    }

    fn ways(&self, host: Host<'_>, uplink: &Uplink) -> Result<Ways, String> {
        let machine = self.machine();
        let judged = self
            .surveyed(&uplink.iface)
            .map(|facts| verdicts(machine, facts));
        let lines = judged.as_ref().map_or(&[][..], |judged| &judged.tiers);
        let line = lines.iter().find(|line| line.tier == NicTier::AfxdpZc);
        let zero_copy = worth_a_bind(line, host.config.moves.disruption);
        ways(host.config.l7.uplink_sockets, uplink, zero_copy)
    }

    /// Gives up sockets that belong to something that is no more.
    fn close_changed(&mut self, host: Host<'_>, ifindex: u32, workers: Option<&Workers>) {
        let now = self.uplink(ifindex);
        let Some(open) = self.uplinks.open.get(&ifindex) else {
            return;
        };
        let why = match (&now, workers) {
            (None, _) => "it is gone".to_owned(),
            (_, None) => "there are no workers".to_owned(),
            (Some(now), _) => match self.ways(host, now) {
                Err(why) => why,
                Ok(_) if *now != open.of => "it has changed".to_owned(),
                // What a bind has shown is not asked again.
                Ok(ways) if open.tried_zero_copy || !ways.try_zero_copy() => return,
                Ok(_) => "zero-copy can be tried now".to_owned(),
            },
        };
        if let Some(armed) = self.armed.get_mut(&ifindex) {
            armed.tell_sockets(host, 0, 0);
        }
        self.hardware.unlead(host, ifindex);
        if let Some(open) = self.uplinks.open.remove(&ifindex) {
            let iface = &open.of.iface;
            let what = format!("{iface}: what is for workers comes by the l7 port again: {why}");
            host.events.tell(Kind::TierMoved, what);
            if let Some(workers) = workers {
                workers.close(&open.inlets);
                self.uplinks.leaving.insert(ifindex, open);
            }
        }
    }

    /// Opens the sockets of one uplink, if it has none; the error says why what is
    /// for workers comes by the port.
    fn read(&mut self, host: Host<'_>, ifindex: u32, workers: &Workers) -> Result<(), String> {
        let gone = || "it is gone".to_owned();
        let uplink = self.uplink(ifindex).ok_or_else(gone)?;
        let ways = self.ways(host, &uplink)?;
        if !self.uplinks.open.contains_key(&ifindex) {
            if self.uplinks.leaving.contains_key(&ifindex) {
                return Err("its sockets are being closed first".to_owned());
            }
            if let Some(refusal) = self.uplinks.refused.get(&ifindex)
                && refusal.of == uplink
                && !refusal.is_passing
            {
                return Err(refusal.why.clone());
            }
            let most = host.config.l7.uplink_queues;
            let open = self.opened(workers, &uplink, (ways, most));
            let open = open.map_err(|error| self.refuse(host, ifindex, uplink, &error))?;
            self.uplinks.refused.remove(&ifindex);
            host.events.tell(Kind::TierMoved, open.told());
            self.uplinks.open.insert(ifindex, open);
        }
        if let (Some(open), Some(armed)) = (
            self.uplinks.open.get(&ifindex),
            self.armed.get_mut(&ifindex),
        ) {
            armed.tell_sockets(host, open.first, open.inlets.len());
        }
        Ok(())
    }

    /// Sockets on as many queues as there are places for, and as the operator wants.
    fn opened(
        &self,
        workers: &Workers,
        uplink: &Uplink,
        (ways, most): (Ways, u32),
    ) -> Result<Open> {
        let wanted = match most {
            0 => uplink.n_queues,
            most => uplink.n_queues.min(most),
        };
        let room = self.uplinks.room(wanted, workers.n_entries());
        let (n, first) = room.ok_or_else(|| {
            let most = workers.n_entries();
            anyhow::anyhow!(
                "the workers' places ({most} on all uplinks) are taken: raise [l7] workers"
            )
        })?;
        let give = |entry, socket| self.hooks.give_uplink_socket(entry, socket);
        let tried_zero_copy = ways.try_zero_copy();
        let mut why = ways.why;
        let mut binds = ways.binds.iter().peekable();
        while let Some(how) = binds.next() {
            match workers.open(&uplink.iface, n, *how, first, give) {
                Ok(inlets) => {
                    return Ok(Open {
                        of: uplink.clone(),
                        first,
                        how: *how,
                        why,
                        tried_zero_copy,
                        led: String::new(),
                        inlets,
                    });
                }
                Err(error) if binds.peek().is_none() || is_passing(&error) => return Err(error),
                Err(error) => why = format!("{} refused: {error:#}", mode(*how)),
            }
        }
        anyhow::bail!("there is no way to bind a socket")
    }

    fn refuse(
        &mut self,
        host: Host<'_>,
        ifindex: u32,
        of: Uplink,
        error: &anyhow::Error,
    ) -> String {
        let why = format!("{error:#}");
        let is_passing = is_passing(error);
        let before = self.uplinks.refused.get(&ifindex);
        if before.is_none_or(|before| before.why != why) {
            let iface = &of.iface;
            let what = format!("{iface}: what is for workers comes by the l7 port: {why}");
            host.events.tell(Kind::TierFallback, what);
        }
        let refusal = Refusal {
            of,
            why: why.clone(),
            is_passing,
        };
        self.uplinks.refused.insert(ifindex, refusal);
        why
    }
}

impl Armed {
    /// Tells the program of sockets; it looks at the entry for each packet.
    fn tell_sockets(&mut self, host: Host<'_>, first: u32, n: usize) {
        let entry = terrace_abi::types::iface {
            l7_first: first as u16,
            l7_sockets: n as u16,
            ..self.entry
        };
        if (entry.l7_first, entry.l7_sockets) == (self.entry.l7_first, self.entry.l7_sockets) {
            return;
        }
        match host.maps.set_iface(&entry) {
            Ok(_) => self.entry = entry,
            Err(error) => {
                let what = format!("{}: {error}", self.link.name);
                host.events.tell(Kind::InterfaceFailed, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(first: u32, n: usize) -> Open {
        Open {
            of: Uplink {
                iface: "up0".to_owned(),
                kind: String::new(),
                tier: None,
                mtu: 1_500,
                n_queues: n as u32,
            },
            first,
            how: Bind::Copy,
            why: String::new(),
            tried_zero_copy: false,
            led: String::new(),
            inlets: (0..n).map(|_| Arc::default()).collect(),
        }
    }

    #[test]
    fn entries_are_taken_where_they_are_free() {
        let mut uplinks = Uplinks::default();
        assert_eq!(uplinks.free_entries(4, 8), Some(0));
        uplinks.open.insert(1, open(0, 4));
        assert_eq!(uplinks.free_entries(4, 8), Some(4));
        assert_eq!(
            uplinks.free_entries(5, 8),
            None,
            "no more than there are readers for"
        );
        uplinks.open.insert(2, open(4, 4));
        let leaving = uplinks.open.remove(&1).unwrap();
        uplinks.leaving.insert(1, leaving);
        assert_eq!(
            uplinks.free_entries(1, 8),
            None,
            "what is still read is not free"
        );
        assert_eq!(
            uplinks.room(3, 9),
            Some((1, 8)),
            "some are better than none"
        );
        assert_eq!(uplinks.room(3, 8), None);
        uplinks.leaving.clear();
        assert_eq!(uplinks.free_entries(3, 8), Some(0));
    }
}
