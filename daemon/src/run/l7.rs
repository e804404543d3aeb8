//! The L7 tier within the daemon's life: it starts when rules need it, and is
//! watched.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use terrace_abi::consts::ROLE_L7_PORT;
use terrace_abi::types;
use terrace_xdp::xsk;
use tokio::time::{MissedTickBehavior, interval};

use super::events::Kind;
use super::facts;
use super::hooks::Hooks;
use super::interfaces::{Host, Interfaces};
use super::shared::Shared;
use crate::api;
use crate::l7::inlet::InletState;
use crate::l7::port;
use crate::l7::rules::{Rules, heads};
use crate::l7::services::{Common, ServicesMaker};
use crate::l7::sources::{Ports, Sources};
use crate::l7::tier::Tier;
use crate::netlink::Network;

/// Silences in a row after which a worker is given up.
const STALLS: u64 = 10;

/// The running tier, for whoever wants to look at it.
pub type Running = Mutex<Option<Arc<Tier>>>;

/// Starts the tier when rules need it and it does not run yet. What fails is
/// told; flows that need a worker meet their service's fail mode meanwhile.
pub fn tend(shared: &Shared, network: &Network, hooks: &Hooks) {
    if !shared.config.l7.enabled || running(shared).is_some() || shared.l7.get().is_empty() {
        return;
    }
    match start(shared, network, hooks) {
        Ok(tier) => {
            let (n, pages) = (tier.workers.len(), tier.has_huge_pages);
            let pages = if pages { "huge" } else { "small" };
            let what = format!("{n} workers on {}, memory in {pages} pages", port::TC_END);
            shared.events.tell(Kind::L7Started, what);
            *lock(&shared.tier) = Some(Arc::new(tier));
        }
        Err(error) => shared.events.tell(Kind::L7Failed, format!("{error:#}")),
    }
}

/// The queues that workers read themselves.
pub fn tend_uplinks(shared: &Shared, interfaces: &mut Interfaces, host: Host<'_>) {
    let workers = running(shared);
    let readings = Arc::new(interfaces.tend_uplinks(host, workers.as_deref()));
    shared.change_view(|view| view.readings = readings);
}

/// The workers, as people see them.
pub fn workers(shared: &Shared) -> Vec<api::Worker> {
    let Some(tier) = running(shared) else {
        return Vec::new();
    };
    let silences = tier.silence_ms();
    let rows = tier
        .workers
        .iter()
        .zip(silences)
        .zip(sockets(shared, &tier));
    rows.map(|((stats, silence_ms), sockets)| api::Worker {
        sockets,
        not_handed: stats.not_handed.get(),
        half_open: stats.half_open.get(),
        challenges: stats.challenges.get(),
        strays: stats.strays.get(),
        cookies: stats.cookies.get(),
        full: stats.full.get(),
        unheld: stats.unheld.get(),
        flows: stats.flows.get(),
        buffers: stats.buffers.get(),
        orphans: stats.orphans.get(),
        requests: stats.requests.get(),
        resets: stats.resets.get(),
        no_ports: stats.no_ports.get(),
        packets: stats.packets.get(),
        copies: stats.copies.get(),
        sent: stats.sent.get(),
        dropped: stats.dropped.get(),
        overruns: stats.overruns.get(),
        handed_over: stats.handed_over.get(),
        kicks: stats.kicks.get(),
        waits: stats.waits.get(),
        passed: stats.passed.get(),
        panics: stats.panics.get(),
        silence_ms,
    })
    .collect()
}

/// Those of each worker.
fn sockets(shared: &Shared, tier: &Tier) -> Vec<Vec<api::WorkerSocket>> {
    let socket = |iface: &str, queue: usize, inlet: &InletState| api::WorkerSocket {
        iface: iface.to_owned(),
        queue: queue as u32,
        packets: inlet.packets.get(),
        overruns: inlet.overruns.get(),
    };
    let of_port = tier.inlets.iter().enumerate();
    let mut all: Vec<_> = of_port
        .map(|(queue, inlet)| vec![socket(port::WORKERS_END, queue, inlet)])
        .collect();
    let n = all.len();
    for reading in shared.view().readings.iter() {
        for (queue, inlet) in reading.inlets.iter().enumerate() {
            let worker = (reading.first as usize + queue) % n;
            all[worker].push(socket(&reading.iface, queue, inlet));
        }
    }
    all
}

pub fn running(shared: &Shared) -> Option<Arc<Tier>> {
    lock(&shared.tier).clone()
}

fn lock(tier: &Running) -> std::sync::MutexGuard<'_, Option<Arc<Tier>>> {
    tier.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(shared: &Shared, network: &Network, hooks: &Hooks) -> Result<Tier> {
    let settings = &shared.config.l7;
    let mtu = largest_mtu(shared, network);
    let config = shared.maps.config()?;
    let common = Common {
        published: shared.l7.clone(),
        mtu: mtu as u16,
        sources: Arc::new(sources(&config)),
    };
    let (min, max) = (*settings.source_ports.start(), *settings.source_ports.end());
    let n_workers = settings.n_workers(std::thread::available_parallelism().map_or(1, usize::from));
    let tier = Tier::start(&shared.maps, settings, mtu, |queue| ServicesMaker {
        common: common.clone(),
        ports: Ports::share(min, max, queue, n_workers),
        queue: queue as u16,
        told: shared.requests.join(),
    })?;
    let ifindex = tier.port.tc_ifindex;
    let entry = types::iface {
        ifindex,
        role: ROLE_L7_PORT as u8,
        mtu,
        ..Default::default()
    };
    shared.maps.set_iface(&entry)?;
    hooks.arm_l7_port(port::TC_END, ifindex)?;
    let told = types::config {
        l7_ifindex: ifindex,
        l7_queues: tier.workers.len() as u32,
        l7_flows: tier.n_flows,
        l7_timeout_ms: settings.heartbeat_timeout.as_millis() as u32,
        l7_port_min: min,
        l7_port_max: max,
        ..shared.maps.config()?
    };
    shared
        .maps
        .set_config(&told)
        .context("tell the programs of the l7 port")?;
    Ok(tier)
}

