//! The flow engine: answers clients itself, holds requests, decides, binds to
//! a backend late, hands over, and says what the kernel splices from then on.
//!
//! No IO and no clock: packets and the time come in, packets and splices go
//! out through [`Host`]; what is asked about services goes through
//! [`Services`]. All memory is taken when the engine is made.

mod adopt;
mod answer;
mod backend;
mod buffers;
mod client;
mod config;
mod cookie;
mod guard;
mod index;
mod intake;
mod mirror;
mod reply;
mod request;
mod server;
mod splices;
mod state;
mod stranger;
mod tick;
mod turn;
mod wheel;

use crate::http::{Fault, Request};
use crate::rules::{HeadWriter, NoRoom, Scratch};
use crate::splice::{Direction, HeadNote, Heads, Progress, Splice};
use crate::tcp::{Endpoint, Segment, flags, wire};
use buffers::Buffers;
use index::Index;
use mirror::Legs;
use state::{Flow, Phase};
use turn::Turn;
use wheel::Wheel;

pub use buffers::BUFFER_BYTES;
pub use config::Config;
pub use mirror::{Copied, Copies, LEG_BYTES, MAX_MIRRORS, MirrorEnd, Target};
pub use splices::Splices;
pub use state::MAX_FLOW_BYTES;

/// A flow's place in the engine; also the place of its splice.
pub type FlowId = u32;

/// What is offered to clients of a service in the SYN-ACK: what all of its
/// backends take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub mss: u16,
    /// The smallest window that one of them begins with: no more can be held
    /// without taking back what the client was told.
    pub window: u16,
    pub scale: u8,
    pub sack: bool,
    pub timestamps: bool,
}

/// Who talks to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parties {
    pub flow: FlowId,
    pub client: Endpoint,
    pub service: Endpoint,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backend {
    pub server: Endpoint,
    /// What the server sees as its client: the client, or an address of ours.
    pub source: Endpoint,
}

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most are the large one, and a box would be an allocation a request"
)]
pub enum Decision {
    /// Answered with a status: 403, 404, 503 ...
    Answer(u16),
    /// Answered with what [`Services::write`] writes.
    Redirect(Token),
    Forward(Forward),
}

/// What [`Services::write`] is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub action: u32,
    pub prefix_len: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    pub backend: Backend,
    /// The head is changed: [`Services::write`] writes it.
    pub rewrite: Option<Token>,
    /// Upgrade or CONNECT may end in a tunnel.
    pub tunnel: bool,
    /// To the first byte of the answer; 0 = no limit.
    pub timeout_ms: u32,
    /// What further requests must find to pass to this backend without us.
    pub heads: Heads,
    /// Mirrors that get a copy.
    pub copies: Copies,
}

/// Why a flow was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reset {
    #[error("a retransmission carried other bytes than were inspected")]
    OtherBytes,
    #[error("urgent data")]
    Urgent,
    #[error("the client ended in the middle of a request head")]
    CutHead,
    #[error("the backend lacks a TCP option that the client was promised")]
    BackendOptions,
    #[error("the end of the last answer is not known, and the next request goes elsewhere")]
    AnswerLost,
    #[error("a chunked request that breaks its framing")]
    Framing,
    #[error("what the worker had acknowledged could not be delivered")]
    Undelivered,
    #[error("the backend does not acknowledge")]
    BackendSilent,
    #[error("the client does not take or end its answer")]
    ClientSilent,
    #[error("the client has ended, and nothing comes from the backend")]
    HalfClosed,
}

/// What happened, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A request was decided; `status` 0 = goes to a backend.
    Request {
        status: u16,
    },
    /// The head of an answer of a backend, so long after the request's head.
    Answer {
        status: u16,
        after_ms: u32,
    },
    /// So many requests passed without us since the last time.
    Passed {
        requests: u32,
    },
    /// Each source that was tried has a living connection to the server.
    NoPort,
    Reset(Reset),
    Closed,
}

