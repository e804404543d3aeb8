//! The socket tier in the daemon: arms it, tells it which workloads have a
//! proxy, and ends sockets whose backend is gone.

mod discover;
pub mod placed;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use terrace_abi::consts::{BACKEND_DRAINING, BACKEND_READY};
use terrace_abi::{Reason, types};
use terrace_offload::plan::SocketState;
use terrace_sock::connect::{ConnectPrograms, Options};
use terrace_sock::explain::DryRun;
use terrace_sock::proxy::ProxyPrograms;
use terrace_sock::records::Records;
use terrace_sock::sockets::Sockets as Iterators;
use terrace_sock::{Cgroup, links, proxy};

use super::events::Kind;
use super::shared::Shared;
use workloads::State;

pub use workloads::sync as sync_workloads;

/// The armed socket tier.
#[derive(Debug)]
pub struct Sockets {
    pub cgroup: Cgroup,
    pub options: Options,
    programs: ConnectPrograms,
    /// None = this kernel can't list sockets.
    pub iterators: Option<Iterators>,
    records: Records,
    seen: Mutex<Seen>,
    proxy: Option<ProxyPrograms>,
    dry_run: Mutex<Option<DryRun>>,
    state: Mutex<State>,
}

/// What was found when the table of connected sockets was last looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub used: usize,
    /// Sockets without room there, since the programs were first loaded.
    full: u64,
}

impl Sockets {
    /// Records of connected sockets that are in use, and room for them.
    pub fn records(&self) -> (usize, usize) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.used, self.records.capacity().unwrap_or_default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name and addresses of the workloads with a proxy, by their number.
    pub fn workload_names(&self) -> BTreeMap<u32, String> {
        self.state().names.clone()
    }

    /// Numbers of the cgroups that are workloads.
    pub fn cgroups(&self) -> BTreeSet<u64> {
        self.state().cgroups()
    }

    /// The answer to a question of `terrace explain`.
    ///
    /// # Errors
    /// The kernel refuses the dry run.
    pub fn ask(
        &self,
        shared: &Shared,
        question: &types::connect_question,
    ) -> Result<types::connect_answer> {
        let mut held = self.dry_run.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = Some(DryRun::load(&shared.maps, &self.options)?);
        }
        let dry_run = held.as_ref().context("it was loaded just now")?;
        Ok(dry_run.ask(question)?)
    }
}

/// Arms what the configuration asks for, and takes off what it does not. A
/// fault is told and leaves the work to tc, unless it was required.
///
/// # Errors
/// What was required can't be had.
pub fn arm(shared: &Shared) -> Result<()> {
    let config = &shared.config.socket;
    let done = match config.is_on() {
        true => load(shared).map(Some),
        false => disarm(shared, |_| false).map(|()| None),
    };
    match done {
        Ok(None) => Ok(()),
        Ok(Some((sockets, message))) => {
            shared.events.tell(Kind::SocketArmed, message.clone());
            // Set once: this runs once.
            let _ = shared.sockets.set(sockets);
            let _ = shared
                .socket_state
                .set(SocketState::Armed { reason: message });
            sync_workloads(shared);
            Ok(())
        }
        Err(error) if config.require => Err(error.context("the socket tier is required")),
        Err(error) => {
            let refused = SocketState::Refused {
                why: format!("{error:#}"),
                fix: "mend it and restart, or leave it to tc: [socket] services = false".to_owned(),
            };
            let _ = shared.socket_state.set(refused);
            let message = format!("{error:#}; tc serves services, and no workload is redirected");
            shared.events.tell(Kind::SocketFallback, message);
            // Half of it would be worse than none.
            disarm(shared, |_| false)
        }
    }
}

/// Takes off our programs whose name is not kept; those of the shortcut have
/// their own owner.
fn disarm(shared: &Shared, keep: impl Fn(&str) -> bool) -> Result<()> {
    let ours = |name: &str| {
        terrace_sock::connect::link_names().any(|known| known == name) || proxy::is_ours(name)
    };
    let root = shared.maps.root();
    Ok(links::detach_others(root, |name| {
        !ours(name) || keep(name)
    })?)
}

