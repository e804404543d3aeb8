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
        slots: vec![FREE; size as usize],
        seekers: members.iter().map(|m| Seeker::new(m.seed, size)).collect(),
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

/// A slot that nobody took yet; no index of a member.
const FREE: u16 = u16::MAX;

struct Fill<'m> {
    size: u32,
    members: &'m [Member],
    slots: Vec<u16>,
    seekers: Vec<Seeker>,
    /// Slots that each member still gets.
    left: Vec<u32>,
    /// Turns that each member has coming, in units of the largest weight.
    credit: Vec<u32>,
    heaviest: u32,
}

impl Fill<'_> {
    /// So many rounds of members of one weight: the loop that costs.
    fn by_equal_turns(&mut self, rounds: u32) -> u32 {
        for _ in 0..rounds {
            for (i, seeker) in (0..).zip(&mut self.seekers) {
                let slot = seeker.next_free(&self.slots);
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
                    let slot = self.seekers[i].next_free(&self.slots);
                    self.take(i, slot);
                    filled += 1;
                }
            }
        }
        filled
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

    fn is_free(&self, slot: u32) -> bool {
        self.slots[slot as usize] == FREE
    }

    /// The same for the last slots, where walking finds most slots taken:
    /// each member sorts the free ones by their place in its own order.
    fn by_rank(&mut self, mut remaining: u32) {
        let slots = (0..self.size).zip(&self.slots);
        let free = slots.filter(|(_, owner)| **owner == FREE);
        let free: Vec<u32> = free.map(|(slot, _)| slot).collect();
        let ranked = |seeker: &Seeker| ranked(seeker.walk, &free, self.size).into_iter();
        let mut wishes: Vec<_> = self.seekers.iter().map(ranked).collect();
        while remaining > 0 {
            for (i, wishes) in wishes.iter_mut().enumerate() {
                if !self.turn(i) {
                    continue;
                }
                if let Some((_, slot)) = wishes.find(|(_, slot)| self.is_free(*slot)) {
                    self.take(i, slot);
                    remaining -= 1;
                }
            }
        }
    }
}

/// Slots looked at in one go.
const LOOK_AHEAD: usize = 32;

/// A member's walk, with the free slots that it will come by next. They are
/// gathered without a branch: whether a slot is free is anybody's guess, and
/// guesses that the processor gets wrong are most of what a ring costs.
struct Seeker {
    walk: Walk,
    found: [u32; LOOK_AHEAD],
    at: usize,
    n_found: usize,
}

impl Seeker {
    fn new(seed: u64, size: u32) -> Self {
        Self {
            walk: Walk::new(seed, size),
            found: [0; LOOK_AHEAD],
            at: 0,
            n_found: 0,
        }
    }

    /// The next slot that is free; some slot must be.
    #[inline]
    fn next_free(&mut self, slots: &[u16]) -> u32 {
        loop {
            while self.at == self.n_found {
                self.look_ahead(slots);
            }
            let slot = self.found[self.at % LOOK_AHEAD];
            self.at += 1;
            // Others may have taken it since.
            if slots[slot as usize] == FREE {
                return slot;
            }
        }
    }

    fn look_ahead(&mut self, slots: &[u16]) {
        let size = u32::try_from(slots.len()).expect("sizes are at most MAX_SIZE");
        let mut n_found = 0;
        for _ in 0..LOOK_AHEAD {
            let slot = self.walk.step(size);
            self.found[n_found % LOOK_AHEAD] = slot;
            n_found += usize::from(slots[slot as usize] == FREE);
        }
        self.at = 0;
        self.n_found = n_found;
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
