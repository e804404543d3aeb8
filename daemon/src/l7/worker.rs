//! One worker: packets of its queue through the engine, and back.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use terrace_abi::consts::{L7_COPY, L7_MAGIC, L7_NO_NUMBER, L7_UP};
use terrace_abi::types::l7_frame;
use terrace_abi::{L7Tables, Plain as _};
use terrace_l7::flow::{self, Arrival, Engine, Host as _, Services};
use terrace_xdp::xsk::Xsk;

use super::clock::{beat_ns, now_ms};
use super::host::{Choices, Chosen, FRAME, Listener, PortHost};
use super::inlet::{Inlet, InletState, MAX_INLETS};
use super::mailbox::Mailbox;
use super::orphans::Orphans;
use super::{Stats, Wait};

/// A worker that has nothing to do says so often that it lives.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// `adaptive`: so long it looks again before it sleeps, about what a sleep and
/// a wake-up from another CPU cost in a virtual machine.
const LOOKS: Duration = Duration::from_micros(50);

/// How often the kernel is asked what it could not deliver.
const MEASURE_NS: u64 = 1_000_000_000;

/// The rules that a worker goes by, looked up anew before each batch.
pub trait Judge: Services {
    fn refresh(&mut self);
}

/// What makes a worker's judge and listener, on the worker's own thread.
pub trait Maker: Send + 'static {
    type Judge: Judge;
    type Listener: Listener;
    fn make(&mut self, choices: &Choices) -> (Self::Judge, Self::Listener);
}

/// What a worker is given.
pub struct Seat {
    pub queue: u32,
    /// Numbers of flows that each worker has.
    pub n_flows: u32,
    pub xsk: Xsk,
    /// Of that socket.
    pub port: Arc<InletState>,
    pub tables: Arc<L7Tables>,
    pub mailboxes: Arc<[Mailbox]>,
    pub stats: Arc<Stats>,
    pub stop: Arc<AtomicBool>,
    pub wait: Wait,
    pub engine: flow::Config,
    /// Of digests of requests that passed in the kernel.
    pub secret: u64,
}

/// Runs until it is told to stop. A panic ends the flows that no splice
/// carries, is counted, and the worker begins anew.
pub fn run<M: Maker>(seat: Seat, mut maker: M) {
    let (queue, stats, stop) = (seat.queue, seat.stats.clone(), seat.stop.clone());
    let mut worker = Worker::new(seat, &mut maker);
    while !stop.load(Ordering::Relaxed) {
        let served = catch_unwind(AssertUnwindSafe(|| worker.serve()));
        if served.is_err() {
            stats.panics.add(1);
            tracing::error!("worker {queue} panicked: it begins anew, spliced flows go on");
            worker.begin_anew();
        }
    }
}

struct Worker<J, L> {
    queue: u32,
    n_flows: u32,
    generation: u32,
    /// The port's first: copies lie there, and belong before what follows them.
    inlets: Vec<Inlet>,
    engine: Engine,
    engine_config: flow::Config,
    host: PortHost<L>,
    judge: J,
    orphans: Orphans,
    tables: Arc<L7Tables>,
    mailboxes: Arc<[Mailbox]>,
    stats: Arc<Stats>,
    stop: Arc<AtomicBool>,
    wait: Wait,
    /// `adaptive`: since when nothing came.
    idle: Option<Instant>,
    beaten: u64,
    measured: u64,
    /// By sockets that have left.
    lost_before: u64,
}

impl<J: Judge, L: Listener> Worker<J, L> {
    fn new<M: Maker<Judge = J, Listener = L>>(seat: Seat, maker: &mut M) -> Self {
        let Xsk { receiver, sender } = seat.xsk;
        let choices: Choices = (0..seat.n_flows)
            .map(|_| Cell::new(Chosen::default()))
            .collect();
        let (judge, listener) = maker.make(&choices);
        let first = seat.queue * seat.n_flows;
        let tables = seat.tables;
        let stats = seat.stats.clone();
        let host = PortHost::new(
            sender,
            listener,
            tables.clone(),
            stats,
            first,
            choices,
            seat.secret,
        );
        let engine_config = flow::Config {
            max_flows: seat.n_flows,
            ..seat.engine
        };
        let mut inlets = Vec::with_capacity(MAX_INLETS);
        inlets.push(Inlet::new(receiver, seat.port));
        let mut worker = Self {
            queue: seat.queue,
            n_flows: seat.n_flows,
            generation: tables.worker(seat.queue).generation,
            inlets,
            engine: Engine::new(engine_config.clone()),
            engine_config,
            host,
            judge,
            orphans: Orphans::find(tables.clone(), first, 0, now_ms()),
            tables,
            mailboxes: seat.mailboxes,
            stats: seat.stats,
            stop: seat.stop,
            wait: seat.wait,
            idle: None,
            beaten: 0,
            measured: 0,
            lost_before: 0,
        };
        worker.begin_anew();
        worker
    }

    /// Takes over what an earlier worker has left.
    fn begin_anew(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        let first = self.queue * self.n_flows;
        self.orphans = Orphans::find(self.tables.clone(), first, self.n_flows, now_ms());
        let counts = self.engine.counts();
        self.engine = Engine::new(self.engine_config.clone());
        self.engine.count_from(counts);
        self.engine.withhold(|flow| self.orphans.has(flow));
        self.beaten = 0;
    }

