//! Start and stop, in the order of DESIGN section 9.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use sd_notify::NotifyState;
use terrace_abi::Maps;
use terrace_mesh::{Compiler, Tables};
use terrace_offload::probe::Survey;
use terrace_offload::{Demand, Machine, Plan, Policy, Profiles, Wishes};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::change::{Changer, Done, Faults, Refused, Sources as Files, errors_of, read_sources};
use super::daemon::{Daemon, Sinks, Sources};
use super::events::Kind;
use super::hooks::Hooks;
use super::host::{set_kernel_config, tend_sysctls};
use super::interfaces::{Host, Interfaces, disarm_unwanted};
use super::neighbours::{self, Destinations};
use super::placement::Served;
use super::report::report;
use super::shared::{Command, Mesh, Shared, View};
use super::signals::Signals;
use super::watch::{FolderWatch, Stamps};
use super::{
    carrier, facts, hardware, l7, news, only, placement, pulse, ring, shortcut, sockets, withheld,
};
use crate::api::{self, Phase, Role};
use crate::config::Config;
use crate::health::{Checker, Known, Thresholds};
use crate::netlink::{Changes, Effects, Link, Netlink, Network};
use crate::{apply, capabilities, control, lifecycle, metrics};

/// The control socket, compiling, and one for what blocks.
const WORKERS: usize = 2;

/// Runs the daemon until SIGTERM or SIGINT; forwarding goes on after it.
///
/// # Errors
/// Why it could not start; then nothing is attached that was not before.
pub fn run(config: Config) -> Result<()> {
    runtime()?.block_on(serve(config))
}

/// What a plan of this host is made from.
#[derive(Debug)]
pub struct Planning {
    pub survey: Survey,
    pub profiles: Profiles,
    pub demands: Vec<Demand>,
    pub wishes: Wishes,
    pub policy: Policy,
}

impl Planning {
    /// Looks at this host; attaches nothing.
    ///
    /// # Errors
    /// The network or the profiles of an operator can't be read.
    pub fn of_host(config: &Config) -> Result<Self> {
        let profiles = profiles()?;
        let network = runtime()?.block_on(async {
            let (netlink, _changes) = Netlink::open()?;
            netlink.network().await
        })?;
        let wanted = facts::wanted(config, &network);
        Ok(Self::of(config, &network, &wanted, profiles))
    }

    fn of(
        config: &Config,
        network: &Network,
        wanted: &BTreeMap<u32, (Link, Role)>,
        profiles: Profiles,
    ) -> Self {
        let none = placement::Refused::new();
        let mut planning = Self {
            survey: placement::survey(network, wanted.values()),
            profiles,
            demands: placement::demands(wanted.values(), &none, |_| Served::default()),
            wishes: placement::wishes(&config.interfaces, wanted.values()),
            policy: Policy::of_daemon(config.moves.disruption),
        };
        let nic = |demand: &Demand| {
            let (machine, offload) = (planning.machine(), &config.offload);
            hardware::untried(machine, offload, &planning.wishes, &demand.iface)
        };
        let nics: Vec<_> = planning.demands.iter().map(nic).collect();
        for (demand, nic) in planning.demands.iter_mut().zip(nics) {
            demand.nic = nic;
        }
        planning
    }

    pub fn machine(&self) -> Machine<'_> {
        Machine {
            host: &self.survey.host,
            interfaces: &self.survey.interfaces,
            profiles: &self.profiles,
        }
    }

    /// Where each task would run.
    pub fn plan(&self) -> Plan {
        terrace_offload::plan(self.machine(), &self.demands, &self.wishes, self.policy)
    }
}

