//! Filling a fresh ring: members take turns, each takes the next free slot
//! of its own order.

use super::{Member, Walk, below_total, primes, quotas};

/// Slots left over for [`Fill::by_rank`], times members: where sorting what
/// is left gets cheaper than walking past what is taken.
const WALKS_LEFT: u32 = 20;

/// The index of the member that each slot belongs to.
pub fn fill(members: &[Member], size: u32) -> Vec<u16> {
    let mut fill = Fill {
        size,
        slots: vec![0; size as usize],
        taken: vec![0; size.div_ceil(64) as usize],
        walks: members.iter().map(|m| Walk::new(m.seed, size)).collect(),
        left: quotas(members, size, |_, rest| rest),
        credit: vec![0; members.len()],
        heaviest: members.iter().map(|m| m.weight).max().unwrap_or(1),
        members,
    };
    let n = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let last = size / n.saturating_mul(WALKS_LEFT);
    let mut filled = 0;
    if members.iter().all(|m| m.weight == fill.heaviest) {
        filled = fill.by_equal_turns((size - last) / n);
    }
    filled = fill.by_turns(filled, size - last);
    fill.by_rank(size - filled);
    fill.slots
}

struct Fill<'m> {
    size: u32,
    members: &'m [Member],
    slots: Vec<u16>,
    /// One bit a slot.
    taken: Vec<u64>,
    walks: Vec<Walk>,
    /// Slots that each member still gets.
    left: Vec<u32>,
    /// Turns that each member has coming, in units of the largest weight.
    credit: Vec<u32>,
    heaviest: u32,
}

impl Fill<'_> {
    /// So many rounds of members of one weight: the loop that costs.
    fn by_equal_turns(&mut self, rounds: u32) -> u32 {
        let size = self.size;
        for _ in 0..rounds {
            for (i, walk) in (0..).zip(&mut self.walks) {
                let slot = next_free(walk, &mut self.taken, size);
                self.slots[slot as usize] = i;
            }
        }
        self.left.iter_mut().for_each(|left| *left -= rounds);
        rounds * u32::try_from(self.members.len()).expect("members share the slots")
    }

    /// Rounds by weight until at least `until` slots are filled.
    fn by_turns(&mut self, mut filled: u32, until: u32) -> u32 {
        while filled < until {
            for i in 0..self.members.len() {
                if self.turn(i) {
                    let slot = next_free(&mut self.walks[i], &mut self.taken, self.size);
                    self.take(i, slot);
                    filled += 1;
                }
            }
        }
        filled
    }

    fn is_taken(&self, slot: u32) -> bool {
        self.taken[(slot >> 6) as usize] >> (slot & 63) & 1 != 0
    }

    fn turn(&mut self, i: usize) -> bool {
        self.credit[i] += self.members[i].weight;
        if self.credit[i] < self.heaviest {
            return false;
        }
        self.credit[i] -= self.heaviest;
        self.left[i] > 0
    }

    fn take(&mut self, i: usize, slot: u32) {
        self.slots[slot as usize] = u16::try_from(i).expect("at most MAX_MEMBERS");
        self.left[i] -= 1;
    }

    /// The same for the last slots, where walking finds most slots taken:
    /// each member sorts the free ones by their place in its own order.
    fn by_rank(&mut self, mut remaining: u32) {
        let free: Vec<u32> = (0..self.size)
            .filter(|slot| !self.is_taken(*slot))
            .collect();
        let walks = self.walks.iter();
        let mut wishes: Vec<_> = walks
            .map(|walk| ranked(*walk, &free, self.size).into_iter())
            .collect();
        while remaining > 0 {
            for (i, wishes) in wishes.iter_mut().enumerate() {
                if !self.turn(i) {
                    continue;
                }
                let slot = wishes.find(|(_, slot)| !self.is_taken(*slot));
                if let Some((_, slot)) = slot {
                    self.taken[(slot >> 6) as usize] |= 1 << (slot & 63);
                    self.take(i, slot);
                    remaining -= 1;
                }
            }
        }
    }
}

#[inline]
fn next_free(walk: &mut Walk, taken: &mut [u64], size: u32) -> u32 {
    loop {
        let slot = walk.step(size);
        let word = &mut taken[(slot >> 6) as usize];
        let bit = 1 << (slot & 63);
        if *word & bit == 0 {
            *word |= bit;
            return slot;
        }
    }
}

/// The slots in the order in which the walk comes by.
fn ranked(walk: Walk, slots: &[u32], size: u32) -> Vec<(u32, u32)> {
    let inverse = u64::from(primes::inverse(walk.skip, size));
    let rank = |slot: u32| {
        let distance = if slot >= walk.offset {
            slot - walk.offset
        } else {
            slot + size - walk.offset
        };
        below_total(u64::from(distance) * inverse % u64::from(size))
    };
    let mut ranked: Vec<(u32, u32)> = slots.iter().map(|slot| (rank(*slot), *slot)).collect();
    ranked.sort_unstable();
    ranked
}
