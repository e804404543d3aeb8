//! The bytes of copies: taken in any order, kept until a mirror has them.

use super::super::intake::{close_gaps, note_ahead};
use super::super::state::{Flow, Phase};
use super::super::{Backend, FlowId};
use super::{MAX_MIRRORS, MirrorEnd, Target};
use crate::http::{Chunks, Method};
use crate::splice::Splice;
use crate::tcp::{Endpoint, distance};

/// Room of a copy for what its mirror has not acknowledged: the most that
/// places of 16 bits name.
pub const LEG_BYTES: usize = 65_535;

/// What is known of the answer: only where it ends.
#[derive(Debug, Clone, Copy, Default)]
pub enum Answer {
    #[default]
    Head,
    Length(u64),
    Chunked(Chunks),
    /// It ends when nothing more comes.
    Unknown,
    Done,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Leg {
    /// Of its connection; `None` = not begun, or over.
    pub flow: Option<FlowId>,
    pub target: Target,
    pub route: u32,
    /// The client of the request, for policy.
    pub client: Endpoint,
    pub mss: u16,
    pub method: Method,

    /// The client's number of the next byte of the request.
    next: u32,
    /// Bytes of the request that are still to come; `None` = chunks say.
    left: Option<u64>,
    pub whole: bool,
    pub cut: Option<MirrorEnd>,
    /// It was told what became of the request.
    pub told: bool,
    in_list: bool,
    is_dead: bool,

    /// Places in the buffer: behind the last byte without a gap, the first that
    /// is not sent, the first that is not acknowledged.
    pub len: u16,
    pub sent: u16,
    pub acked: u16,
    ahead: [(u16, u16); 4],
    /// The server's number of the buffer's first byte.
    pub base: u32,
    /// The server's next byte.
    pub answer_at: u32,
    pub window: u16,
    pub answer: Answer,
    pub fin_sent: bool,
}

impl Leg {
    /// The flow of its connection. For policy the client itself comes to the
    /// mirror, from the port of the connection.
    pub fn connection(&self, place: u16) -> Flow {
        let Backend { server, source } = self.target.backend;
        let client = Endpoint {
            port: source.port,
            ..self.client
        };
        Flow {
            phase: Phase::Mirror,
            client,
            service: server,
            splice: Splice {
                client,
                service: server,
                source,
                server,
                ..Splice::default()
            },
            leg: place,
            ..Flow::default()
        }
    }
}

#[derive(Debug)]
pub struct Legs {
    legs: Vec<Leg>,
    free: Vec<u16>,
    /// Those that have something to do.
    waiting: Vec<u16>,
    bytes: Vec<u8>,
}

impl Legs {
    pub fn new(n: u16) -> Self {
        Self {
            legs: vec![Leg::default(); n.into()],
            free: (0..n).rev().collect(),
            waiting: Vec::with_capacity(n.into()),
            bytes: vec![0; usize::from(n) * LEG_BYTES],
        }
    }

    pub fn n_used(&self) -> usize {
        self.legs.len() - self.free.len()
    }

    /// A copy of the request that begins at the flow's `expect`, of `left` bytes.
    pub fn begin(
        &mut self,
        flow: &Flow,
        route: u32,
        target: &Target,
        left: Option<u64>,
    ) -> Option<u16> {
        let place = self.free.pop()?;
        self.legs[usize::from(place)] = Leg {
            target: *target,
            route,
            client: flow.client,
            mss: flow.agreed.mss,
            method: flow.method,
            next: flow.expect,
            left,
            ..Leg::default()
        };
        self.wake(place);
        Some(place)
    }

    pub fn get_mut(&mut self, place: u16) -> &mut Leg {
        &mut self.legs[usize::from(place)]
    }

    pub fn bytes(&self, place: u16) -> &[u8] {
        let at = usize::from(place) * LEG_BYTES;
        &self.bytes[at..at + LEG_BYTES]
    }

    fn wake(&mut self, place: u16) {
        let leg = self.get_mut(place);
        if !std::mem::replace(&mut leg.in_list, true) {
            self.waiting.push(place);
        }
    }

