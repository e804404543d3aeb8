//! The readers' side: the latest records of all workers, numbered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::{Record, Told};

/// Records that are kept for those who ask later.
const KEPT: usize = 8_192;

#[derive(Debug, Default)]
pub struct History {
    workers: RwLock<Vec<Arc<Told>>>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<Numbered>,
    last: u64,
}

/// Counts from 1 in the order in which records were collected.
#[derive(Debug, Clone, Copy)]
pub struct Numbered {
    pub number: u64,
    pub record: Record,
}

impl History {
    /// A worker begins to tell.
    pub fn join(&self) -> Arc<Told> {
        let told = Arc::new(Told::default());
        let mut workers = self.workers.write().unwrap_or_else(PoisonError::into_inner);
        workers.push(Arc::clone(&told));
        told
    }

    pub fn workers(&self) -> Vec<Arc<Told>> {
        self.workers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The records behind number `after`, oldest first, and the last number.
    pub fn since(&self, after: u64) -> (Vec<Numbered>, u64) {
        let workers = self.workers();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = Vec::new();
        for told in &workers {
            // As many as were there: a busy worker does not hold us up.
            let n = told.queue.len();
            fresh.extend(std::iter::from_fn(|| told.queue.pop()).take(n));
        }
        fresh.sort_by_key(|record: &Record| record.asked_us + record.duration_us);
        for record in fresh {
            kept.last += 1;
            let number = kept.last;
            kept.records.push_back(Numbered { number, record });
            if kept.records.len() > KEPT {
                kept.records.pop_front();
            }
        }
        let from = kept
            .records
            .partition_point(|record| record.number <= after);
        (kept.records.range(from..).copied().collect(), kept.last)
    }
}