/// The workers get their rules, and from then on no request passes by others:
/// the programs go by the generation.
///
/// # Errors
/// The kernel refuses to be told of it. Entries that find no room are no error:
/// their requests go to a worker.
pub fn publish(shared: &Shared, old: &Rules, rules: &Arc<Rules>) -> Result<()> {
    if old.generation == 0 {
        // An earlier process' splices name sets whose numbers are used again.
        tell_generation(shared, 0)?;
    }
    if let Err(error) = heads::add(&shared.maps, old, rules) {
        let what = format!("rules on requests stay with the workers: {error}");
        shared.events.tell(Kind::L7Failed, what);
    }
    shared.l7.publish(Arc::clone(rules));
    let generation = match shared.config.l7.why_not_in_kernel() {
        None => rules.generation,
        Some(_) => 0,
    };
    tell_generation(shared, generation)
}

fn tell_generation(shared: &Shared, l7_generation: u32) -> Result<()> {
    let told = types::config {
        l7_generation,
        ..shared.maps.config()?
    };
    shared
        .maps
        .set_config(&told)
        .context("tell the programs of the rules on requests")
}

fn sources(config: &types::config) -> Sources {
    let bytes = |words: [u32; 4]| {
        let mut bytes = [0; 16];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    };
    Sources {
        v4: bytes(config.host_addr4),
        v6: bytes(config.host_addr6),
    }
}

/// Of the interfaces that are managed, as far as sockets take such packets.
fn largest_mtu(shared: &Shared, network: &Network) -> u32 {
    const LARGEST: u32 = 9_000;
    const ETHERNET: u32 = 14;
    let links = facts::wanted(&shared.config, network).into_values();
    let mtu = links.map(|(link, _)| link.mtu).max().unwrap_or(1_500);
    mtu.clamp(1_280, LARGEST.min(xsk::longest_packet() - ETHERNET))
}

/// Puts the program on tc's end of the port back when somebody took it off, and
/// its sysctls when somebody wrote those of all interfaces.
///
/// # Errors
/// The kernel does not tell what is attached, or refuses the program.
pub fn rearm(shared: &Shared, hooks: &Hooks) -> Result<()> {
    let Some(tier) = running(shared) else {
        return Ok(());
    };
    port::set_sysctls(port::TC_END)?;
    let ifindex = tier.port.tc_ifindex;
    let attached = terrace_tc::list().context("list tc programs")?;
    if attached.iter().any(|a| a.ifindex == ifindex) {
        return Ok(());
    }
    hooks.arm_l7_port(port::TC_END, ifindex)?;
    let what = "somebody took the tc program off; it is back";
    let what = format!("{}: {what}", port::TC_END);
    shared.events.tell(Kind::InterfaceFailed, what);
    Ok(())
}

/// Looks after the workers' heartbeats for as long as the daemon runs.
///
/// # Errors
/// A worker is stuck: only a new process gets its queue back. Spliced flows go
/// on meanwhile.
pub async fn watch(shared: Arc<Shared>) -> Result<()> {
    let timeout = shared.config.l7.heartbeat_timeout;
    let mut ticks = interval(timeout.max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut silent, mut lost) = (Vec::new(), Vec::new());
    loop {
        ticks.tick().await;
        let Some(tier) = running(&shared) else {
            continue;
        };
        silent.resize(tier.workers.len(), 0u64);
        lost.resize(tier.workers.len(), 0u64);
        for (queue, silence_ms) in tier.silence_ms().into_iter().enumerate() {
            tell_overruns(
                &shared,
                queue,
                tier.workers[queue].overruns.get() + tier.workers[queue].not_handed.get(),
                &mut lost[queue],
            );
            if u128::from(silence_ms) <= timeout.as_millis() {
                silent[queue] = 0;
                continue;
            }
            silent[queue] += 1;
            tier.stalls.add(1);
            let what = format!("worker {queue}: no heartbeat for {silence_ms} ms");
            shared.events.tell(Kind::L7Stalled, what);
            if silent[queue] >= STALLS {
                bail!("worker {queue} is stuck; the daemon must be started anew");
            }
        }
    }
}

fn tell_overruns(shared: &Shared, queue: usize, overruns: u64, told: &mut u64) {
    let new = overruns.saturating_sub(std::mem::replace(told, overruns));
    if new > 0 {
        let why = "it was too slow; TCP sends them again";
        let fix = "raise [l7] frames or workers";
        let what = format!("worker {queue} lost {new} packets: {why}; {fix}");
        shared.events.tell(Kind::L7Overrun, what);
    }
}