/// What Terrace ships, with the operator's files over it.
pub fn profiles() -> Result<Profiles> {
    let folder = Path::new(terrace_nic_profiles::USER_FOLDER);
    Profiles::load(folder).map_err(|faults| {
        let lines = faults.0.iter().map(ToString::to_string).collect();
        Refused::profiles(lines)
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("terrace")
        .enable_all()
        .build()
        .context("start the runtime")
}

async fn serve(config: Config) -> Result<()> {
    capabilities::check()?;
    let signals = Signals::listen()?;
    let claim = only::claim()?;
    let listener = control::Listener::bind(&config.control_socket)?;
    let scrapes = match config.metrics_listen {
        Some(address) => Some(metrics::bind(address).await?),
        None => None,
    };
    let (netlink, changes) = Netlink::open()?;
    let network = netlink.network().await?;
    let fresh = !is_pinned(&config.pin_root);
    let start = Start::new(config, network)?;
    let config = start.config.clone();
    let armed = tokio::task::block_in_place(|| start.arm());
    let armed = match armed {
        Ok(armed) => armed,
        Err(error) if fresh => return Err(clean_up(&config, error)),
        Err(error) => return Err(error),
    };
    let shared = armed.shared.clone();
    let mut tasks = JoinSet::new();
    if let Some(claim) = claim {
        tasks.spawn(only::answer(claim));
    }
    tasks.spawn(control::serve(listener, shared.clone()));
    if let Some(scrapes) = scrapes {
        tasks.spawn(metrics::serve(scrapes, shared.clone()));
    }
    armed.run(signals, netlink, changes, tasks).await
}

/// A start that fails leaves nothing behind.
fn clean_up(config: &Config, error: anyhow::Error) -> anyhow::Error {
    match lifecycle::remove(&config.pin_root, &config.control_socket) {
        Ok(_) => error,
        Err(also) => error.context(format!("and cleaning up failed: {also:#}")),
    }
}

fn is_pinned(root: &Path) -> bool {
    root.join("maps").join("config").exists()
}

/// What a start needs before anything on the host changes.
struct Start {
    config: Config,
    network: Network,
    profiles: Profiles,
    stamps: Stamps,
    folder: FolderWatch,
    files: Result<Files, Faults>,
    taken_over: bool,
}

impl Start {
    fn new(config: Config, network: Network) -> Result<Self> {
        let profiles = profiles()?;
        refuse_impossible(&config, &network, &profiles)?;
        let folder = FolderWatch::start(&config.manifests, &config.deny_lists);
        let stamps = Stamps::take(&config.manifests, &config.deny_lists);
        let files = read_sources(&config);
        let taken_over = is_pinned(&config.pin_root);
        if let (Err(faults), false) = (&files, taken_over) {
            return Err(Refused::manifests(faults.clone()));
        }
        Ok(Self {
            config,
            network,
            profiles,
            stamps,
            folder,
            files,
            taken_over,
        })
    }

    /// Tables, then programs, then interfaces.
    fn arm(self) -> Result<Armed> {
        let maps = Maps::open(&self.config.pin_root, &self.config.limits)?;
        let held = apply::recover(&maps).context("read the tables")?;
        let health = Known::inherited(withheld(&held));
        let compiled = self.compile(&maps, &held, &health);
        let (mesh, refused, deny) = match compiled {
            Ok((compiler, deny)) => (Mesh::Compiled(Box::new(compiler)), None, deny),
            Err(faults) if self.taken_over => (
                Mesh::Recovered(Box::new(held.clone())),
                Some(faults),
                Arc::default(),
            ),
            Err(faults) => return Err(Refused::manifests(faults)),
        };
        let view = first_view(&self.network);
        let (shared, commands) = Shared::new(self.config, maps, mesh, self.taken_over, view);
        let shared = Arc::new(shared);
        // Loading the programs takes longer than they wait for a heartbeat.
        let pulse = tokio::spawn(pulse::beat(shared.clone())).abort_handle();
        let mut changer = Changer::new(self.stamps, deny, &held);
        let done = match refused {
            Some(faults) => Err(faults),
            None => Ok(changer.start(&shared, &held)?),
        };
        set_kernel_config(&shared, &self.network)?;
        changer.see_closed(&shared);
        let interfaces = arm_interfaces(&shared, &self.network, self.profiles, &changer)?;
        l7::tend(&shared, &self.network, interfaces.hooks());
        shortcut::arm(&shared)?;
        sockets::arm(&shared)?;
        tell(&shared, &changer, &done);
        Ok(Armed {
            shared,
            pulse: Pulse(pulse),
            network: self.network,
            folder: self.folder,
            interfaces,
            changer,
            health,
            commands,
        })
    }

    fn compile(
        &self,
        maps: &Maps,
        held: &Tables,
        health: &Known,
    ) -> Result<(Compiler, Arc<[ipnet::IpNet]>), Faults> {
        let files = self.files.as_ref().map_err(Clone::clone)?;
        let facts = facts::host_facts(
            &self.config,
            &self.network,
            maps.limits(),
            &files.deny,
            health.unhealthy().into_keys(),
        );
        let compiler = Compiler::new(files.manifests.clone(), facts, Some(held))
            .map_err(|errors| errors_of(&errors))?;
        Ok((compiler, Arc::clone(&files.deny)))
    }
}

/// A plan that can't be met fails the start before anything is touched.
fn refuse_impossible(config: &Config, network: &Network, profiles: &Profiles) -> Result<()> {
    let wanted = facts::wanted(config, network);
    let planning = Planning::of(config, network, &wanted, profiles.clone());
    placement::met(planning.plan())
        .map(|_| ())
        .map_err(Refused::plan)
}

fn arm_interfaces(
    shared: &Shared,
    network: &Network,
    profiles: Profiles,
    changer: &Changer,
) -> Result<Interfaces> {
    let host = Host::of(shared, network, changer);
    let mut interfaces = Interfaces::new(Hooks::load(&shared.maps)?, &shared.config, profiles);
    // A program that never heard of a daemon would fail open or closed.
    shared.maps.beat().context("the first heartbeat")?;
    shared.note_beat();
    interfaces.install_xdp(&shared.maps)?;
    disarm_unwanted(host)?;
    interfaces.sync(host)?;
    tend_sysctls(shared, network, &interfaces);
    Ok(interfaces)
}

fn tell(shared: &Shared, changer: &Changer, done: &Result<Done, Faults>) {
    if shared.taken_over {
        let what = shared.config.pin_root.display().to_string();
        shared.events.tell(Kind::TakenOver, what);
    }
    let view = shared.view();
    for rule in &shared.config.interfaces {
        let mut links = view.network.links.values();
        if !links.any(|link| rule.matcher.is_match(&link.name)) {
            let what = format!("no interface matches {:?} yet", rule.pattern);
            shared.events.tell(Kind::InterfaceMissing, what);
        }
    }
    report(shared, changer.files(), changer.deny().len(), done);
}

fn first_view(network: &Network) -> View {
    View {
        phase: Phase::Starting,
        network: Arc::new(network.clone()),
        interfaces: Vec::new(),
        plan: Arc::default(),
        manifests: api::Manifests::default(),
        unhealthy: Arc::default(),
        checked: 0,
        nics: Arc::default(),
        readings: Arc::default(),
    }
}

/// The heartbeat; it ends with its owner.
struct Pulse(AbortHandle);

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serving packets already; the daemon's own life begins.
struct Armed {
    shared: Arc<Shared>,
    pulse: Pulse,
    network: Network,
    folder: FolderWatch,
    interfaces: Interfaces,
    changer: Changer,
    health: Known,
    commands: mpsc::Receiver<Command>,
}

impl Armed {
    async fn run(
        self,
        signals: Signals,
        netlink: Netlink,
        network: Changes,
        mut tasks: JoinSet<Result<()>>,
    ) -> Result<()> {
        let shared = self.shared;
        let (checker, verdicts) = Checker::new(thresholds(&shared.config));
        let (destinations, wanted) = watch::channel(Destinations::default());
        let (urgent, hops) = mpsc::channel(1024);
        tasks.spawn(l7::watch(shared.clone()));
        let keep = neighbours::keep(shared.clone(), netlink.clone(), wanted, hops);
        let helpers = [
            spawn(&mut tasks, pulse::sweep(shared.clone())),
            spawn(&mut tasks, ping(shared.clone())),
            spawn(&mut tasks, keep),
        ];
        let from = Sources {
            signals,
            network,
            folder: self.folder,
            verdicts,
            commands: self.commands,
            news: news::follow(),
            ring: ring::read(&shared)?,
        };
        let mut daemon = Daemon {
            shared: shared.clone(),
            netlink,
            network: self.network,
            interfaces: self.interfaces,
            changer: self.changer,
            sinks: Sinks {
                checker,
                destinations,
                urgent,
            },
            health: self.health,
            refused_facts: Vec::new(),
            pending: Effects::default(),
            act_at: None,
            follow_up_at: None,
            routes_rev: 0,
        };
        daemon.follow_up();
        daemon.show_network();
        let (netlink, before) = (&daemon.netlink, &daemon.network);
        carrier::await_back(netlink, before, &daemon.interfaces, &shared.events).await;
        ready(&shared);
        let ended = tokio::select! {
            ended = daemon.run(from) => ended,
            failed = failure(&mut tasks) => Err(failed),
        };
        stopping(&shared);
        tokio::task::block_in_place(|| daemon.leave_nics());
        helpers.iter().for_each(AbortHandle::abort);
        drop(self.pulse);
        ended
    }
}

fn thresholds(config: &Config) -> Thresholds {
    Thresholds {
        rise: config.health.healthy_after,
        fall: config.health.unhealthy_after,
    }
}

fn spawn(
    tasks: &mut JoinSet<Result<()>>,
    work: impl Future<Output = ()> + Send + 'static,
) -> AbortHandle {
    tasks.spawn(async move {
        work.await;
        Ok(())
    })
}

/// The first task that fails; the others never end by themselves.
async fn failure(tasks: &mut JoinSet<Result<()>>) -> anyhow::Error {
    loop {
        match tasks.join_next().await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => return error,
            Some(Err(panicked)) => return anyhow!("a task of the daemon died: {panicked}"),
            None => std::future::pending().await,
        }
    }
}

fn ready(shared: &Shared) {
    shared.change_view(|view| view.phase = Phase::Ready);
    let view = shared.view();
    let status = format!(
        "{} interfaces, {} services, {} backends",
        view.interfaces.len(),
        view.manifests.services,
        view.manifests.backends
    );
    tracing::info!("ready: {status}");
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

fn stopping(shared: &Shared) {
    shared.change_view(|view| view.phase = Phase::Stopping);
    tracing::info!("stopping; forwarding goes on");
    notify(&[NotifyState::Stopping]);
}

/// Answers systemd's watchdog for as long as the main loop comes round.
async fn ping(shared: Arc<Shared>) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut ticks = interval((limit / 3).max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if shared.alive() {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Without systemd there is nobody to tell.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("sd_notify: {error}");
    }
}
