//! Changing a ring in place.

use rustc_hash::FxHashMap;

use super::{Member, Ring, Walk, build, quotas};

/// The previous ring for other members or weights. A slot keeps its backend
/// unless that is gone or has more than its share; slots that are freed go to
/// backends below their share, each in its own Maglev order. The number of
/// moved slots is the least possible.
pub fn repair(previous: &Ring, members: &[Member]) -> Ring {
    let size = previous.size();
    if members.is_empty() || size == 0 {
        return build(members, size);
    }
    let mut repair = Repair::new(previous, members);
    repair.run();
    let backends = repair.members.iter().map(|member| member.backend).collect();
    Ring::pack(&repair.slots, backends)
}

/// A slot whose backend is gone.
const NOBODY: u16 = u16::MAX;

struct Repair {
    size: u32,
    /// Indexes in `members`, or `NOBODY`.
    slots: Vec<u16>,
    members: Vec<Member>,
    counts: Vec<u32>,
    quotas: Vec<u32>,
}

impl Repair {
    fn new(previous: &Ring, members: &[Member]) -> Self {
        let mut members = members.to_vec();
        members.sort_by_key(|m| (m.seed, m.backend));
        let place: FxHashMap<u32, u16> = members.iter().map(|m| m.backend).zip(0..).collect();
        let owners: Vec<u16> = previous
            .backends()
            .iter()
            .map(|backend| place.get(backend).copied().unwrap_or(NOBODY))
            .collect();
        let mut counts = vec![0u32; members.len()];
        let mut slots = previous.indexes();
        for slot in &mut slots {
            *slot = owners[usize::from(*slot)];
            if *slot != NOBODY {
                counts[usize::from(*slot)] += 1;
            }
        }
        Self {
            size: previous.size(),
            quotas: quotas_for(&members, &counts, previous.size()),
            slots,
            members,
            counts,
        }
    }

    fn run(&mut self) {
        let mut takers: Vec<(usize, Walk)> = (0..self.members.len())
            .filter(|&i| self.counts[i] < self.quotas[i])
            .map(|i| (i, Walk::new(self.members[i].seed, self.size)))
            .collect();
        while !takers.is_empty() {
            takers.retain_mut(|(i, walk)| {
                self.take_next(*i, walk);
                self.counts[*i] < self.quotas[*i]
            });
        }
    }

    /// A slot once passed over never becomes free again, so every walk ends.
    fn take_next(&mut self, i: usize, walk: &mut Walk) {
        for _ in 0..self.size {
            let slot = &mut self.slots[walk.step(self.size) as usize];
            let owner = usize::from(*slot);
            if *slot != NOBODY {
                if self.counts[owner] <= self.quotas[owner] {
                    continue;
                }
                self.counts[owner] -= 1;
            }
            *slot = u16::try_from(i).expect("at most MAX_MEMBERS");
            self.counts[i] += 1;
            return;
        }
    }
}

/// Shares, with the odd slots first for those that hold more than theirs.
fn quotas_for(members: &[Member], counts: &[u32], size: u32) -> Vec<u32> {
    let total: u64 = members.iter().map(|m| u64::from(m.weight)).sum();
    let holds_more = |i: usize| {
        let share = u64::from(size) * u64::from(members[i].weight) / total;
        u64::from(counts[i]) > share
    };
    quotas(members, size, |i, rest| match rest {
        0 => 0,
        rest => rest + total * u64::from(holds_more(i)),
    })
}
