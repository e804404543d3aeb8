//! Workers' flows: the way to a worker, and their splices. Judging and
//! translating is `terrace_l7::splice`'s.

use std::collections::BTreeMap;

use terrace_abi::{Reason, consts};
use terrace_l7::splice::{Direction, HeadRules, Progress, Splice, Verdict, translate};
use terrace_l7::tcp::{Segment, wire};

use crate::answer;
use crate::checksum::Change;
use crate::facts::{FIN, Part, RST};
use crate::flows::{Flow, Key, Tuple};
use crate::frame::pop_tags;
use crate::model::{Hook, Out, Pass};
use crate::rewrite::rewrite_with;

/// What the programs find of the L7 tier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct L7 {
    /// tc's end of the port, 0 = none.
    pub port: u32,
    /// Workers.
    pub queues: u32,
    /// Numbers of a worker.
    pub flows: u32,
    /// Workers whose heartbeat is too old.
    pub dead: Vec<u32>,
    /// By number.
    pub splices: BTreeMap<u32, Spliced>,
    /// By which requests pass without a worker.
    pub rules: HeadRules,
}

/// A splice as a worker writes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spliced {
    /// How its segments are translated.
    pub splice: Splice,
    /// Only the ends are known yet.
    pub is_opening: bool,
    /// Which binding it is, and where that starts.
    pub binding: u32,
    /// Where the binding starts.
    pub start: Progress,
    /// Index of the backend.
    pub backend: u32,
}

/// In place of the Ethernet addresses, on the port.
pub(crate) fn frame_of(kind: u32, queue: u32, number: u32, identity: u32) -> [u8; 12] {
    let mut frame = [0; 12];
    frame[0] = consts::L7_MAGIC as u8;
    frame[1] = kind as u8;
    frame[2..4].copy_from_slice(&(queue as u16).to_ne_bytes());
    frame[4..8].copy_from_slice(&number.to_le_bytes());
    frame[8..12].copy_from_slice(&identity.to_le_bytes());
    frame
}

