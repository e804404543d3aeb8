//! What a worker counts; it alone writes, anybody reads.

use std::sync::atomic::{AtomicU64, Ordering};

use terrace_l7::flow::Counts;

/// Totals of one worker since the start of the daemon, and what it has now.
#[derive(Debug, Default)]
pub struct Stats {
    pub packets: Count,
    pub copies: Count,
    pub sent: Count,
    /// Packets for which there was no frame.
    pub dropped: Count,
    /// Packets that the kernel had no frame for: the worker was too slow.
    pub overruns: Count,
    /// System calls that told the kernel of packets.
    pub kicks: Count,
    /// System calls that waited for packets.
    pub waits: Count,
    pub handed_over: Count,
    /// Packets of other workers, lost because their mailbox was full.
    pub not_handed: Count,
    pub panics: Count,
    pub requests: Count,
    /// Requests that passed in the kernel.
    pub passed: Count,
    pub resets: Count,
    /// Requests that were answered because no source port was free.
    pub no_ports: Count,
    pub flows: Count,
    pub buffers: Count,
    /// What the engine counts: `flow::Counts`.
    pub challenges: Count,
    pub strays: Count,
    pub cookies: Count,
    pub full: Count,
    pub unheld: Count,
    pub half_open: Count,
    /// Splices of an earlier worker, which live on without one.
    pub orphans: Count,
}

impl Stats {
    /// What the engine did because of strangers and limits.
    pub fn guarded(&self, counts: &Counts) {
        self.challenges.set(counts.challenges);
        self.strays.set(counts.strays);
        self.cookies.set(counts.cookies);
        self.full.set(counts.full);
        self.unheld.set(counts.unheld);
    }
}

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn add(&self, n: u64) {
        self.set(self.get() + n);
    }
}
