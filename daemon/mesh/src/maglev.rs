//! Maglev rings with weights (Eisenbud et al., NSDI 2016, section 3.4), and
//! their repair in place.
//!
//! A fresh ring is the paper's: every host builds the same one from the same
//! backends. A change repairs the ring that is there: nobody else must agree
//! with it, so only slots that must move do.

mod primes;
mod repair;

pub use primes::{is_prime, next_prime};
pub use repair::repair;

/// Cilium's default; 100 slots a backend keep the balance within 1 %.
pub const DEFAULT_SIZE: u32 = 16_381;
pub const MIN_SIZE: u32 = 7;
/// The paper's larger size is 655,373.
pub const MAX_SIZE: u32 = 1_000_003;

/// A backend that takes new flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Index in the table `backends`; never 0.
    pub backend: u32,
    /// At least 1.
    pub weight: u32,
    /// From address and port: the same on every host.
    pub seed: u64,
}

/// Which backend serves each slot of a flow hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ring {
    pub slots: Vec<u32>,
}

impl Ring {
    /// A ring as the kernel holds it: two slots an entry, the even one low.
    pub fn from_entries(size: u32, entries: &[u64]) -> Self {
        let slots = entries.iter().flat_map(|entry| halves(*entry));
        Self {
            slots: slots.take(size as usize).collect(),
        }
    }

    pub fn size(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("sizes are at most MAX_SIZE")
    }

    /// Entries of the inner map.
    pub fn entries(&self) -> Vec<u64> {
        self.slots.chunks(2).map(entry).collect()
    }

    /// The entries that differ from those of a ring of the same size.
    pub fn changed_entries(&self, old: &Self) -> Vec<(u32, u64)> {
        let pairs = self.slots.chunks(2).zip(old.slots.chunks(2));
        (0..)
            .zip(pairs)
            .filter(|(_, (new, old))| new != old)
            .map(|(index, (new, _))| (index, entry(new)))
            .collect()
    }
}

fn halves(entry: u64) -> [u32; 2] {
    let low = u32::try_from(entry & 0xffff_ffff).expect("32 bits");
    let high = u32::try_from(entry >> 32).expect("32 bits");
    [low, high]
}

fn entry(slots: &[u32]) -> u64 {
    let high = slots.get(1).copied().unwrap_or(0);
    u64::from(slots[0]) | u64::from(high) << 32
}

/// A backend's order of preference: every slot once, `offset + i * skip`.
#[derive(Clone, Copy)]
struct Walk {
    next: u32,
    offset: u32,
    skip: u32,
}

impl Walk {
    fn new(seed: u64, size: u32) -> Self {
        let offset = below(mix(seed), size);
        let skip = 1 + below(mix(seed ^ 0x5bd1_e995_9e37_79b9), size - 1);
        Self {
            next: offset,
            offset,
            skip,
        }
    }

    /// The next preferred slot.
    #[inline]
    fn step(&mut self, size: u32) -> u32 {
        let slot = self.next;
        self.next += self.skip;
        if self.next >= size {
            self.next -= size;
        }
        slot
    }
}

/// SplitMix64's finalizer: a fixed, well mixed hash.
pub(crate) fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn below(hash: u64, bound: u32) -> u32 {
    u32::try_from(hash % u64::from(bound)).expect("below a u32")
}

/// How many slots each member gets: its share, rounded down, and one more for
/// those that `prefer` puts first, until all slots are given out.
fn quotas(members: &[Member], size: u32, prefer: impl Fn(usize, u64) -> u64) -> Vec<u32> {
    let total: u64 = members.iter().map(|m| u64::from(m.weight)).sum();
    let share = |m: &Member| u64::from(size) * u64::from(m.weight);
    let mut quotas: Vec<u32> = members
        .iter()
        .map(|m| below_total(share(m) / total))
        .collect();
    let given: u32 = quotas.iter().sum();
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(prefer(i, share(&members[i]) % total)));
    for &i in order.iter().take((size - given) as usize) {
        quotas[i] += 1;
    }
    quotas
}

fn below_total(share: u64) -> u32 {
    u32::try_from(share).expect("a share of the slots")
}

struct Bits(Vec<u64>);

impl Bits {
    fn new(size: u32) -> Self {
        Self(vec![0; size.div_ceil(64) as usize])
    }

