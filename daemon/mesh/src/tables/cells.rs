//! Cell tables: exact match by open addressing, as abi.h lays them out.

use rustc_hash::FxHashSet;
use terrace_abi::consts::{CELL_PROBES, CELLS_PER_BUCKET};
use terrace_abi::hash::{CellKey, cell_hash};
use terrace_abi::types::{cell, cell_bucket};

use super::image::Image;

/// No room near a key's home bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A cell table. Cells never move; a cell that was freed takes no new key
/// before [`Cells::settle`], because a reader may still be looking at it.
#[derive(Debug, Clone)]
pub struct Cells {
    image: Image,
    mask: u32,
    used: u32,
    /// Bucket and slot of freed cells.
    resting: FxHashSet<(u32, u8)>,
}

struct Place {
    bucket: u32,
    slot: usize,
    /// Buckets passed over on the way.
    distance: u32,
}

impl Cells {
    /// A table from its bytes; the number of buckets must be a power of two.
    pub fn new(image: Image) -> Self {
        let buckets = image.entries();
        debug_assert!(buckets.is_power_of_two());
        let mut cells = Self {
            image,
            mask: buckets - 1,
            used: 0,
            resting: FxHashSet::default(),
        };
        cells.used = u32::try_from(cells.iter().count()).expect("cells are counted in u32");
        cells
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    pub(crate) fn image_mut(&mut self) -> &mut Image {
        &mut self.image
    }

    /// Cells in use.
    pub fn len(&self) -> u32 {
        self.used
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (CellKey, u32)> + '_ {
        (0..self.image.entries())
            .flat_map(|index| self.image.read::<cell_bucket>(index).cells)
            .filter(|cell| cell.value != 0)
            .map(|cell| (cell.key, cell.value))
    }

    /// The value of a key, 0 when there is none; exactly what the kernel does.
    pub fn get(&self, key: &CellKey) -> u32 {
        self.find(key).map_or(0, |(_, value)| value)
    }

    fn find(&self, key: &CellKey) -> Option<(Place, u32)> {
        let home = cell_hash(key);
        for distance in 0..CELL_PROBES {
            let index = home.wrapping_add(distance) & self.mask;
            let bucket: cell_bucket = self.image.read(index);
            for (slot, cell) in bucket.cells.iter().enumerate() {
                if cell.key == *key && cell.value != 0 {
                    let place = Place {
                        bucket: index,
                        slot,
                        distance,
                    };
                    return Some((place, cell.value));
                }
            }
            if bucket.overflow == 0 {
                return None;
            }
        }
        None
    }

    /// Gives a key a value (never 0).
    pub fn insert(&mut self, key: &CellKey, value: u32) -> Result<(), Full> {
        debug_assert_ne!(value, 0);
        if let Some((place, _)) = self.find(key) {
            self.put(&place, cell { key: *key, value });
            return Ok(());
        }
        let place = self.vacancy(key).ok_or(Full)?;
        self.pass_over(key, place.distance, 1);
        self.put(&place, cell { key: *key, value });
        self.used += 1;
        Ok(())
    }

    /// Takes a key out; true when it was there.
    pub fn remove(&mut self, key: &CellKey) -> bool {
        let Some((place, _)) = self.find(key) else {
            return false;
        };
        self.put(&place, cell::default());
        self.pass_over(key, place.distance, u32::MAX);
        let slot = u8::try_from(place.slot).expect("two cells a bucket");
        self.resting.insert((place.bucket, slot));
        self.used -= 1;
        true
    }

    /// A grace period has passed: freed cells may take new keys.
    pub fn settle(&mut self) {
        self.resting.clear();
    }

    fn vacancy(&self, key: &CellKey) -> Option<Place> {
        let home = cell_hash(key);
        for distance in 0..CELL_PROBES.min(self.mask + 1) {
            let index = home.wrapping_add(distance) & self.mask;
            let bucket: cell_bucket = self.image.read(index);
            for slot in 0..CELLS_PER_BUCKET as usize {
                let resting = !self.resting.is_empty()
                    && self
                        .resting
                        .contains(&(index, u8::try_from(slot).unwrap_or(0)));
                if bucket.cells[slot].value == 0 && !resting {
                    return Some(Place {
                        bucket: index,
                        slot,
                        distance,
                    });
                }
            }
        }
        None
    }

    fn put(&mut self, place: &Place, cell: cell) {
        let mut bucket: cell_bucket = self.image.read(place.bucket);
        bucket.cells[place.slot] = cell;
        self.image.write(place.bucket, &bucket);
    }

    /// Adds `by` (wrapping) to the overflow of the buckets before a key's own.
    fn pass_over(&mut self, key: &CellKey, distance: u32, by: u32) {
        let home = cell_hash(key);
        for i in 0..distance {
            let index = home.wrapping_add(i) & self.mask;
            let mut bucket: cell_bucket = self.image.read(index);
            bucket.overflow = bucket.overflow.wrapping_add(by);
            self.image.write(index, &bucket);
        }
    }
}