fn load(shared: &Shared) -> Result<(Sockets, String)> {
    let config = &shared.config.socket;
    let cgroup = match &config.cgroup {
        Some(path) => Cgroup::open(path)?,
        None => Cgroup::find()?,
    };
    let options = Options {
        host_netns: terrace_sock::connect::netns_cookie()
            .context("ask for the network namespace")?,
        services: config.services,
        proxy: config.proxy,
        cgroups: config.proxy,
        max_entries: config.max_entries,
    };
    let maps = &shared.maps;
    let programs = ConnectPrograms::load(maps, &options)?;
    let proxy = match config.proxy {
        true => Some(ProxyPrograms::load(maps, config.max_entries)?),
        false => None,
    };
    let iterators = iterators(shared);
    let mut attached = programs.attach(&cgroup)?;
    match &proxy {
        Some(proxy) => attached.extend(proxy.attach(&cgroup)?),
        None => disarm(shared, |name| !proxy::is_ours(name))?,
    }
    let message = describe(&options, &cgroup, &attached);
    let sockets = Sockets {
        cgroup,
        options,
        programs,
        iterators,
        records: Records::load(maps, config.max_entries)?,
        seen: Mutex::default(),
        proxy,
        dry_run: Mutex::default(),
        state: Mutex::default(),
    };
    Ok((sockets, message))
}

fn describe(options: &Options, cgroup: &Cgroup, attached: &[terrace_sock::Attachment]) -> String {
    let what: Vec<&str> = [(options.services, "services"), (options.proxy, "proxies")]
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, what)| *what)
        .collect();
    let taken = attached.iter().filter(|one| one.taken_over).count();
    format!(
        "{} at connect() on {}: {} programs, {taken} of them in place of an earlier daemon's",
        what.join(" and "),
        cgroup.path().display(),
        attached.len()
    )
}

/// Without them sockets keep their backend for as long as they live.
fn iterators(shared: &Shared) -> Option<Iterators> {
    const STAY: &str = "connected sockets stay with a backend that is gone";
    let tell = |why: String| shared.events.tell(Kind::SocketFallback, why);
    match Iterators::load(&shared.maps, shared.config.socket.max_entries) {
        Ok(iterators) => {
            if !iterators.can_end() {
                let why = "this kernel lets no program end sockets (it takes Linux 6.5)";
                tell(format!("{why}: {STAY}"));
            }
            Some(iterators)
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            let why = "this kernel lets no program list and end sockets";
            tell(format!("{why}: {STAY}: {error:#}"));
            None
        }
    }
}

/// By the clock: gives back what sockets left that are gone, and tells when
/// there was no room for one.
pub fn tend(shared: &Shared) {
    let Some(sockets) = shared.sockets.get() else {
        return;
    };
    if let Err(error) = look(shared, sockets) {
        shared
            .events
            .tell(Kind::KernelRefused, format!("{error:#}"));
    }
}

fn look(shared: &Shared, sockets: &Sockets) -> Result<()> {
    let used = sockets.records.sweep()?.used;
    let counts = shared.maps.socket_reasons()?;
    let full = counts
        .iter()
        .find(|count| count.reason == Reason::SocketsFull)
        .map_or(0, |count| count.packets);
    let mut seen = sockets.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if full > seen.full {
        let message = format!(
            "{} sockets found no room among {} and keep what they asked for in their own storage, \
             which takes longer: raise [socket] max_entries, then `terrace detach` and start",
            full - seen.full,
            sockets.records.capacity()?
        );
        shared.events.tell(Kind::SocketsFull, message);
    }
    *seen = Seen { used, full };
    Ok(())
}

/// After a change of the tables: sockets whose backend is gone end.
pub fn follow_up(shared: &Shared) {
    sync_workloads(shared);
    let Some(iterators) = shared.sockets.get().and_then(|s| s.iterators.as_ref()) else {
        return;
    };
    let closed = {
        let mesh = shared.mesh();
        let tables = mesh.tables();
        iterators.close_stale(|peer| keeps(&tables.backends.read(peer.backend), peer))
    };
    match closed {
        Ok(closed) if closed.stale == 0 => {}
        Ok(closed) => {
            let message = format!(
                "{} sockets closed, their backend is gone ({} in network namespaces without a \
                 name or process could not be)",
                closed.stale - closed.out_of_reach,
                closed.out_of_reach
            );
            shared.events.tell(Kind::SocketsClosed, message);
        }
        Err(error) => {
            let error = anyhow::Error::from(error);
            shared
                .events
                .tell(Kind::KernelRefused, format!("{error:#}"));
        }
    }
}

fn keeps(backend: &types::backend, peer: &types::peer) -> bool {
    u32::from(backend.flags) & (BACKEND_READY | BACKEND_DRAINING) != 0
        && backend.addr == peer.got
        && backend.port == peer.got_port
        && backend.proto == peer.proto
}
