//! The main loop: one thing at a time changes the tables and the interfaces.

mod nics;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::IpNet;
use terrace_abi::{consts, types};
use terrace_mesh::HostFacts;
use tokio::sync::{mpsc, watch};
use tokio::task::block_in_place;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::change::{Changer, Done, Faults};
use super::events::Kind;
use super::host::{destinations, set_kernel_config, tend_sysctls};
use super::interfaces::{Host, Interfaces};
use super::neighbours::Destinations;
use super::report::{recount, report};
use super::shared::{Command, Mesh, Shared};
use super::signals::Signals;
use super::watch::FolderWatch;
use super::{facts, health_targets, l7, shortcut, sockets};
use crate::api;
use crate::config::Config;
use crate::control::names;
use crate::health::{Checker, Known, Verdict};
use crate::netlink::{Changes, Effects, Netlink, Network, NextHop};

/// Changes of the network come in bursts.
const GATHER: Duration = Duration::from_millis(20);
/// What follows from the tables but no packet waits for.
const FOLLOW_UP: Duration = Duration::from_millis(100);
/// What failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Everything that tells the main loop something.
pub struct Sources {
    pub signals: Signals,
    pub network: Changes,
    pub folder: FolderWatch,
    pub verdicts: mpsc::Receiver<Verdict>,
    pub commands: mpsc::Receiver<Command>,
    pub news: mpsc::Receiver<()>,
    pub ring: mpsc::Receiver<types::event>,
}

/// Whom the main loop tells.
pub struct Sinks {
    pub checker: Checker,
    pub destinations: watch::Sender<Destinations>,
    pub urgent: mpsc::Sender<NextHop>,
}

pub struct Daemon {
    pub shared: Arc<Shared>,
    pub netlink: Netlink,
    pub network: Network,
    pub interfaces: Interfaces,
    pub changer: Changer,
    pub sinks: Sinks,
    pub health: Known,
    /// Why the latest facts of the host were refused.
    pub refused_facts: Faults,
    /// Not yet acted on, and when it will be.
    pub pending: Effects,
    pub act_at: Option<Instant>,
    pub follow_up_at: Option<Instant>,
    pub routes_rev: u32,
}

impl Daemon {
    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// Netlink is gone: the daemon would serve a network that it can't see.
    pub async fn run(&mut self, mut from: Sources) -> Result<()> {
        let mut ticks = interval(RETRY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.shared.note_progress();
            let deadline = self.deadline();
            tokio::select! {
                () = from.signals.stop.asked() => return Ok(()),
                _ = from.signals.hangup.recv() => {
                    self.reread_wishes();
                    self.files_changed();
                }
                change = from.network.next() => {
                    let change = change.context("the rtnetlink socket broke")?;
                    self.note(change);
                }
                () = sleep_until(deadline) => self.due().await,
                () = from.folder.changed() => self.files_changed(),
                Some(verdict) = from.verdicts.recv() => self.judged(verdict),
                Some(command) = from.commands.recv() => self.command(command),
                Some(event) = from.ring.recv() => self.told(&event),
                Some(()) = from.news.recv() => self.devices_changed(),
                _ = ticks.tick() => self.retry(),
            }
        }
    }

    fn deadline(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let due = [self.act_at, self.follow_up_at, self.sync_at()];
        due.into_iter().flatten().min().unwrap_or(far)
    }

    /// The interfaces want to be looked at again, or to move.
    fn sync_at(&self) -> Option<Instant> {
        self.interfaces.due().map(Instant::from_std)
    }

    fn devices_changed(&mut self) {
        self.interfaces.mark_stale();
        self.pending.links = true;
        self.act_at.get_or_insert_with(|| Instant::now() + GATHER);
    }

    fn note(&mut self, change: crate::netlink::Change) {
        self.pending |= self.network.apply(change);
        if self.pending.any() {
            self.act_at.get_or_insert_with(|| Instant::now() + GATHER);
        }
    }

