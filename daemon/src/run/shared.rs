//! What the main loop, the control socket and the metrics share.
//!
//! The main loop alone changes things; the others look at its latest [`View`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use terrace_abi::Maps;
use terrace_mesh::directory::Directory;
use terrace_mesh::{Compiler, Tables};
use terrace_offload::plan::SocketState;
use tokio::sync::{mpsc, oneshot};

use super::events::{Events, unix_ms};
use super::interfaces::uplinks::Reading;
use super::pulse::Census;
use super::sockets::Sockets;
use crate::api;
use crate::config::Config;
use crate::netlink::Network;

/// Compiling a very large mesh may take the main loop this long; beyond it the
/// daemon counts as hung: the heartbeat and the watchdog's pings stop.
const HUNG: Duration = Duration::from_secs(60);

/// Something that the main loop is asked to do.
#[derive(Debug)]
pub enum Command {
    Reload(oneshot::Sender<Result<api::Reload, api::Error>>),
    Move(
        api::MoveRequest,
        oneshot::Sender<Result<api::Moved, api::Error>>,
    ),
}

/// The state after the latest change; never changed, only replaced.
#[derive(Debug, Clone)]
pub struct View {
    pub phase: api::Phase,
    pub network: Arc<Network>,
    pub interfaces: Vec<api::Interface>,
    pub plan: Arc<api::Plan>,
    pub manifests: api::Manifests,
    /// Why each backend that fails its health check fails it.
    pub unhealthy: Arc<BTreeMap<SocketAddr, String>>,
    /// Backends that are checked.
    pub checked: usize,
    /// What NICs hold and have dropped, as of the latest look.
    pub nics: Arc<Vec<api::NicFront>>,
    /// How what is for workers comes from each uplink.
    pub readings: Arc<Vec<Reading>>,
}

/// What the tables are made from.
#[derive(Debug)]
pub enum Mesh {
    /// Of an earlier daemon, while the manifests are refused: without names.
    Recovered(Box<Tables>),
    Compiled(Box<Compiler>),
}

impl Mesh {
    pub fn tables(&self) -> &Tables {
        match self {
            Self::Recovered(tables) => tables,
            Self::Compiled(compiler) => compiler.tables(),
        }
    }

    pub fn directory(&self) -> &Directory {
        &self.tables().directory
    }
}

/// Totals since the start of the daemon.
#[derive(Debug, Default)]
pub struct Totals {
    pub applies: AtomicU64,
    pub refusals: AtomicU64,
    pub changes: AtomicU64,
    pub last_compile_us: AtomicU64,
    pub last_apply_us: AtomicU64,
    pub apply_us: AtomicU64,
    pub unresolved: AtomicU64,
}

#[derive(Debug)]
pub struct Shared {
    pub config: Config,
    pub maps: Maps,
    /// Locked for writing by the main loop while it compiles and applies.
    mesh: RwLock<Mesh>,
    /// What the workers enforce.
    pub l7: Arc<crate::l7::rules::Published>,
    /// What the workers told of requests.
    pub requests: crate::l7::requests::History,
    pub tier: super::l7::Running,
    pub events: Events,
    /// Set once, when the interfaces are armed.
    pub shortcut: OnceLock<super::shortcut::State>,
    pub sockets: OnceLock<Sockets>,
    /// What became of the socket tier at this start, where it was asked for.
    pub socket_state: OnceLock<SocketState>,
    pub totals: Totals,
    pub started_unix_ms: u64,
    /// The tables of an earlier daemon were found.
    pub taken_over: bool,
    commands: mpsc::Sender<Command>,
    view: RwLock<Arc<View>>,
    census: Mutex<Census>,
    started: Instant,
    /// Milliseconds after `started`.
    progress: AtomicU64,
    beaten: AtomicU64,
}

impl Shared {
    pub fn new(
        config: Config,
        maps: Maps,
        mesh: Mesh,
        taken_over: bool,
        view: View,
    ) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(16);
        let shared = Self {
            config,
            maps,
            mesh: RwLock::new(mesh),
            taken_over,
            commands,
            l7: Arc::default(),
            requests: Default::default(),
            tier: super::l7::Running::default(),
            events: Events::default(),
            shortcut: OnceLock::new(),
            sockets: OnceLock::new(),
            socket_state: OnceLock::new(),
            totals: Totals::default(),
            started_unix_ms: unix_ms(),
            view: RwLock::new(Arc::new(view)),
            census: Mutex::default(),
            started: Instant::now(),
            progress: AtomicU64::new(0),
            beaten: AtomicU64::new(0),
        };
        (shared, receiver)
    }

    pub fn view(&self) -> Arc<View> {
        self.view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Holds the main loop up while it is held: read, and let go.
    pub fn mesh(&self) -> RwLockReadGuard<'_, Mesh> {
        self.mesh.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only the main loop does.
    pub fn mesh_mut(&self) -> RwLockWriteGuard<'_, Mesh> {
        self.mesh.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only the main loop does.
    pub fn change_view(&self, change: impl FnOnce(&mut View)) {
        let mut view = (*self.view()).clone();
        change(&mut view);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// Asks the main loop; None when it is gone.
    pub async fn reload(&self) -> Option<Result<api::Reload, api::Error>> {
        let (send, answer) = oneshot::channel();
        self.commands.send(Command::Reload(send)).await.ok()?;
        answer.await.ok()
    }

    /// Asks the main loop; None when it is gone.
    pub async fn move_task(
        &self,
        request: api::MoveRequest,
    ) -> Option<Result<api::Moved, api::Error>> {
        let (send, answer) = oneshot::channel();
        let command = Command::Move(request, send);
        self.commands.send(command).await.ok()?;
        answer.await.ok()
    }

    /// The main loop has come round.
    pub fn note_progress(&self) {
        self.progress.store(self.uptime_ms(), Ordering::Relaxed);
    }

    pub fn alive(&self) -> bool {
        let silent = self
            .uptime_ms()
            .saturating_sub(self.progress.load(Ordering::Relaxed));
        u128::from(silent) < HUNG.as_millis()
    }

    pub fn note_beat(&self) {
        self.beaten.store(self.uptime_ms(), Ordering::Relaxed);
    }

    pub fn heartbeat_age_ms(&self) -> u64 {
        self.uptime_ms()
            .saturating_sub(self.beaten.load(Ordering::Relaxed))
    }

    pub fn note_census(&self, census: Census) {
        *self.census.lock().unwrap_or_else(PoisonError::into_inner) = census;
    }

    pub fn census(&self) -> Census {
        *self.census.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note_unresolved(&self) {
        self.totals.unresolved.fetch_add(1, Ordering::Relaxed);
    }

    pub fn uptime_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}
