//! Maglev rings with weights (Eisenbud et al., NSDI 2016, section 3.4), and
//! their repair in place.
//!
//! A fresh ring is the paper's: every host builds the same one from the same
//! backends. A change repairs the ring that is there: nobody else must agree
//! with it, so only slots that must move do.

mod fill;
mod primes;
mod repair;
mod ring;

pub use primes::{is_prime, next_prime};
pub use repair::repair;
pub use ring::Ring;

/// Cilium's default; 100 slots a backend keep the balance within 1 %.
pub const DEFAULT_SIZE: u32 = 16_381;
pub const MIN_SIZE: u32 = 7;
/// The paper's larger size is 655,373.
pub const MAX_SIZE: u32 = 1_000_003;
/// Backends that one ring can have.
pub const MAX_MEMBERS: usize = 65_535;

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
        let next = slot + self.skip;
        // The smaller one: below `size` the subtraction wraps around.
        self.next = next.min(next.wrapping_sub(size));
        slot
    }
}

/// A member's first slot and the step to its next ones.
pub fn order(member: &Member, size: u32) -> (u32, u32) {
    let walk = Walk::new(member.seed, size);
    (walk.offset, walk.skip)
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

/// A fresh ring of `size` (a prime) slots; no ring for no members.
pub fn build(members: &[Member], size: u32) -> Ring {
    let mut order: Vec<Member> = members.to_vec();
    order.sort_by_key(|m| (m.seed, m.backend));
    if order.is_empty() {
        return Ring::default();
    }
    let backends = order.iter().map(|member| member.backend).collect();
    Ring::pack(&fill::fill(&order, size), backends)
}