    async fn due(&mut self) {
        let now = Instant::now();
        if self.act_at.is_some_and(|at| at <= now) {
            self.act_at = None;
            let effects = std::mem::take(&mut self.pending);
            self.network_changed(effects).await;
        }
        if self.sync_at().is_some_and(|at| at <= now) {
            block_in_place(|| self.sync_interfaces());
            self.show_network();
        }
        if self.follow_up_at.is_some_and(|at| at <= now) {
            self.follow_up_at = None;
            self.follow_up();
        }
    }

    async fn network_changed(&mut self, mut effects: Effects) {
        if effects.resync {
            match self.netlink.network().await {
                Ok(network) => self.network = network,
                Err(error) => self.kernel_refused(&error),
            }
            effects |= Effects::ALL;
        }
        if effects.programs {
            // One that came and went since the last look leaves the link as it was.
            self.interfaces.mark_stale();
        }
        block_in_place(|| {
            if effects.next_hops {
                self.raise_next_hops();
            }
            if effects.links || effects.addresses {
                self.sync_interfaces();
            }
            if effects.links || effects.addresses || effects.macs {
                self.facts_changed();
            }
        });
        self.show_network();
        if effects.links {
            block_in_place(|| sockets::sync_workloads(&self.shared));
        }
    }

    /// Cached next hops count no more; the routes to backends are asked again.
    fn raise_next_hops(&mut self) {
        let raised = self.shared.maps.config().and_then(|config| {
            self.shared.maps.set_config(&types::config {
                nexthop_rev: config.nexthop_rev.wrapping_add(1),
                ..config
            })
        });
        if let Err(error) = raised {
            self.kernel_refused(&error.into());
        }
        let shared = self.shared.clone();
        let host = Host::of(&shared, &self.network, &self.changer);
        block_in_place(|| self.interfaces.withdraw_nic_flows(host));
        self.routes_rev = self.routes_rev.wrapping_add(1);
        self.follow_up_soon();
    }

    /// Also what the programs know of the host's addresses.
    pub fn sync_interfaces(&mut self) {
        let shared = self.shared.clone();
        self.changer.see_closed(&shared);
        let host = Host::of(&shared, &self.network, &self.changer);
        // The event is told where it happened.
        let _ = self.interfaces.sync(host);
        // Flows that began meanwhile count as listed: the list sees them now.
        if self.interfaces.take_passed_unlisted()
            && let Err(error) = self.changer.look_again(&shared)
        {
            self.kernel_refused(&error);
        }
        if let Err(error) = set_kernel_config(&shared, &self.network) {
            self.kernel_refused(&error);
        }
        tend_sysctls(&shared, &self.network, &self.interfaces);
        self.tend_uplinks();
    }

    /// The queues that workers read themselves.
    fn tend_uplinks(&mut self) {
        let shared = self.shared.clone();
        let host = Host::of(&shared, &self.network, &self.changer);
        l7::tend_uplinks(&shared, &mut self.interfaces, host);
    }

    fn facts_changed(&mut self) {
        let shared = self.shared.clone();
        let facts = self.facts(self.changer.deny());
        let done = self.changer.facts_changed(&shared, facts);
        if done == Ok(Done::default()) {
            return;
        }
        // What was refused is told once; the rest of it is applied.
        let faults = done.err().unwrap_or_default();
        if !faults.is_empty() && faults != self.refused_facts {
            let what = faults.join("\n");
            shared.events.tell(Kind::ManifestsRefused, what);
        }
        self.refused_facts = faults;
        recount(&shared);
        let host = Host::of(&shared, &self.network, &self.changer);
        block_in_place(|| self.interfaces.judge_nic_flows(host));
        // What a NIC drops must not outlive the policy that drops it.
        if self.changer.see_closed(&shared) {
            block_in_place(|| self.sync_interfaces());
        }
        self.follow_up_soon();
    }

    fn facts(&self, deny: &Arc<[IpNet]>) -> HostFacts {
        let limits = self.shared.maps.limits();
        let unhealthy = self.health.unhealthy().into_keys();
        facts::host_facts(&self.shared.config, &self.network, limits, deny, unhealthy)
    }

