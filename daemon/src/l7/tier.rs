//! The tier as the daemon sees it: started when there is something to enforce,
//! watched, and stopped with the daemon.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};
use terrace_abi::consts::L7_SOCKETS_MAX;
use terrace_abi::{L7Tables, Maps};
use terrace_l7::flow;
use terrace_xdp::port::PortProgram;
use terrace_xdp::xsk::{Bind, Memory, MemorySize, Xsk};

use super::clock::beat_ns;
use super::inlet::{Inlet, InletState, MAX_INLETS};
use super::mailbox::Mailbox;
use super::port::{self, Port};
use super::stats::Count;
use super::worker::{self, Maker, Seat};
use super::{Stats, Wait};
use crate::config;

/// Workers get so long to end.
const LEAVE: Duration = Duration::from_secs(2);
const BUSY_POLL: Duration = Duration::from_micros(20);
const BUSY_BUDGET: u32 = 64;

/// The running workers. Dropping it stops them; the port and what is spliced
/// stay.
pub struct Tier {
    pub port: Port,
    pub workers: Vec<Arc<Stats>>,
    /// Their sockets on the port.
    pub inlets: Vec<Arc<InletState>>,
    /// Looks at which a worker was silent.
    pub stalls: Count,
    pub has_huge_pages: bool,
    /// Flows that each worker can have.
    pub n_flows: u32,
    /// When the workers were started, as heartbeats are told.
    since: u64,
    secret: u64,
    frames: u32,
    wait: Wait,
    tables: Arc<L7Tables>,
    mailboxes: Arc<[Mailbox]>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    _program: PortProgram,
}

impl Tier {
    /// Makes the port and starts the workers. Packets come when the programs
    /// are told of the port (`config.l7_ifindex`).
    ///
    /// # Errors
    /// What could not be had; nothing of it is left running.
    pub fn start<M: Maker>(
        maps: &Maps,
        settings: &config::L7,
        mtu: u32,
        mut maker: impl FnMut(u32) -> M,
    ) -> Result<Self> {
        let n_cpus = thread::available_parallelism().map_or(1, usize::from);
        let n = settings.n_workers(n_cpus);
        let port = port::ensure(n, mtu)?;
        let tables = Arc::new(maps.l7_tables()?);
        let n_flows = tables.flows() / n;
        let program = PortProgram::load(maps).context("load the program of the l7 port")?;
        program.attach(port::WORKERS_END, port.workers_ifindex)?;
        let mut memory = Memory::new(MemorySize {
            sockets: n,
            frames_in: settings.frames,
            frames_out: settings.frames,
        })?;
        let mailboxes: Result<Vec<_>, _> = (0..n).map(|_| Mailbox::new()).collect();
        let mut tier = Self {
            port,
            workers: (0..n).map(|_| Arc::default()).collect(),
            inlets: (0..n).map(|_| Arc::default()).collect(),
            stalls: Count::default(),
            has_huge_pages: memory.has_huge_pages(),
            n_flows,
            since: beat_ns(),
            secret: maps.config()?.l7_secret,
            frames: settings.frames,
            wait: settings.wait,
            tables,
            mailboxes: mailboxes.context("make the workers' mailboxes")?.into(),
            stop: Arc::default(),
            threads: Vec::new(),
            _program: program,
        };
        for queue in 0..n {
            let xsk = tier.socket(&mut memory, queue)?;
            let maker = maker(queue);
            tier.spawn(queue, xsk, settings, maker)?;
        }
        Ok(tier)
    }

    fn socket(&self, memory: &mut Memory, queue: u32) -> Result<Xsk> {
        let xsk = bind(memory, queue)?;
        self.prepare(&xsk)?;
        self._program.give(queue, xsk.fd())?;
        Ok(xsk)
    }

    fn prepare(&self, xsk: &Xsk) -> Result<()> {
        if self.wait == Wait::BusyPoll {
            xsk.busy_poll(BUSY_BUDGET, BUSY_POLL)?;
        }
        Ok(())
    }

    /// Entries of `uplink_sockets` that there are readers for: the worker of
    /// one is its number modulo the workers.
    pub fn n_entries(&self) -> u32 {
        let most = (MAX_INLETS as u32 - 1) * self.workers.len() as u32;
        most.min(L7_SOCKETS_MAX)
    }

