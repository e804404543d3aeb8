//! Workers' sockets on the queues of uplinks: bound while native XDP is there,
//! given up before it goes.
//!
//! Order: sockets are bound and have readers before the interface's entry tells
//! the program of them, and the entry is cleared before anything of that goes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use anyhow::Result;
use terrace_offload::facts::Confidence;
use terrace_xdp::xsk::Bind;

use super::{Armed, Host, Interfaces};
use crate::api::Role;
use crate::l7::inlet::InletState;
use crate::l7::tier::Tier as Workers;
use crate::l7::uplink::{Uplink, ways};
use crate::render::units::plural;
use crate::run::events::Kind;

/// Sockets on the queues of one uplink.
#[derive(Debug, Clone)]
struct Open {
    of: Uplink,
    first: u32,
    how: Bind,
    /// Why not zero-copy, where that was wanted.
    why: String,
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

impl Uplinks {
    pub fn shown(&self) -> Vec<Reading> {
        let open = self.open.values().map(|open| Reading {
            iface: open.of.iface.clone(),
            mode: mode(open.how),
            why: open.why.clone(),
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
            if let Err(why) = self.read(host, ifindex, workers) {
                let iface = self.armed[&ifindex].link.name.clone();
                self.uplinks.declined.insert(ifindex, (iface, why));
            }
        }
        self.uplinks.shown()
    }

    fn uplink(&self, ifindex: u32) -> Option<Uplink> {
        let armed = self.armed.get(&ifindex)?;
        let name = &armed.link.name;
        let mut surveyed = self.seen.survey.interfaces.iter();
        let facts = surveyed
            .find(|facts| facts.name == *name)
            .map(|facts| &facts.facts);
        let int = |key| facts.and_then(|facts| facts.int(key)).unwrap_or(0);
        let n_queues = (int("channels.rx") + int("channels.combined")).max(1);
        let key = "af_xdp.zero_copy";
        Some(Uplink {
            iface: name.clone(),
            kind: armed.link.kind.clone(),
            tier: armed.xdp.as_ref().map(|xdp| xdp.tier),
            mtu: armed.link.mtu,
            n_queues: u32::try_from(n_queues).unwrap_or(1),
            has_zero_copy: facts.is_some_and(|facts| {
                facts.bool(key) == Some(true) && facts.confidence(key) == Confidence::Verified
            }),
        })
    }

    /// Gives up sockets that belong to something that is no more.
    fn close_changed(&mut self, host: Host<'_>, ifindex: u32, workers: Option<&Workers>) {
        let now = self.uplink(ifindex);
        let Some(open) = self.uplinks.open.get(&ifindex) else {
            return;
        };
        let setting = host.config.l7.uplink_sockets;
        let why = match (&now, workers) {
            (None, _) => "it is gone".to_owned(),
            (_, None) => "there are no workers".to_owned(),
            (Some(now), _) if *now == open.of => return,
            (Some(now), _) => ways(setting, now)
                .err()
                .unwrap_or("it has changed".to_owned()),
        };
        if let Some(armed) = self.armed.get_mut(&ifindex) {
            armed.tell_sockets(host, 0, 0);
        }
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
        let ways = ways(host.config.l7.uplink_sockets, &uplink)?;
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
            let open = self.opened(workers, &uplink, ways);
            let open = open.map_err(|error| self.refuse(host, ifindex, uplink, &error))?;
            self.uplinks.refused.remove(&ifindex);
            let what = format!(
                "{}: workers read its {} themselves, in {} mode",
                open.of.iface,
                plural(open.inlets.len(), "queue"),
                mode(open.how)
            );
            host.events.tell(Kind::TierMoved, what);
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

    fn opened(&self, workers: &Workers, uplink: &Uplink, ways: &[Bind]) -> Result<Open> {
        let n = uplink.n_queues;
        let first = self.uplinks.free_entries(n, workers.n_entries()).ok_or_else(|| {
            let most = workers.n_entries();
            anyhow::anyhow!(
                "{} are more than workers have places for ({most} on all uplinks): raise [l7] workers",
                plural(n as usize, "queue")
            )
        })?;
        let give = |entry, socket| self.hooks.give_uplink_socket(entry, socket);
        let mut why = String::new();
        let mut ways = ways.iter().peekable();
        while let Some(how) = ways.next() {
            match workers.open(&uplink.iface, n, *how, first, give) {
                Ok(inlets) => {
                    return Ok(Open {
                        of: uplink.clone(),
                        first,
                        how: *how,
                        why,
                        inlets,
                    });
                }
                Err(error) if ways.peek().is_none() => return Err(error),
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
        let mut causes = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>());
        let is_passing = causes.any(|cause| cause.kind() == io::ErrorKind::ResourceBusy);
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
                has_zero_copy: false,
            },
            first,
            how: Bind::Copy,
            why: String::new(),
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
        uplinks.leaving.clear();
        assert_eq!(uplinks.free_entries(3, 8), Some(0));
    }
}