    fn files_changed(&mut self) {
        // Told by `report`.
        let _ = self.reload();
    }

    /// Wishes of tiers count at once; the rest of terrace.toml at a start.
    fn reread_wishes(&mut self) {
        let path = &self.shared.config.file;
        match Config::load(path) {
            Ok(config) => {
                self.interfaces.set_rules(config.interfaces);
                block_in_place(|| self.sync_interfaces());
                self.show_network();
            }
            Err(faults) => {
                let what = faults.0.iter().map(ToString::to_string);
                let what: Vec<String> = what.collect();
                let told = format!("the wishes before count: {}", what.join("; "));
                self.shared.events.tell(Kind::ManifestsRefused, told);
            }
        }
    }

    fn reload(&mut self) -> Result<Done, Faults> {
        let shared = self.shared.clone();
        let (config, network) = (&shared.config, &self.network);
        let health = &self.health;
        let facts = |deny: &Arc<[IpNet]>| {
            let unhealthy = health.unhealthy().into_keys();
            facts::host_facts(config, network, shared.maps.limits(), deny, unhealthy)
        };
        let result = block_in_place(|| self.changer.files_changed(&shared, facts));
        if result.is_ok() {
            let host = Host::of(&shared, &self.network, &self.changer);
            block_in_place(|| self.interfaces.judge_nic_flows(host));
            // What is denied no more must leave the NICs, too.
            block_in_place(|| self.sync_interfaces());
            self.show_network();
            block_in_place(|| self.facts_changed());
            if let Err(error) = set_kernel_config(&shared, &self.network) {
                self.kernel_refused(&error);
            }
        }
        let (files, denied) = (self.changer.files(), self.changer.deny().len());
        report(&shared, files, denied, &result);
        self.follow_up_soon();
        result
    }

    fn command(&mut self, command: Command) {
        let answer = match command {
            Command::Reload(answer) => answer,
            // Whoever asked may have gone.
            Command::Move(request, answer) => return drop(answer.send(self.move_task(&request))),
        };
        self.reread_wishes();
        let done = self.reload();
        let revision = self.shared.view().manifests.revision;
        let result = done
            .map(|done| api::Reload {
                revision,
                changes: done.changes,
                took_ms: done.took.as_millis() as u64,
            })
            .map_err(|details| api::Error {
                error: "the manifests are refused; the state before them serves".into(),
                fix: "mend the files that are named, then reload".into(),
                details,
            });
        // Whoever asked may have gone.
        let _ = answer.send(result);
    }

    fn move_task(&mut self, request: &api::MoveRequest) -> Result<api::Moved, api::Error> {
        let shared = self.shared.clone();
        let host = Host::of(&shared, &self.network, &self.changer);
        let done = match request.task {
            api::Task::Connect | api::Task::Shortcut => shortcut::move_to(&shared, request),
            _ => block_in_place(|| self.interfaces.move_task(host, request)),
        };
        block_in_place(|| self.tend_uplinks());
        self.show_network();
        done.map(|changes| api::Moved { changes })
            .map_err(|why| api::Error {
                error: format!(
                    "{} of {} stays where it is: {why}",
                    request.task, request.iface
                ),
                fix: "`terrace plan` shows what is in the way of each tier".into(),
                details: Vec::new(),
            })
    }

    fn judged(&mut self, verdict: Verdict) {
        let address = verdict.target.address;
        let (kind, message) = match verdict.healthy {
            true => (Kind::BackendHealthy, address.to_string()),
            false => (
                Kind::BackendUnhealthy,
                format!("{address}: {}", verdict.why),
            ),
        };
        if !self.health.hear(verdict) {
            return;
        }
        self.shared.events.tell(kind, message);
        block_in_place(|| self.facts_changed());
        let unhealthy = Arc::new(self.health.unhealthy());
        self.shared.change_view(|view| view.unhealthy = unhealthy);
    }