    /// Has workers read the queues of an interface: `give` puts each socket into
    /// its entry, from `first` on. Packets come when the program is told.
    ///
    /// # Errors
    /// What the kernel refused; nothing of it is left.
    pub fn open(
        &self,
        iface: &str,
        n_queues: u32,
        how: Bind,
        first: u32,
        give: impl Fn(u32, RawFd) -> Result<()>,
    ) -> Result<Vec<Arc<InletState>>> {
        let mut memory = Memory::new(MemorySize {
            sockets: n_queues,
            frames_in: self.frames,
            frames_out: 0,
        })?;
        let mut bound = Vec::new();
        for queue in 0..n_queues {
            let xsk = memory.bind(iface, queue, how)?;
            self.prepare(&xsk)?;
            give(first + queue, xsk.fd())?;
            bound.push((Arc::new(InletState::default()), xsk.receiver));
        }
        let inlets = bound.iter().map(|(state, _)| state.clone()).collect();
        for (entry, (state, receiver)) in (first as usize..).zip(bound) {
            self.mailboxes[entry % self.mailboxes.len()].give(Inlet::new(receiver, state));
        }
        Ok(inlets)
    }

    /// Has the workers close sockets, when what came by them is read.
    pub fn close(&self, inlets: &[Arc<InletState>]) {
        inlets.iter().for_each(|inlet| inlet.leave());
        self.mailboxes
            .iter()
            .for_each(|mailbox| mailbox.bell.ring());
    }

    fn spawn<M: Maker>(
        &mut self,
        queue: u32,
        xsk: Xsk,
        settings: &config::L7,
        maker: M,
    ) -> Result<()> {
        let seat = Seat {
            queue,
            n_flows: self.n_flows,
            xsk,
            port: self.inlets[queue as usize].clone(),
            tables: self.tables.clone(),
            mailboxes: self.mailboxes.clone(),
            stats: self.workers[queue as usize].clone(),
            stop: self.stop.clone(),
            wait: settings.wait,
            secret: self.secret,
            engine: flow::Config {
                max_half_open: settings.half_open,
                buffers: settings.buffers,
                limits: settings.limits,
                head_ms: settings.head_timeout.as_millis() as u32,
                secret: secret()?,
                ..flow::Config::default()
            },
        };
        let cpu = match settings.cpus.as_slice() {
            [] => queue as usize,
            cpus => cpus[queue as usize % cpus.len()],
        };
        let thread = thread::Builder::new()
            .name(format!("terrace-l7-{queue}"))
            .spawn(move || {
                pin(cpu);
                worker::run(seat, maker);
            })
            .context("start a worker")?;
        self.threads.push(thread);
        Ok(())
    }

    /// Milliseconds since each worker's last heartbeat, or its start.
    pub fn silence_ms(&self) -> Vec<u64> {
        let now = beat_ns();
        let workers = 0..self.workers.len() as u32;
        workers
            .map(|queue| self.tables.worker(queue).beat_ns.max(self.since))
            .map(|beat| now.saturating_sub(beat) / 1_000_000)
            .collect()
    }
}

impl std::fmt::Debug for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Tier of {} workers on {:?}",
            self.workers.len(),
            self.port
        )
    }
}

impl Drop for Tier {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.mailboxes
            .iter()
            .for_each(|mailbox| mailbox.bell.ring());
        let until = Instant::now() + LEAVE;
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
            // One that is stuck ends with the process; one that has panicked
            // outside of its own net is gone already.
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

/// The kernel lets go of an earlier daemon's socket some time after its end.
fn bind(memory: &mut Memory, queue: u32) -> Result<Xsk> {
    const ATTEMPTS: u32 = 50;
    let mut attempt = 1;
    loop {
        match memory.bind(port::WORKERS_END, queue, Bind::Copy) {
            Ok(xsk) => return Ok(xsk),
            Err(error) if attempt == ATTEMPTS => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
        attempt += 1;
    }
}

/// A CPU that is not there, or not ours, leaves the thread where it is.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::warn!("a worker is not pinned to CPU {cpu}: {error}");
    }
}

fn secret() -> Result<[u8; 16]> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    let mut random = std::fs::File::open("/dev/urandom").context("open /dev/urandom")?;
    random.read_exact(&mut bytes).context("read /dev/urandom")?;
    Ok(bytes)
}