impl Pass<'_> {
    /// Opened before its service had routes.
    pub fn is_stale(&self, flow: &Flow) -> bool {
        let service = self.world().services.get(flow.service as usize);
        flow.flags & consts::FLOW_L7 == 0
            && flow.service != 0
            && self.facts.is_tcp()
            && service.is_some_and(|service| service.flags & consts::SERVICE_L7 != 0)
    }

    /// Its ends have to open a new one.
    pub fn refuse_stale(&mut self) -> Option<Reason> {
        if self.facts.tcp_flags & RST != 0 {
            return None;
        }
        if self.facts.part == Part::Later {
            return Some(Reason::L7Unfit);
        }
        let frame = answer::reset(&self.frame, &self.facts);
        Some(self.answer(Reason::L7Reset, frame))
    }

    fn queue(&self, number: Option<u32>) -> u32 {
        let l7 = &self.world().l7;
        let queues = l7.queues.max(1);
        match number {
            Some(number) => number.checked_div(l7.flows).unwrap_or(0) % queues,
            None => self.facts.key.both_ways_hash(self.world().seed) % queues,
        }
    }

    /// Whole segments behind a plain header.
    pub fn is_unfit(&self) -> bool {
        let facts = &self.facts;
        facts.part != Part::Whole || !facts.is_v4 && facts.l4 != facts.l3 + 40
    }

    /// Gives the packet to a worker as it came.
    pub fn give_to_worker(&mut self, number: Option<u32>, fail_mode: u32) -> Reason {
        if self.hook == Hook::Xdp {
            return Reason::ToTc;
        }
        if self.is_unfit() {
            return Reason::L7Unfit;
        }
        let queue = self.queue(number);
        let l7 = &self.world().l7;
        if l7.port == 0 || l7.dead.contains(&queue) {
            return match fail_mode {
                consts::FAIL_OPEN => Reason::L7FailOpen,
                _ => Reason::L7NoWorker,
            };
        }
        let number = number.unwrap_or(consts::L7_NO_NUMBER);
        let identity = self.world().endpoint(self.facts.key.src).1.identity;
        pop_tags(&mut self.frame, &self.facts);
        self.frame[..12].copy_from_slice(&frame_of(consts::L7_UP, queue, number, identity));
        self.out = Out::Elsewhere;
        Reason::ToWorker
    }

    /// A segment of a worker's flow.
    pub fn serve_l7(&mut self, key: Key, flow: &Flow) -> Reason {
        if self.is_unfit() {
            return Reason::L7Unfit;
        }
        let mut packet = self.frame[self.facts.l3..].to_vec();
        let Ok(layout) = wire::layout(&packet) else {
            return Reason::BadL4Header;
        };
        // Checksums are the ends' business.
        wire::set_checksum(&mut packet, &layout);
        let Ok(segment) = wire::parse(&packet) else {
            return Reason::BadL4Header;
        };
        let reason = self.splice(flow, &segment);
        if reason != Reason::ToTc && !matches!(reason.class(), terrace_abi::Class::Pass)
            || reason == Reason::ToFragment
        {
            // What of the client's ends the flow the worker says.
            if flow.is_orig {
                self.facts.tcp_flags &= !(FIN | RST);
            }
            self.follow(key);
        }
        reason
    }

    fn splice(&mut self, flow: &Flow, segment: &Segment<'_>) -> Reason {
        let direction = match flow.is_orig {
            true => Direction::ToServer,
            false => Direction::ToClient,
        };
        let spliced = self.world().l7.splices.get(&flow.service).copied();
        let Some(spliced) = spliced
            .filter(|spliced| !spliced.is_opening)
            .filter(|spliced| is_of(&spliced.splice, direction, segment, &flow.to))
        else {
            return self.give_to_worker(Some(flow.service), consts::FAIL_LAST);
        };
        let binding = (flow.service, spliced.binding);
        let progress = self.model.progress.entry(binding).or_insert(spliced.start);
        let progress = *progress;
        let mut verdict = self.judge(&spliced, binding, direction, segment, &progress);
        let is_local = flow.flags & consts::FLOW_LOCAL != 0;
        if self.hook == Hook::Xdp && (verdict != Verdict::Pass || is_local) {
            return Reason::ToTc;
        }
        if verdict == Verdict::PassAndCopy && self.facts.tags > 0 {
            verdict = Verdict::Up;
        }
        if verdict == Verdict::Up {
            return self.give_to_worker(Some(flow.service), consts::FAIL_LAST);
        }
        let reason = self.forward_spliced(flow, &spliced.splice, direction);
        let left = reason.class() == terrace_abi::Class::Forward;
        if left || reason == Reason::ToFragment {
            let progress = self.model.progress.entry(binding).or_default();
            spliced.splice.note(direction, segment, progress);
        }
        match (left, verdict) {
            (false, _) => reason,
            (true, Verdict::Request) => Reason::Request,
            (true, Verdict::Pass) => Reason::Spliced,
            (true, _) => Reason::SplicedCopied,
        }
    }

    /// Heads are tc's to read: XDP only knows what was noted before.
    fn judge(
        &mut self,
        spliced: &Spliced,
        binding: (u32, u32),
        direction: Direction,
        segment: &Segment<'_>,
        progress: &Progress,
    ) -> Verdict {
        let splice = &spliced.splice;
        let mut note = self.model.heads.get(&binding).copied().unwrap_or_default();
        let held = note;
        let rules = self.world().l7.rules.clone();
        let verdict = splice.judge_noting(direction, segment, progress, &mut note, &rules);
        let is_plain = verdict == splice.judge(direction, segment, progress);
        if self.hook == Hook::Xdp && !is_plain && (direction == Direction::ToServer || note != held)
        {
            return Verdict::Up;
        }
        if self.hook != Hook::Xdp {
            self.model.heads.insert(binding, note);
        }
        verdict
    }

    fn forward_spliced(&mut self, flow: &Flow, splice: &Splice, direction: Direction) -> Reason {
        let way = match self.find_way(&flow.to, flow.flags & consts::FLOW_LOCAL != 0) {
            Ok(way) => way,
            Err(blocked) => return self.blocked(blocked),
        };
        let (l3, l4) = (self.facts.l3, self.facts.l4);
        let mut packet = self.frame[l3..].to_vec();
        translate(splice, direction, &mut packet).expect("it was parsed before");
        let header = usize::from(self.frame[l4 + 12] >> 4) * 4;
        // All but the ports and the checksum.
        let mut change = Change::default();
        for part in [4..16, 18..header] {
            let new = &packet[l4 - l3..][part.clone()];
            let old = &mut self.frame[l4..][part];
            change.add(old, new);
            old.copy_from_slice(new);
        }
        rewrite_with(&mut self.frame, &self.facts, &flow.to, way.hops, change);
        self.take_way(&way)
    }
}

/// The splice is this flow's: numbers are used again.
fn is_of(splice: &Splice, direction: Direction, segment: &Segment<'_>, to: &Tuple) -> bool {
    let becomes = |address, port| terrace_l7::tcp::Endpoint {
        ip: terrace_abi::hash::address_bytes(address),
        port,
    };
    let to = (becomes(to.src, to.sport), becomes(to.dst, to.dport));
    let wanted = match direction {
        Direction::ToServer => (splice.source, splice.server),
        Direction::ToClient => (splice.service, splice.client),
    };
    splice.direction(segment) == Some(direction) && to == wanted
}
