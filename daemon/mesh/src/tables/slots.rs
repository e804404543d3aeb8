//! Which indexes of a table are free.

use std::collections::VecDeque;

use super::image::Image;

/// Gives out indexes from 1; 0 means "none" in every table. An index that is
/// freed rests until the transaction is over, then waits behind all others,
/// so that counters and flows of its former owner have time to go.
#[derive(Debug, Clone)]
pub struct Slots {
    limit: u32,
    unused: u32,
    free: VecDeque<u32>,
    resting: Vec<u32>,
}

impl Slots {
    /// The free indexes of a table: those whose entry is zero.
    pub fn of(image: &Image) -> Self {
        let limit = image.entries();
        let last = (1..limit)
            .rev()
            .find(|index| !image.is_zero(*index))
            .unwrap_or(0);
        Self {
            limit,
            unused: last + 1,
            free: (1..last).filter(|index| image.is_zero(*index)).collect(),
            resting: Vec::new(),
        }
    }

    /// Same for indexes that are in use when `used` says so.
    pub fn without(limit: u32, used: &std::collections::BTreeSet<u32>) -> Self {
        let last = used.last().copied().unwrap_or(0);
        Self {
            limit,
            unused: last + 1,
            free: (1..last).filter(|index| !used.contains(index)).collect(),
            resting: Vec::new(),
        }
    }

    /// A free index; `None` when the table is full.
    pub fn take(&mut self) -> Option<u32> {
        if self.unused < self.limit {
            self.unused += 1;
            return Some(self.unused - 1);
        }
        self.free.pop_front()
    }

    pub fn give_back(&mut self, index: u32) {
        self.resting.push(index);
    }

    /// Freed indexes may be used again.
    pub fn settle(&mut self) {
        self.free.extend(self.resting.drain(..));
    }
}
