//! A ring, packed: a large cluster has thousands, and most of the time that
//! making one takes is the memory's.

/// Which backend serves each slot of a flow hash.
#[derive(Debug, Clone)]
pub struct Ring {
    /// Those that the slots refer to; may have ones that no slot has.
    backends: Vec<u32>,
    slots: Slots,
}

/// Indexes in `backends`.
#[derive(Debug, Clone)]
enum Slots {
    Narrow(Box<[u8]>),
    Wide(Box<[u16]>),
}

impl Default for Ring {
    fn default() -> Self {
        Self::pack(&[], Vec::new())
    }
}

impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        self.size() == other.size() && self.iter().eq(other.iter())
    }
}

impl Eq for Ring {}

impl Ring {
    /// A ring whose slots are indexes in `backends`.
    pub(super) fn pack(slots: &[u16], backends: Vec<u32>) -> Self {
        // Indexes are below 256 then: their low byte is all of them.
        let narrow = |slot: &u16| slot.to_le_bytes()[0];
        let slots = if backends.len() <= 256 {
            Slots::Narrow(slots.iter().map(narrow).collect())
        } else {
            Slots::Wide(slots.into())
        };
        Self { backends, slots }
    }

    /// A ring as the kernel holds it: two slots an entry, the even one low.
    pub fn from_entries(size: u32, entries: &[u64]) -> Self {
        let slots: Vec<u32> = entries
            .iter()
            .flat_map(|entry| halves(*entry))
            .take(size as usize)
            .collect();
        let mut backends = slots.clone();
        backends.sort_unstable();
        backends.dedup();
        backends.truncate(super::MAX_MEMBERS);
        let index = |slot: &u32| {
            backends
                .binary_search(slot)
                .map_or(0, |at| u16::try_from(at).unwrap_or(0))
        };
        let indexes: Vec<u16> = slots.iter().map(index).collect();
        Self::pack(&indexes, backends)
    }

    pub fn size(&self) -> u32 {
        let size = match &self.slots {
            Slots::Narrow(slots) => slots.len(),
            Slots::Wide(slots) => slots.len(),
        };
        u32::try_from(size).expect("sizes are at most MAX_SIZE")
    }

    /// The backend of a slot.
    pub fn get(&self, slot: u32) -> Option<u32> {
        let index = match &self.slots {
            Slots::Narrow(slots) => usize::from(*slots.get(slot as usize)?),
            Slots::Wide(slots) => usize::from(*slots.get(slot as usize)?),
        };
        Some(self.backends[index])
    }

    /// The backends of all slots.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.size()).filter_map(|slot| self.get(slot))
    }

    /// Indexes in [`Ring::backends`].
    pub(super) fn indexes(&self) -> Vec<u16> {
        match &self.slots {
            Slots::Narrow(slots) => slots.iter().map(|slot| u16::from(*slot)).collect(),
            Slots::Wide(slots) => slots.to_vec(),
        }
    }

    pub(super) fn backends(&self) -> &[u32] {
        &self.backends
    }

    fn entry(&self, index: u32) -> u64 {
        let low = self.get(2 * index).unwrap_or(0);
        let high = self.get(2 * index + 1).unwrap_or(0);
        u64::from(low) | u64::from(high) << 32
    }

    /// Entries of the inner map.
    pub fn entries(&self) -> Vec<u64> {
        (0..self.size().div_ceil(2))
            .map(|index| self.entry(index))
            .collect()
    }

    /// The entries that differ from those of a ring of the same size.
    pub fn changed_entries(&self, old: &Self) -> Vec<(u32, u64)> {
        let entries = (0..self.size().div_ceil(2)).map(|index| (index, self.entry(index)));
        entries
            .filter(|(index, entry)| old.entry(*index) != *entry)
            .collect()
    }
}

fn halves(entry: u64) -> [u32; 2] {
    let low = u32::try_from(entry & 0xffff_ffff).expect("32 bits");
    let high = u32::try_from(entry >> 32).expect("32 bits");
    [low, high]
}
