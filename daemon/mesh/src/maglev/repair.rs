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
    Ring {
        slots: repair.slots,
    }
}

struct Repair {
    size: u32,
    slots: Vec<u32>,
    members: Vec<Member>,
    place: FxHashMap<u32, usize>,
    counts: Vec<u32>,
    quotas: Vec<u32>,
}

impl Repair {
    fn new(previous: &Ring, members: &[Member]) -> Self {
        let mut members = members.to_vec();
        members.sort_by_key(|m| (m.seed, m.backend));
        let place: FxHashMap<u32, usize> = members
            .iter()
            .enumerate()
            .map(|(i, m)| (m.backend, i))
            .collect();
        let mut counts = vec![0u32; members.len()];
        for slot in &previous.slots {
            if let Some(&i) = place.get(slot) {
                counts[i] += 1;
            }
        }
        let size = previous.size();
        // The odd slots go first to those that hold more than their share.
        let total: u64 = members.iter().map(|m| u64::from(m.weight)).sum();
        let holds_more = |i: usize| {
            let share = u64::from(size) * u64::from(members[i].weight) / total;
            u64::from(counts[i]) > share
        };
        let prefer = |i: usize, rest: u64| {
            if rest == 0 {
                0
            } else {
                1 + rest + total * u64::from(holds_more(i))
            }
        };
        Self {
            size,
            slots: previous.slots.clone(),
            quotas: quotas(&members, size, prefer),
            members,
            place,
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
            let slot = walk.step(self.size) as usize;
            match self.place.get(&self.slots[slot]) {
                Some(&owner) if self.counts[owner] <= self.quotas[owner] => continue,
                Some(&owner) => self.counts[owner] -= 1,
                None => {}
            }
            self.slots[slot] = self.members[i].backend;
            self.counts[i] += 1;
            return;
        }
    }
}
