//! What an operator should know of: a ring in memory, counted by kind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::api;

/// Kept for `terrace status`; older ones live on in the counters only.
const KEPT: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// The stable names of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A task runs on a lower tier than the best.
    TierFallback,
    /// XDP of a served interface moved to another tier.
    TierMoved,
    /// An interface moved too often and stays on the lower tier for a time.
    TierFlapping,
    /// An operator moved a task.
    OperatorMoved,
    /// The tables of an earlier daemon were found and kept.
    TakenOver,
    /// The manifests or deny lists were refused; the old state serves.
    ManifestsRefused,
    ManifestsApplied,
    /// An interface of the configuration came, went or could not be armed.
    InterfaceArmed,
    InterfaceGone,
    InterfaceFailed,
    /// A rule of the configuration matches no interface yet.
    InterfaceMissing,
    NoNeighbour,
    FlowsFull,
    SnatPortsFull,
    BackendUnhealthy,
    BackendHealthy,
    /// A sysctl that the stack's paths need has another value.
    Sysctl,
    /// A request to the kernel failed; it is tried again.
    KernelRefused,
    /// The same-host shortcut is armed, refused by the self-test, switched live.
    ShortcutArmed,
    ShortcutRefused,
    ShortcutSwitched,
    /// The socket tier is armed, or what it was asked for is not to be had.
    SocketArmed,
    SocketFallback,
    /// A workload's proxy can't be served as its manifest says.
    SocketWorkload,
    /// Sockets were closed, for their backend is gone.
    SocketsClosed,
    /// The table of connected sockets had no room.
    SocketsFull,
    /// The workers of the L7 tier run, can't, or are silent.
    L7Started,
    L7Failed,
    L7Stalled,
    /// Packets for workers were lost.
    L7Overrun,
    /// A NIC drops a part of the deny list by itself, or does so no more.
    NicHolds,
    NicLost,
}

impl Kind {
    pub const ALL: [Kind; 32] = [
        Kind::TierFallback,
        Kind::TierMoved,
        Kind::TierFlapping,
        Kind::OperatorMoved,
        Kind::TakenOver,
        Kind::ManifestsRefused,
        Kind::ManifestsApplied,
        Kind::InterfaceArmed,
        Kind::InterfaceGone,
        Kind::InterfaceFailed,
        Kind::InterfaceMissing,
        Kind::NoNeighbour,
        Kind::FlowsFull,
        Kind::SnatPortsFull,
        Kind::BackendUnhealthy,
        Kind::BackendHealthy,
        Kind::Sysctl,
        Kind::KernelRefused,
        Kind::ShortcutArmed,
        Kind::ShortcutRefused,
        Kind::ShortcutSwitched,
        Kind::SocketArmed,
        Kind::SocketFallback,
        Kind::SocketWorkload,
        Kind::SocketsClosed,
        Kind::SocketsFull,
        Kind::L7Started,
        Kind::L7Failed,
        Kind::L7Stalled,
        Kind::L7Overrun,
        Kind::NicHolds,
        Kind::NicLost,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::TierFallback => "tier-fallback",
            Kind::TierMoved => "tier-moved",
            Kind::TierFlapping => "tier-flapping",
            Kind::OperatorMoved => "operator-moved",
            Kind::TakenOver => "taken-over",
            Kind::ManifestsRefused => "manifests-refused",
            Kind::ManifestsApplied => "manifests-applied",
            Kind::InterfaceArmed => "interface-armed",
            Kind::InterfaceGone => "interface-gone",
            Kind::InterfaceFailed => "interface-failed",
            Kind::InterfaceMissing => "interface-missing",
            Kind::NoNeighbour => "no-neighbour",
            Kind::FlowsFull => "flows-full",
            Kind::SnatPortsFull => "snat-ports-full",
            Kind::BackendUnhealthy => "backend-unhealthy",
            Kind::BackendHealthy => "backend-healthy",
            Kind::Sysctl => "sysctl",
            Kind::KernelRefused => "kernel-refused",
            Kind::ShortcutArmed => "shortcut-armed",
            Kind::ShortcutRefused => "shortcut-refused",
            Kind::ShortcutSwitched => "shortcut-switched",
            Kind::SocketArmed => "socket-armed",
            Kind::SocketFallback => "socket-fallback",
            Kind::SocketWorkload => "socket-workload",
            Kind::SocketsClosed => "sockets-closed",
            Kind::SocketsFull => "sockets-full",
            Kind::L7Started => "l7-started",
            Kind::L7Failed => "l7-failed",
            Kind::L7Stalled => "l7-stalled",
            Kind::L7Overrun => "l7-overrun",
            Kind::NicHolds => "nic-holds",
            Kind::NicLost => "nic-lost",
        }
    }

    pub fn severity(self) -> Severity {
        match self {
            Kind::TierMoved
            | Kind::OperatorMoved
            | Kind::TakenOver
            | Kind::ManifestsApplied
            | Kind::InterfaceArmed
            | Kind::ShortcutArmed
            | Kind::ShortcutSwitched
            | Kind::SocketArmed
            | Kind::SocketsClosed
            | Kind::L7Started
            | Kind::NicHolds
            | Kind::BackendHealthy => Severity::Info,
            Kind::ManifestsRefused | Kind::InterfaceFailed | Kind::L7Failed | Kind::L7Stalled => {
                Severity::Error
            }
            _ => Severity::Warning,
        }
    }
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// Shared by everything that has something to tell.
#[derive(Debug, Default)]
pub struct Events {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Newest first.
    latest: VecDeque<api::Event>,
    counts: BTreeMap<Kind, u64>,
}