    fn told(&mut self, event: &types::event) {
        let address = names::address(&event.addr);
        let iface = names::iface(&self.shared.view(), event.ifindex);
        match event.kind {
            consts::EVENT_NO_NEIGHBOUR => {
                let hop = NextHop {
                    ifindex: event.ifindex,
                    address,
                };
                // A full channel has enough to do; the next packet tells again.
                let _ = self.sinks.urgent.try_send(hop);
                let what = format!("{address} on {iface} is not resolved yet");
                self.shared.events.tell(Kind::NoNeighbour, what);
            }
            consts::EVENT_FLOWS_FULL => {
                let what = "new connections are refused: raise limits.flows and restart";
                self.shared.events.tell(Kind::FlowsFull, what);
            }
            consts::EVENT_SNAT_PORTS_FULL => {
                let what = format!("no free source port towards {address}: widen snat_ports");
                self.shared.events.tell(Kind::SnatPortsFull, what);
            }
            other => tracing::debug!("event {other} of the programs is not known"),
        }
    }

    fn retry(&mut self) {
        block_in_place(|| shortcut::tend(&self.shared));
        block_in_place(|| sockets::tend(&self.shared));
        self.tend_l7();
        self.rearm();
        self.tend_nics();
        let incomplete = self
            .interfaces
            .incomplete(&self.shared.config, &self.network);
        if incomplete || self.changer.is_torn() {
            block_in_place(|| {
                self.sync_interfaces();
                self.facts_changed();
            });
            self.show_network();
        }
        block_in_place(|| sockets::sync_workloads(&self.shared));
    }

    fn tend_l7(&mut self) {
        let hooks = self.interfaces.hooks();
        block_in_place(|| l7::tend(&self.shared, &self.network, hooks));
        block_in_place(|| self.tend_uplinks());
    }

    fn rearm(&mut self) {
        let shared = self.shared.clone();
        let host = Host::of(&shared, &self.network, &self.changer);
        match block_in_place(|| self.interfaces.rearm(host)) {
            Ok(true) => self.show_network(),
            Ok(false) => {}
            Err(error) => self.kernel_refused(&error),
        }
        let hooks = self.interfaces.hooks();
        if let Err(error) = block_in_place(|| l7::rearm(&shared, hooks)) {
            self.kernel_refused(&error);
        }
    }

    fn follow_up_soon(&mut self) {
        self.follow_up_at
            .get_or_insert_with(|| Instant::now() + FOLLOW_UP);
    }

    /// Health checks and neighbours, from the tables as they are now.
    pub fn follow_up(&mut self) {
        self.tend_l7();
        let shared = self.shared.clone();
        let (targets, destinations) = {
            let mesh = shared.mesh();
            let directory = mesh.directory();
            (
                health_targets(directory, &shared.config.health),
                destinations(directory, &self.network, self.routes_rev),
            )
        };
        let checked = targets.len();
        // While the manifests are refused nobody knows what is to be checked.
        let is_known = matches!(*shared.mesh(), Mesh::Compiled(_));
        if is_known && self.health.follow(targets) {
            block_in_place(|| self.facts_changed());
        }
        let unhealthy = Arc::new(self.health.unhealthy());
        self.sinks.checker.check(self.health.targets());
        self.sinks.destinations.send_if_modified(|old| {
            let changed = *old != destinations;
            *old = destinations;
            changed
        });
        shared.change_view(|view| {
            view.checked = checked;
            view.unhealthy = unhealthy;
        });
        block_in_place(|| sockets::follow_up(&shared));
    }

    /// Puts the network and the interfaces where others see them.
    pub fn show_network(&self) {
        let network = Arc::new(self.network.clone());
        let interfaces = self.interfaces.shown(&network);
        let mut plan = self.interfaces.plan().clone();
        sockets::placed::add_armed(&mut plan, &self.shared);
        let plan = Arc::new(plan);
        let nics = Arc::new(self.interfaces.nics());
        self.shared.change_view(|view| {
            view.nics = nics;
            view.network = network;
            view.interfaces = interfaces;
            view.plan = plan;
        });
    }

    fn kernel_refused(&self, error: &anyhow::Error) {
        self.shared
            .events
            .tell(Kind::KernelRefused, format!("{error:#}"));
    }
}