/// The world of packets: the worker, or a test.
pub trait Host {
    /// What is sent from here on is of this flow; `None` = of no flow.
    fn turn(&mut self, _flow: Option<FlowId>) {}
    /// A connection to a server begins, its SYN comes next: of `splice` only
    /// the four ends count.
    fn open(&mut self, _flow: FlowId, _splice: &Splice) {}
    fn send(&mut self, direction: Direction, segment: &Segment<'_>);
    /// Sends a packet on as it came, translated.
    fn forward(&mut self, direction: Direction, splice: &Splice, packet: &[u8]);
    /// Installs or replaces the splice of a flow. `progress` is where a new
    /// binding starts, `None` = goes on.
    fn splice(&mut self, flow: FlowId, splice: &Splice, progress: Option<&Progress>);
    fn unsplice(&mut self, flow: FlowId, splice: &Splice);
    /// What passed without the worker.
    fn progress(&mut self, flow: FlowId) -> Progress;
    /// The requests that passed without the worker in this binding.
    fn heads(&mut self, _flow: FlowId) -> HeadNote {
        HeadNote::default()
    }
    /// Of digests of requests that passed.
    fn secret(&self) -> u64 {
        0
    }
    fn event(&mut self, parties: &Parties, event: Event);
}

/// The world of services: rules and backends.
pub trait Services {
    /// `None` = no service of ours: its segments are answered with RST.
    fn offer(&self, service: Endpoint) -> Option<Offer>;
    /// `bound` is the flow's backend so far, and stays it where it may. A
    /// request that must wait for the end of the last answer is asked about
    /// again.
    fn decide(
        &mut self,
        parties: &Parties,
        request: &Request<'_, '_>,
        bound: Option<&Backend>,
        scratch: &mut Scratch,
    ) -> Decision;
    /// The next source of ours behind one that a living connection to the same
    /// server has; `None` = there is none.
    fn another_source(&mut self, _taken: Endpoint) -> Option<Endpoint> {
        None
    }
    fn write(
        &self,
        token: Token,
        request: &Request<'_, '_>,
        out: &mut HeadWriter<'_>,
    ) -> Result<(), NoRoom>;
    /// The connection of a copy begins.
    fn mirror_opens(&mut self, _flow: FlowId, _target: &Target) {}
    /// What became of a copy by `route`'s mirror.
    fn mirrored(&mut self, _route: u32, _end: MirrorEnd) {}
    /// A head that is none; it is answered with the fault's status. Like
    /// `decide`, it may be told again of the same one.
    fn malformed(&mut self, _parties: &Parties, _fault: Fault) {}
}

/// How a packet came to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is for the worker to send on.
    Up,
    /// A copy of one that has passed.
    Copy,
}

/// Flows of one worker.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    flows: Vec<Flow>,
    free: Vec<FlowId>,
    index: Index,
    buffers: Buffers,
    legs: Legs,
    wheel: Wheel,
    scratch: Scratch,
    n_half_open: u32,
    counts: Counts,
    /// A cookie that was given may come back until then.
    cookies_until: u64,
}

/// What strangers and limits have made the engine do, since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledgements that ask whether a segment was the client's own.
    pub challenges: u64,
    /// Segments that were passed over: numbers that are none of their connection's.
    pub strays: u64,
    /// SYNs that were answered by a cookie: as many half-open flows as may be.
    pub cookies: u64,
    /// Connections for which there was no place.
    pub full: u64,
    /// Segments that were not held, because all buffers are in use.
    pub unheld: u64,
}

impl Engine {
    pub fn new(config: Config) -> Self {
        let n = config.max_flows as usize;
        Self {
            flows: vec![Flow::default(); n],
            free: (0..config.max_flows).rev().collect(),
            index: Index::new(n, &config.secret),
            buffers: Buffers::new(config.buffers),
            legs: Legs::new(config.mirrors),
            wheel: Wheel::new(n),
            scratch: Scratch::default(),
            n_half_open: 0,
            counts: Counts::default(),
            cookies_until: 0,
            config,
        }
    }

    pub fn n_flows(&self) -> usize {
        self.flows.len() - self.free.len()
    }