    /// The next that has something to do.
    pub fn woken(&mut self) -> Option<u16> {
        let place = self.waiting.pop()?;
        self.get_mut(place).in_list = false;
        Some(place)
    }

    pub fn give_back(&mut self, place: u16) {
        if self.get_mut(place).in_list {
            self.waiting.retain(|other| *other != place);
        }
        *self.get_mut(place) = Leg::default();
        self.free.push(place);
    }

    /// The leg's connection is over. While the request's flow still names the
    /// leg, it stays as one that takes nothing.
    pub fn over(&mut self, place: u16) {
        let leg = self.get_mut(place);
        leg.flow = None;
        match leg.whole || leg.cut.is_some() {
            true => self.give_back(place),
            false => leg.is_dead = true,
        }
    }

    /// Gives bytes to the copies of a flow; returns those that need more.
    pub fn put_all(
        &mut self,
        mut copies: [u16; MAX_MIRRORS],
        at: u32,
        bytes: &[u8],
    ) -> [u16; MAX_MIRRORS] {
        for copy in copies.iter_mut().filter(|copy| **copy != 0) {
            if !self.put(*copy - 1, at, bytes) {
                *copy = 0;
            }
        }
        copies
    }

    /// Takes bytes from `at` on; false = it needs no more.
    pub fn put(&mut self, place: u16, at: u32, bytes: &[u8]) -> bool {
        let leg = self.get_mut(place);
        if leg.is_dead {
            self.give_back(place);
            return false;
        }
        let skip = distance(at, leg.next);
        let Some(bytes) = bytes.get(skip..).filter(|bytes| !bytes.is_empty()) else {
            return true;
        };
        let gap = distance(leg.next, at);
        // Nothing behind the request is its.
        let room = leg.left.map_or(usize::MAX, |left| {
            usize::try_from(left)
                .unwrap_or(usize::MAX)
                .saturating_sub(gap)
        });
        let bytes = &bytes[..bytes.len().min(room)];
        if usize::from(leg.len) + gap + bytes.len() > LEG_BYTES {
            self.compact(place);
        }
        let leg = &mut self.legs[usize::from(place)];
        let start = usize::from(leg.len) + gap;
        let end = start + bytes.len();
        if end > LEG_BYTES || (gap > 0 && !note_ahead(&mut leg.ahead, start, end)) {
            self.cut(place, MirrorEnd::Slow);
            return false;
        }
        let from = usize::from(place) * LEG_BYTES;
        self.bytes[from + start..from + end].copy_from_slice(bytes);
        let was = leg.len;
        if gap == 0 {
            leg.len = end as u16;
        }
        close_gaps(&mut leg.ahead, &mut leg.len);
        let grown = leg.len - was;
        leg.next = leg.next.wrapping_add(grown.into());
        if let Some(left) = &mut leg.left {
            *left -= u64::from(grown).min(*left);
            leg.whole = *left == 0;
        }
        let goes_on = !leg.whole;
        self.wake(place);
        goes_on
    }

    pub fn whole(&mut self, place: u16) {
        let leg = self.get_mut(place);
        if leg.is_dead {
            self.give_back(place);
            return;
        }
        leg.whole = true;
        self.wake(place);
    }

    pub fn cut(&mut self, place: u16, why: MirrorEnd) {
        let leg = self.get_mut(place);
        if leg.is_dead {
            self.give_back(place);
            return;
        }
        leg.cut = Some(why);
        self.wake(place);
    }

    /// Makes room for what the mirror has acknowledged.
    fn compact(&mut self, place: u16) {
        let from = usize::from(place) * LEG_BYTES;
        let leg = &mut self.legs[usize::from(place)];
        let done = leg.acked;
        self.bytes[from..from + LEG_BYTES].copy_within(usize::from(done).., 0);
        leg.base = leg.base.wrapping_add(done.into());
        (leg.len, leg.sent, leg.acked) = (leg.len - done, leg.sent - done, 0);
        for range in leg.ahead.iter_mut().filter(|range| range.1 != 0) {
            *range = (range.0 - done, range.1 - done);
        }
    }
}