    fn serve(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let now = now_ms();
            self.judge.refresh();
            self.take_inlets();
            let n = self.receive(now) + self.collect(now);
            self.engine.tick(now, &mut self.judge, &mut self.host);
            let (engine, orphans) = (&mut self.engine, &mut self.orphans);
            orphans.tick(now, |flow| engine.release(flow));
            self.host.sender.flush();
            self.tell();
            if n == 0 {
                self.rest(now);
            } else {
                self.idle = None;
            }
        }
    }

    /// Sockets that it was given.
    fn take_inlets(&mut self) {
        let mailbox = self.mailboxes.get(self.queue as usize);
        while let Some(inlet) = mailbox.and_then(Mailbox::given) {
            self.inlets.push(inlet);
        }
    }

    fn receive(&mut self, now: u64) -> usize {
        let Self {
            inlets,
            lost_before,
            engine,
            host,
            judge,
            orphans,
            mailboxes,
            stats,
            queue,
            n_flows,
            ..
        } = self;
        let (queue, n_flows) = (*queue, *n_flows);
        let mut each = |frame: &[u8]| {
            let Some(head) = head(frame) else { return };
            let owner = u32::from(head.queue);
            if owner != queue {
                let to = mailboxes.get(owner as usize);
                match to.is_some_and(|to| to.post(frame)) {
                    true => stats.handed_over.add(1),
                    false => stats.not_handed.add(1),
                }
                return;
            }
            let mut desk = Desk {
                engine,
                host,
                judge,
                orphans,
                stats,
                n_flows,
            };
            desk.packet(now, &head, &frame[FRAME..]);
        };
        let mut all = 0;
        inlets.retain_mut(|inlet| {
            let n = inlet.receive(&mut each);
            all += n;
            let is_over = inlet.is_over(now, n);
            if is_over {
                *lost_before += inlet.measure();
            }
            !is_over
        });
        all
    }

    /// What other workers have handed over.
    fn collect(&mut self, now: u64) -> usize {
        let mailboxes = self.mailboxes.clone();
        let Some(mailbox) = mailboxes.get(self.queue as usize) else {
            return 0;
        };
        let mut desk = Desk {
            engine: &mut self.engine,
            host: &mut self.host,
            judge: &mut self.judge,
            orphans: &mut self.orphans,
            stats: &self.stats,
            n_flows: self.n_flows,
        };
        mailbox.take(|frame| {
            if let Some(head) = head(frame) {
                desk.packet(now, &head, &frame[FRAME..]);
            }
        })
    }

    /// Heartbeat and counts.
    fn tell(&mut self) {
        let now = beat_ns();
        if now == self.beaten {
            return;
        }
        self.beaten = now;
        self.tables.beat(self.queue, self.generation, now);
        let stats = &self.stats;
        stats
            .flows
            .set(self.engine.n_flows() as u64 - self.orphans.len() as u64);
        stats.buffers.set(self.engine.n_buffers_used() as u64);
        stats.orphans.set(self.orphans.len() as u64);
        stats.half_open.set(self.engine.n_half_open().into());
        stats.guarded(&self.engine.counts());
        stats.kicks.set(self.host.sender.kicks);
        stats.dropped.set(self.host.sender.dropped);
        if now - self.measured >= MEASURE_NS {
            self.measured = now;
            let lost: u64 = self.inlets.iter().map(Inlet::measure).sum();
            stats.overruns.set(self.lost_before + lost);
        }
    }

    fn looks_again(&mut self) -> bool {
        self.wait == Wait::Adaptive && self.idle.get_or_insert_with(Instant::now).elapsed() < LOOKS
    }

    fn rest(&mut self, now: u64) {
        self.inlets.iter_mut().for_each(Inlet::wake_if_asked);
        if self.wait == Wait::Spin || self.looks_again() {
            std::hint::spin_loop();
            return;
        }
        let left = self.engine.next_tick().map(|at| at.saturating_sub(now));
        let left = left.map_or(LONGEST_SLEEP, Duration::from_millis);
        let time = match self.host.sender.n_waiting() {
            0 => left.min(LONGEST_SLEEP),
            _ => Duration::ZERO,
        };
        let Some(mailbox) = self.mailboxes.get(self.queue as usize) else {
            return;
        };
        self.stats.waits.add(1);
        let is_idle = || mailbox.is_empty() && !self.stop.load(Ordering::Relaxed);
        let sockets = self.inlets.iter().map(Inlet::socket);
        mailbox.bell.sleep(sockets, time, is_idle);
    }
}

/// What a packet meets.
struct Desk<'w, J, L> {
    engine: &'w mut Engine,
    host: &'w mut PortHost<L>,
    judge: &'w mut J,
    orphans: &'w mut Orphans,
    stats: &'w Stats,
    n_flows: u32,
}

impl<J: Judge, L: Listener> Desk<'_, J, L> {
    fn packet(&mut self, now: u64, head: &l7_frame, packet: &[u8]) {
        let arrival = match u32::from(head.kind) {
            L7_UP => Arrival::Up,
            L7_COPY => Arrival::Copy,
            _ => return,
        };
        match arrival {
            Arrival::Up => self.stats.packets.add(1),
            Arrival::Copy => self.stats.copies.add(1),
        }
        let number = u32::from(head.number[0]) | u32::from(head.number[1]) << 16;
        if self.orphans.len() > 0 && number != L7_NO_NUMBER {
            let flow = number % self.n_flows;
            if self.orphans.has(flow) {
                if arrival == Arrival::Up && self.orphans.end(flow, self.host) {
                    self.engine.release(flow);
                }
                return;
            }
        }
        self.engine
            .packet(now, packet, arrival, self.judge, self.host);
        self.host.turn(None);
    }
}

fn head(frame: &[u8]) -> Option<l7_frame> {
    let head = l7_frame::from_bytes(frame.get(..FRAME)?)?;
    (u32::from(head.magic) == L7_MAGIC).then_some(head)
}