    /// Flows that wait for the end of their handshake.
    pub fn n_half_open(&self) -> u32 {
        self.n_half_open
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Goes on from what an earlier engine has counted.
    pub fn count_from(&mut self, counts: Counts) {
        self.counts = counts;
    }

    /// Keeps numbers that are nobody's from being given to flows, until they are
    /// released: an earlier engine's splices still have them.
    pub fn withhold(&mut self, taken: impl Fn(FlowId) -> bool) {
        self.free.retain(|free| !taken(*free));
    }

    pub fn release(&mut self, id: FlowId) {
        self.free.push(id);
    }

    /// Copies of requests under way.
    pub fn n_mirrors_used(&self) -> usize {
        self.legs.n_used()
    }

    pub fn n_buffers_used(&self) -> usize {
        self.buffers.n_used()
    }

    /// Takes a packet, from its IP header on. `now` is in milliseconds and
    /// never goes back.
    pub fn packet(
        &mut self,
        now: u64,
        packet: &[u8],
        arrival: Arrival,
        services: &mut impl Services,
        host: &mut impl Host,
    ) {
        let Ok(segment) = wire::parse(packet) else {
            return;
        };
        let Some(id) = self.index.find(segment.src, segment.dst) else {
            if arrival == Arrival::Up {
                self.stranger(now, &segment, packet, services, host);
            }
            return;
        };
        let is_syn = segment.flags & (flags::SYN | flags::ACK) == flags::SYN;
        if is_syn && arrival == Arrival::Up && self.flows[id as usize].gives_way(&segment) {
            self.turn(now, id, services, host, |turn| turn.free());
            self.stranger(now, &segment, packet, services, host);
            return;
        }
        self.turn(now, id, services, host, |turn| {
            turn.segment(&segment, packet, arrival);
        });
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: u64, services: &mut impl Services, host: &mut impl Host) {
        while let Some(id) = self.wheel.due(now) {
            self.turn(now, id, services, host, |turn| turn.tick());
        }
    }

    /// When `tick` must be called again at the latest.
    pub fn next_tick(&self) -> Option<u64> {
        self.wheel.next()
    }

    /// Acts on a flow, then on the copies of its requests.
    fn turn<S: Services, H: Host>(
        &mut self,
        now: u64,
        id: FlowId,
        services: &mut S,
        host: &mut H,
        act: impl FnOnce(&mut Turn<'_, S, H>),
    ) {
        self.turn_one(now, id, services, host, act);
        while let Some(place) = self.legs.woken() {
            match self.legs.get_mut(place).flow {
                Some(flow) => {
                    self.turn_one(now, flow, services, host, |turn| turn.serve_leg());
                }
                None => self.open_leg(now, place, services, host),
            }
        }
    }

    /// Begins the connection of a copy.
    fn open_leg<S: Services, H: Host>(
        &mut self,
        now: u64,
        place: u16,
        services: &mut S,
        host: &mut H,
    ) {
        let mut leg = *self.legs.get_mut(place);
        let backend = &mut leg.target.backend;
        let source = self
            .index
            .free_source(backend, |taken| services.another_source(taken));
        let id = match (leg.cut, source) {
            (Some(end), _) => Err(end),
            (None, Some(source)) => {
                backend.source = source;
                self.free.pop().ok_or(MirrorEnd::Busy)
            }
            (None, None) => Err(MirrorEnd::Busy),
        };
        match id {
            Ok(id) => {
                self.legs.get_mut(place).target = leg.target;
                let flow = leg.connection(place);
                self.index
                    .insert(flow.splice.server, flow.splice.source, id);
                self.flows[id as usize] = flow;
                self.legs.get_mut(place).flow = Some(id);
                services.mirror_opens(id, &leg.target);
                let number = cookie::first_number(&self.config, now, id);
                self.turn_one(now, id, services, host, |turn| turn.connect_leg(number));
            }
            Err(end) => {
                services.mirrored(leg.route, end);
                self.legs.over(place);
            }
        }
    }

    fn turn_one<S: Services, H: Host>(
        &mut self,
        now: u64,
        id: FlowId,
        services: &mut S,
        host: &mut H,
        act: impl FnOnce(&mut Turn<'_, S, H>),
    ) {
        host.turn(Some(id));
        let flow = &mut self.flows[id as usize];
        let was_half_open = flow.phase == Phase::HalfOpen;
        let mut turn = Turn {
            now,
            id,
            config: &self.config,
            flow,
            index: &mut self.index,
            buffers: &mut self.buffers,
            legs: &mut self.legs,
            counts: &mut self.counts,
            scratch: &mut self.scratch,
            services,
            host,
        };
        act(&mut turn);
        turn.settle();
        let flow = &mut self.flows[id as usize];
        if was_half_open && flow.phase != Phase::HalfOpen {
            self.n_half_open -= 1;
        }
        if flow.phase == Phase::Free {
            // One that ended in the midst of something may have taken more.
            for buffer in [flow.buffer, flow.reply_buffer].into_iter().flatten() {
                self.buffers.give_back(buffer);
            }
            self.wheel.cancel(id);
            *flow = Flow::default();
            self.free.push(id);
        } else {
            self.wheel.set(id, flow.wake);
        }
    }
}
