//! Counters of all messages of joined sockets, by the reason of their way.

use libbpf_rs::{MapCore as _, MapFlags, MapHandle};
use terrace_abi::{Plain, consts, types};

use super::Shortcut;
use super::settings::error;
use crate::Error;

/// Why a message went the way it went; the numbers are those of abi.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(u32);

include!(concat!(env!("OUT_DIR"), "/shortcut_reasons.rs"));

impl Reason {
    /// From socket to socket.
    pub const JOINED: Self = Self(consts::SHORTCUT_JOINED);

    /// By its number in abi.h; unknown ones are named so.
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// Every reason.
    pub fn all() -> impl Iterator<Item = Self> {
        REASONS.iter().map(|(number, ..)| Self(*number))
    }

    /// Its number in abi.h.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Its name: `in_flight`.
    pub fn name(self) -> &'static str {
        self.row().map_or("unknown", |row| row.1)
    }

    /// A sentence for people.
    pub fn text(self) -> &'static str {
        self.row()
            .map_or("a reason of another version", |row| row.2)
    }

    fn row(self) -> Option<&'static (u32, &'static str, &'static str)> {
        REASONS.iter().find(|row| row.0 == self.0)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Messages that went one way for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasonCount {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub messages: u64,
    /// Their payload.
    pub bytes: u64,
}

/// Sums over all connections since the tables were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// By reason; those that are zero are left out.
    pub reasons: Vec<ReasonCount>,
    /// Connections whose both ends were found.
    pub paired: u64,
    /// Connections that have ended.
    pub closed: u64,
    /// Connections that a policy change gave back to the stack.
    pub split: u64,
    /// Socket options refused to sockets in the table.
    pub refused: u64,
    /// Connections that found no room in the tables.
    pub full: u64,
}

impl Counters {
    /// What went from socket to socket.
    pub fn joined(&self) -> ReasonCount {
        self.of(Reason::JOINED)
    }

    /// The count of one reason.
    pub fn of(&self, reason: Reason) -> ReasonCount {
        let found = self.reasons.iter().find(|count| count.reason == reason);
        found.copied().unwrap_or(ReasonCount {
            reason,
            messages: 0,
            bytes: 0,
        })
    }
}

impl Shortcut {
    /// All counters.
    pub fn counters(&self) -> Result<Counters, Error> {
        let mut counters = Counters::default();
        for reason in Reason::all() {
            let sum = sum_stats(&self.maps.stats, reason.number())?;
            if sum.messages > 0 {
                counters.reasons.push(ReasonCount {
                    reason,
                    messages: sum.messages,
                    bytes: sum.bytes,
                });
            }
        }
        let event = |number| -> Result<u64, Error> {
            let values = per_cpu::<u64>(&self.maps.events, "shortcut_events", number)?;
            Ok(values.iter().sum())
        };
        counters.paired = event(consts::SHORTCUT_EVENT_PAIRED)?;
        counters.closed = event(consts::SHORTCUT_EVENT_CLOSED)?;
        counters.split = event(consts::SHORTCUT_EVENT_SPLIT)?;
        counters.refused = event(consts::SHORTCUT_EVENT_REFUSED)?;
        counters.full = event(consts::SHORTCUT_EVENT_FULL)?;
        Ok(counters)
    }
}

/// Sum over all CPUs of one reason's counters.
pub(super) fn sum_stats(map: &MapHandle, index: u32) -> Result<types::shortcut_stats, Error> {
    let values = per_cpu::<types::shortcut_stats>(map, "shortcut_stats", index)?;
    let mut sum = types::shortcut_stats::default();
    for value in values {
        sum.messages += value.messages;
        sum.bytes += value.bytes;
    }
    Ok(sum)
}

fn per_cpu<T: Plain>(map: &MapHandle, name: &'static str, index: u32) -> Result<Vec<T>, Error> {
    let found = map
        .lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
        .map_err(error("read", name))?;
    let values = found.unwrap_or_default();
    Ok(values
        .iter()
        .filter_map(|bytes| T::from_bytes(bytes))
        .collect())
}
