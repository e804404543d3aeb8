//! The bytes of one array table, with a journal of what was overwritten.

use rustc_hash::FxHashMap;
use terrace_abi::Plain;

#[derive(Debug, Clone)]
pub struct Image {
    size: usize,
    bytes: Vec<u8>,
    journal: Option<Journal>,
}

/// What entries held when the journal began.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    places: FxHashMap<u32, usize>,
    bytes: Vec<u8>,
}

impl Journal {
    /// Index and former bytes of each entry that was written, by index.
    pub fn entries(&self, size: usize) -> Vec<(u32, &[u8])> {
        let mut entries: Vec<(u32, &[u8])> = self
            .places
            .iter()
            .map(|(index, place)| (*index, &self.bytes[*place..place + size]))
            .collect();
        entries.sort_unstable_by_key(|(index, _)| *index);
        entries
    }
}

impl Image {
    /// Zeroed entries of `size` bytes.
    pub fn new(entries: u32, size: usize) -> Self {
        Self {
            size,
            bytes: vec![0; entries as usize * size],
            journal: None,
        }
    }

    /// An image from bytes that the kernel gave.
    pub fn from_bytes(size: usize, bytes: Vec<u8>) -> Self {
        Self {
            size,
            bytes,
            journal: None,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of one entry.
    pub fn entry_size(&self) -> usize {
        self.size
    }

    /// Number of entries.
    pub fn entries(&self) -> u32 {
        u32::try_from(self.bytes.len() / self.size).expect("map sizes are u32")
    }

    pub fn get(&self, index: u32) -> &[u8] {
        let start = index as usize * self.size;
        &self.bytes[start..start + self.size]
    }

    /// The entry as its struct, which must have the entry's size.
    pub fn read<T: Plain>(&self, index: u32) -> T {
        T::from_bytes(self.get(index)).expect("the struct of this table")
    }

    pub fn is_zero(&self, index: u32) -> bool {
        self.get(index).iter().all(|byte| *byte == 0)
    }

    pub fn write<T: Plain>(&mut self, index: u32, value: &T) {
        self.set(index, value.as_bytes());
    }

    pub fn clear(&mut self, index: u32) {
        let zeros = vec![0; self.size];
        self.set(index, &zeros);
    }

    pub fn set(&mut self, index: u32, value: &[u8]) {
        let start = index as usize * self.size;
        let place = &mut self.bytes[start..start + self.size];
        if place == value {
            return;
        }
        if let Some(journal) = &mut self.journal {
            journal.places.entry(index).or_insert_with(|| {
                journal.bytes.extend_from_slice(place);
                journal.bytes.len() - place.len()
            });
        }
        place.copy_from_slice(value);
    }

    /// Starts to note what entries held before they are written.
    pub fn begin_journal(&mut self) {
        self.journal = Some(Journal::default());
    }

    pub fn take_journal(&mut self) -> Journal {
        self.journal.take().unwrap_or_default()
    }

    /// Entries that differ from those of `old`, with what they held there.
    pub fn changed_from<'o>(&self, old: &'o Self) -> Vec<(u32, &'o [u8])> {
        let pairs = self
            .bytes
            .chunks_exact(self.size)
            .zip(old.bytes.chunks_exact(self.size));
        (0..)
            .zip(pairs)
            .filter(|(_, (new, old))| new != old)
            .map(|(index, (_, old))| (index, old))
            .collect()
    }
}
