//! Totals by service, route and backend: a fixed number of them, so that no
//! traffic can make more. What finds no place is counted as one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use crate::l7::rules::Note;

/// Different services, routes and backends that a worker tells apart.
const MAX_METERS: usize = 1_024;

/// Upper edges of the histogram.
pub const BUCKETS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];
pub const N_BUCKETS: usize = BUCKETS_US.len() + 1;
/// No answer, then answers by the first digit of their status.
pub const N_OUTCOMES: usize = 6;

/// Index of the frontend, number of the route's rule, index of the backend;
/// all 0 = everything that found no place.
pub type MeterKey = [u32; 3];

/// One writer, any readers.
#[derive(Debug, Default)]
pub struct Meter {
    key: [AtomicU32; 3],
    /// Whose service and backend it counts.
    owners: [AtomicU32; 2],
    outcomes: [AtomicU64; N_OUTCOMES],
    buckets: [AtomicU64; N_BUCKETS],
    sum_us: AtomicU64,
    in_kernel: AtomicU64,
}

/// What a meter shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// As in [`Note::owners`].
    pub owners: [u32; 2],
    pub outcomes: [u64; N_OUTCOMES],
    /// Not cumulative.
    pub buckets: [u64; N_BUCKETS],
    pub sum_us: u64,
    /// Of whose answers nothing is known.
    pub in_kernel: u64,
}

#[derive(Debug)]
pub struct Meters {
    meters: Box<[Meter]>,
    used: AtomicU32,
    unrecorded: AtomicU64,
}

/// Which meter is whose; the worker's own.
#[derive(Debug)]
pub struct MeterIndex {
    known: FxHashMap<MeterKey, u32>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            meters: (0..MAX_METERS).map(|_| Meter::default()).collect(),
            used: AtomicU32::new(1),
            unrecorded: AtomicU64::new(0),
        }
    }
}

impl Default for MeterIndex {
    fn default() -> Self {
        Self {
            // Never grows.
            known: FxHashMap::with_capacity_and_hasher(MAX_METERS, Default::default()),
        }
    }
}

fn add(total: &AtomicU64, n: u64) {
    total.store(total.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

impl MeterIndex {
    pub fn of<'m>(&mut self, note: &Note, meters: &'m Meters) -> &'m Meter {
        let key = [note.service, note.route, note.backend];
        let place = match self.known.get(&key) {
            Some(place) => *place,
            None => self.new_place(key, meters),
        };
        let meter = &meters.meters[place as usize];
        if place != 0 {
            meter.belong_to(note.owners);
        }
        meter
    }

    fn new_place(&mut self, key: MeterKey, meters: &Meters) -> u32 {
        let place = meters.used.load(Ordering::Relaxed);
        let Some(meter) = meters.meters.get(place as usize) else {
            return 0;
        };
        for (cell, part) in meter.key.iter().zip(key) {
            cell.store(part, Ordering::Relaxed);
        }
        meters.used.store(place + 1, Ordering::Release);
        self.known.insert(key, place);
        place
    }
}

impl Meter {
    /// Another owner of the same indexes begins at 0.
    fn belong_to(&self, owners: [u32; 2]) {
        let held = self.owners.each_ref().map(|of| of.load(Ordering::Relaxed));
        if held == owners {
            return;
        }
        let counts = self.outcomes.iter().chain(&self.buckets);
        counts
            .chain([&self.sum_us, &self.in_kernel])
            .for_each(|count| count.store(0, Ordering::Relaxed));
        for (cell, owner) in self.owners.iter().zip(owners) {
            cell.store(owner, Ordering::Release);
        }
    }

    /// `status` 0 = there was no answer.
    pub fn note(&self, status: u16, duration_us: u64) {
        let outcome = usize::from(status / 100).min(N_OUTCOMES - 1);
        add(&self.outcomes[outcome], 1);
        let bucket = BUCKETS_US.partition_point(|edge| *edge < duration_us);
        add(&self.buckets[bucket], 1);
        add(&self.sum_us, duration_us);
    }

    /// Requests that passed in the kernel.
    pub fn passed(&self, requests: u32) {
        add(&self.in_kernel, requests.into());
    }
}

impl Meters {
    pub fn count_unrecorded(&self) {
        add(&self.unrecorded, 1);
    }

    pub fn unrecorded(&self) -> u64 {
        self.unrecorded.load(Ordering::Relaxed)
    }

    pub fn read(&self) -> impl Iterator<Item = (MeterKey, Reading)> + '_ {
        let used = self.used.load(Ordering::Acquire) as usize;
        let load = |total: &AtomicU64| total.load(Ordering::Relaxed);
        self.meters[..used].iter().map(move |meter| {
            let key = meter
                .key
                .each_ref()
                .map(|cell| cell.load(Ordering::Relaxed));
            let owner = |of: &AtomicU32| of.load(Ordering::Acquire);
            let reading = Reading {
                owners: meter.owners.each_ref().map(owner),
                outcomes: meter.outcomes.each_ref().map(load),
                buckets: meter.buckets.each_ref().map(load),
                sum_us: load(&meter.sum_us),
                in_kernel: load(&meter.in_kernel),
            };
            (key, reading)
        })
    }
}