impl Events {
    /// Counts, logs, and keeps the event. One that repeats the latest of its
    /// kind, message for message, is counted there and not logged again.
    pub fn tell(&self, kind: Kind, message: impl Into<String>) {
        let message = message.into();
        let mut ring = self.lock();
        *ring.counts.entry(kind).or_default() += 1;
        let same = ring
            .latest
            .iter()
            .position(|event| event.kind == kind.name() && event.message == message);
        let count = match same.and_then(|at| ring.latest.remove(at)) {
            Some(earlier) => earlier.count + 1,
            None => {
                log(kind, &message);
                1
            }
        };
        ring.latest.push_front(api::Event {
            unix_ms: unix_ms(),
            severity: kind.severity().name().to_owned(),
            kind: kind.name().to_owned(),
            message,
            count,
        });
        ring.latest.truncate(KEPT);
    }

    /// Newest first.
    pub fn latest(&self) -> Vec<api::Event> {
        self.lock().latest.iter().cloned().collect()
    }

    /// How often each kind happened since the start; every kind is there.
    pub fn counts(&self) -> Vec<(Kind, u64)> {
        let ring = self.lock();
        Kind::ALL
            .iter()
            .map(|kind| (*kind, ring.counts.get(kind).copied().unwrap_or(0)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

fn log(kind: Kind, message: &str) {
    match kind.severity() {
        Severity::Info => tracing::info!(event = kind.name(), "{message}"),
        Severity::Warning => tracing::warn!(event = kind.name(), "{message}"),
        Severity::Error => tracing::error!(event = kind.name(), "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_event_is_one_line_with_a_count() {
        let events = Events::default();
        for message in ["a", "b", "a", "a"] {
            events.tell(Kind::NoNeighbour, message);
        }
        let latest: Vec<_> = events
            .latest()
            .into_iter()
            .map(|event| (event.message, event.count))
            .collect();
        assert_eq!(latest, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        let counts = events.counts();
        assert_eq!(counts.len(), Kind::ALL.len());
        assert!(counts.contains(&(Kind::NoNeighbour, 4)));
        assert!(counts.contains(&(Kind::FlowsFull, 0)));
    }

    #[test]
    fn the_ring_forgets_the_oldest_but_counts_it() {
        let events = Events::default();
        for n in 0..KEPT + 10 {
            events.tell(Kind::FlowsFull, n.to_string());
        }
        let latest = events.latest();
        assert_eq!(latest.len(), KEPT);
        assert_eq!(latest[0].message, (KEPT + 9).to_string());
        assert!(
            events
                .counts()
                .contains(&(Kind::FlowsFull, KEPT as u64 + 10))
        );
    }
}