    #[inline]
    fn get(&self, bit: u32) -> bool {
        self.0[(bit >> 6) as usize] >> (bit & 63) & 1 != 0
    }

    #[inline]
    fn set(&mut self, bit: u32) {
        self.0[(bit >> 6) as usize] |= 1 << (bit & 63);
    }
}

/// A fresh ring of `size` (a prime) slots; no ring for no members.
pub fn build(members: &[Member], size: u32) -> Ring {
    let mut order: Vec<Member> = members.to_vec();
    order.sort_by_key(|m| (m.seed, m.backend));
    let mut fill = Fill {
        size,
        slots: vec![0; if order.is_empty() { 0 } else { size as usize }],
        taken: Bits::new(size),
        walks: order.iter().map(|m| Walk::new(m.seed, size)).collect(),
        left: quotas(&order, size, |_, rest| rest),
        credit: vec![0; order.len()],
        members: order,
    };
    if !fill.members.is_empty() {
        let last = size / (10 * u32::try_from(fill.members.len()).unwrap_or(u32::MAX)).max(1);
        let filled = fill.by_walking(size - last);
        fill.by_rank(size - filled);
    }
    Ring { slots: fill.slots }
}

struct Fill {
    size: u32,
    members: Vec<Member>,
    slots: Vec<u32>,
    taken: Bits,
    walks: Vec<Walk>,
    /// Slots that each member still gets.
    left: Vec<u32>,
    /// Turns that each member has coming, in units of the largest weight.
    credit: Vec<u32>,
}

impl Fill {
    /// Members take turns by weight until at least `until` slots are filled.
    /// Ends between rounds, so that `by_rank` can take over.
    fn by_walking(&mut self, until: u32) -> u32 {
        let heaviest = self.members.iter().map(|m| m.weight).max().unwrap_or(1);
        let mut filled = 0;
        while filled < until {
            for i in 0..self.members.len() {
                filled += u32::from(self.turn(i, heaviest) && self.take_next(i));
            }
        }
        filled
    }

    fn turn(&mut self, i: usize, heaviest: u32) -> bool {
        self.credit[i] += self.members[i].weight;
        if self.credit[i] < heaviest {
            return false;
        }
        self.credit[i] -= heaviest;
        self.left[i] > 0
    }

    #[inline]
    fn take_next(&mut self, i: usize) -> bool {
        let mut walk = self.walks[i];
        let slot = loop {
            let slot = walk.step(self.size);
            if !self.taken.get(slot) {
                break slot;
            }
        };
        self.walks[i] = walk;
        self.take(i, slot);
        true
    }

    fn take(&mut self, i: usize, slot: u32) {
        self.taken.set(slot);
        self.slots[slot as usize] = self.members[i].backend;
        self.left[i] -= 1;
    }

    /// The same for the last slots, where walking finds most slots taken:
    /// each member sorts the free ones by their place in its own order.
    fn by_rank(&mut self, free: u32) {
        if free == 0 {
            return;
        }
        let free: Vec<u32> = (0..self.size)
            .filter(|slot| !self.taken.get(*slot))
            .collect();
        let mut wishes: Vec<std::vec::IntoIter<(u32, u32)>> = self
            .walks
            .iter()
            .map(|walk| ranked(*walk, &free, self.size))
            .collect();
        let heaviest = self.members.iter().map(|m| m.weight).max().unwrap_or(1);
        let mut remaining = free.len();
        while remaining > 0 {
            for (i, wishes) in wishes.iter_mut().enumerate() {
                if !self.turn(i, heaviest) {
                    continue;
                }
                let slot = wishes.find(|(_, slot)| !self.taken.get(*slot));
                if let Some((_, slot)) = slot {
                    self.take(i, slot);
                    remaining -= 1;
                }
            }
        }
    }
}

/// The slots in the order in which the walk comes by.
fn ranked(walk: Walk, slots: &[u32], size: u32) -> std::vec::IntoIter<(u32, u32)> {
    let modulus = u64::from(size);
    let inverse = u64::from(primes::inverse(walk.skip, size));
    let rank = |slot: u32| {
        let distance = u64::from(slot) + modulus - u64::from(walk.offset);
        below_total(distance % modulus * inverse % modulus)
    };
    let mut ranked: Vec<(u32, u32)> = slots.iter().map(|slot| (rank(*slot), *slot)).collect();
    ranked.sort_unstable();
    ranked.into_iter()
}
