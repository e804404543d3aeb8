//! Counters, summed over the CPUs.

use std::os::fd::AsFd as _;

use libbpf_rs::{MapCore as _, MapFlags};

use super::Maps;
use crate::consts::{HOOK_MAX, HOOK_SOCKET, REASON_MAX, SOCKET_REASONS, SOCKET_REASONS_FIRST};
use crate::hash::reason_index;
use crate::{Error, Plain, Reason, sys, types};

/// Entries of a per-CPU array that are read at once.
const CHUNK: usize = 4096;

/// How often one reason was counted for one interface and hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasonCount {
    /// Slot of the interface in `ifaces`; 0 = none of the configured ones.
    pub slot: u32,
    /// `HOOK_XDP`, ..., `HOOK_SOCKET`.
    pub hook: u32,
    /// Why.
    pub reason: Reason,
    /// Packets.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
}

impl Maps {
    /// All counters that are not zero, of the configured interfaces and of slot 0.
    pub fn reasons(&self) -> Result<Vec<ReasonCount>, Error> {
        let mut counts = self.reasons_of(0)?;
        for (slot, _) in self.ifaces()? {
            counts.extend(self.reasons_of(slot)?);
        }
        counts.extend(self.socket_reasons()?);
        Ok(counts)
    }

    /// The counters of the socket tier that are not zero; they count calls.
    pub fn socket_reasons(&self) -> Result<Vec<ReasonCount>, Error> {
        let stats: Vec<types::reason_stats> =
            self.sums("socket_reasons", 0, SOCKET_REASONS as usize, add_reason)?;
        let counts = (SOCKET_REASONS_FIRST..).zip(stats);
        Ok(counts
            .filter(|(_, stats)| stats.packets != 0)
            .filter_map(|(number, stats)| {
                Some(ReasonCount {
                    slot: 0,
                    hook: HOOK_SOCKET,
                    reason: Reason::from_number(number)?,
                    packets: stats.packets,
                    bytes: stats.bytes,
                })
            })
            .collect())
    }

    /// The counters of one slot that are not zero.
    pub fn reasons_of(&self, slot: u32) -> Result<Vec<ReasonCount>, Error> {
        let first = reason_index(slot, 0, 0);
        let stats: Vec<types::reason_stats> = self.sums(
            "reasons",
            first,
            (HOOK_MAX * REASON_MAX) as usize,
            add_reason,
        )?;
        let counts = (0..).zip(&stats).filter(|(_, stats)| stats.packets != 0);
        Ok(counts
            .filter_map(|(index, stats)| {
                let reason = Reason::from_number(index % REASON_MAX)?;
                let (packets, bytes) = (stats.packets, stats.bytes);
                Some(ReasonCount {
                    slot,
                    hook: index / REASON_MAX,
                    reason,
                    packets,
                    bytes,
                })
            })
            .collect())
    }

    /// The counters of all backends that have any, by backend index.
    pub fn backend_stats(&self) -> Result<Vec<(u32, types::backend_stats)>, Error> {
        let mut found = Vec::new();
        for first in (0..self.limits.backends).step_by(CHUNK) {
            let n = CHUNK.min((self.limits.backends - first) as usize);
            let stats: Vec<types::backend_stats> =
                self.sums("backend_stats", first, n, add_backend)?;
            let used = (first..)
                .zip(stats)
                .filter(|(_, stats)| stats.packets != [0, 0] || stats.connections != 0);
            found.extend(used);
        }
        Ok(found)
    }

    /// Sets the counters of a backend index to zero, before a new backend gets it.
    pub fn reset_backend_stats(&self, index: u32) -> Result<(), Error> {
        self.reset::<types::backend_stats>("backend_stats", index)
    }

    pub(super) fn reset_reasons(&self, slot: u32) -> Result<(), Error> {
        for count in self.reasons_of(slot)? {
            let index = reason_index(slot, count.hook, count.reason.number());
            self.reset::<types::reason_stats>("reasons", index)?;
        }
        Ok(())
    }

    fn reset<T: Plain>(&self, table: &'static str, index: u32) -> Result<(), Error> {
        let cpus = sys::possible_cpus().map_err(|source| Error::Write { table, source })?;
        let zeroes = vec![vec![0; size_of::<T>()]; cpus];
        self.map(table)
            .update_percpu(&index.to_ne_bytes(), &zeroes, MapFlags::ANY)
            .map_err(|error| Error::Write {
                table,
                source: crate::error::io(error),
            })
    }

    fn sums<T: Plain>(
        &self,
        table: &'static str,
        first: u32,
        n_entries: usize,
        add: fn(&mut T, &T),
    ) -> Result<Vec<T>, Error> {
        let size = size_of::<T>();
        let stride = size.next_multiple_of(8);
        let cpus = sys::possible_cpus().map_err(|source| Error::Read { table, source })?;
        let bytes = sys::lookup_percpu_batch(self.map(table).as_fd(), first, size, n_entries)
            .map_err(|source| Error::Read { table, source })?;
        let entries = bytes.chunks_exact(stride * cpus).map(|entry| {
            let mut sum = T::default();
            for value in entry.chunks_exact(stride) {
                add(
                    &mut sum,
                    &T::from_bytes(&value[..size]).expect("the size is that of T"),
                );
            }
            sum
        });
        Ok(entries.collect())
    }
}

fn add_reason(sum: &mut types::reason_stats, value: &types::reason_stats) {
    sum.packets += value.packets;
    sum.bytes += value.bytes;
}

fn add_backend(sum: &mut types::backend_stats, value: &types::backend_stats) {
    for direction in 0..2 {
        sum.packets[direction] += value.packets[direction];
        sum.bytes[direction] += value.bytes[direction];
    }
    sum.connections += value.connections;
}
