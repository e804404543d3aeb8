//! Cell tables: exact match by open addressing, as abi.h lays them out.

use rustc_hash::{FxHashMap, FxHashSet};
use terrace_abi::consts::{CELL_PROBES, CELLS_PER_BUCKET};
use terrace_abi::hash::{CellKey, cell_hash};
use terrace_abi::types::{cell, cell_bucket};

use super::image::Image;

/// No room near a key's home bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A cell table. A cell that was freed takes no new key before
/// [`Cells::settle`], because a reader may still be looking at it.
///
/// At half load 3 keys of 10,000 find all their places taken. One of the
/// cells there then goes on to a later place of its own, where a reader that
/// missed it comes by: [`diff`](crate::diff) writes the copy before it clears
/// the old place, and lets a grace period pass before that takes the new key.
#[derive(Debug, Clone)]
pub struct Cells {
    image: Image,
    mask: u32,
    used: u32,
    /// Bucket and slot of freed cells.
    resting: FxHashSet<(u32, u8)>,
    /// Places that were free in the kernel and are taken now; whether the key
    /// is new to the kernel as well.
    born: FxHashMap<(u32, u8), bool>,
}

struct Place {
    bucket: u32,
    slot: usize,
    /// Buckets passed over on the way.
    distance: u32,
    /// The kernel sees no cell there.
    free: bool,
}

/// How many cells may go on to make room for one.
const MAX_MOVES: u32 = 4;

fn small(slot: usize) -> u8 {
    u8::try_from(slot).expect("two cells a bucket")
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
            born: FxHashMap::default(),
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
                        free: false,
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
        let place = self
            .vacancy(key)
            .or_else(|| self.make_room(key))
            .ok_or(Full)?;
        self.pass_over(key, place.distance, 1);
        self.put(&place, cell { key: *key, value });
        self.note_born(&place, true);
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
        let at = (place.bucket, small(place.slot));
        self.born.remove(&at);
        self.resting.insert(at);
        self.used -= 1;
        true
    }

    /// A grace period has passed: freed cells may take new keys.
    pub fn settle(&mut self) {
        self.resting.clear();
        self.born.clear();
    }

    fn vacancy(&self, key: &CellKey) -> Option<Place> {
        self.vacancy_from(key, 0)
    }

    fn vacancy_from(&self, key: &CellKey, nearest: u32) -> Option<Place> {
        let home = cell_hash(key);
        for distance in nearest..CELL_PROBES.min(self.mask + 1) {
            let index = home.wrapping_add(distance) & self.mask;
            let bucket: cell_bucket = self.image.read(index);
            for slot in 0..CELLS_PER_BUCKET as usize {
                let resting =
                    !self.resting.is_empty() && self.resting.contains(&(index, small(slot)));
                if bucket.cells[slot].value == 0 && !resting {
                    return Some(Place {
                        bucket: index,
                        slot,
                        distance,
                        free: true,
                    });
                }
            }
        }
        None
    }

    /// Moves cells out of a key's way, as few as possible.
    fn make_room(&mut self, key: &CellKey) -> Option<Place> {
        (1..=MAX_MOVES).find_map(|moves| self.push_on((key, 0, true), moves, &mut Vec::new()))
    }

    /// A place for a key at distance `nearest` or later, from where at most
    /// `moves` other cells had to go on. A cell that the kernel has can only
    /// go to a place that the kernel sees as free: its copy must be there
    /// before its old place is cleared. `going` are cells on their way.
    fn push_on(
        &mut self,
        (key, nearest, is_new): (&CellKey, u32, bool),
        moves: u32,
        going: &mut Vec<(u32, u8)>,
    ) -> Option<Place> {
        let home = cell_hash(key);
        for distance in nearest..CELL_PROBES.min(self.mask + 1) {
            let bucket = home.wrapping_add(distance) & self.mask;
            for slot in 0..CELLS_PER_BUCKET as usize {
                let at = (bucket, small(slot));
                let born = self.born.get(&at).copied();
                if going.contains(&at) || !(is_new || born.is_some()) {
                    continue;
                }
                going.push(at);
                let gone = self.send_on(bucket, slot, moves, going);
                going.pop();
                if gone {
                    return Some(Place {
                        bucket,
                        slot,
                        distance,
                        free: born.is_some(),
                    });
                }
            }
        }
        None
    }

    /// Moves the cell of a place to a later one of its own; its old place is
    /// for the caller to fill.
    fn send_on(
        &mut self,
        bucket: u32,
        slot: usize,
        moves: u32,
        going: &mut Vec<(u32, u8)>,
    ) -> bool {
        let held = self.image.read::<cell_bucket>(bucket).cells[slot];
        if held.value == 0 {
            return false;
        }
        let is_new = self
            .born
            .get(&(bucket, small(slot)))
            .copied()
            .unwrap_or(false);
        let passed = bucket.wrapping_sub(cell_hash(&held.key)) & self.mask;
        let vacancy = self.vacancy_from(&held.key, passed + 1);
        let place = match vacancy {
            None if moves > 1 => self.push_on((&held.key, passed + 1, is_new), moves - 1, going),
            vacancy => vacancy,
        };
        let Some(place) = place else {
            return false;
        };
        self.put(&place, held);
        self.note_born(&place, is_new);
        self.pass_between(&held.key, passed..place.distance, 1);
        true
    }

    /// Notes a cell that the kernel does not have yet, unless its place is
    /// one where the kernel has another.
    fn note_born(&mut self, place: &Place, key_is_new: bool) {
        if place.free {
            self.born
                .insert((place.bucket, small(place.slot)), key_is_new);
        }
    }

    fn put(&mut self, place: &Place, cell: cell) {
        let mut bucket: cell_bucket = self.image.read(place.bucket);
        bucket.cells[place.slot] = cell;
        self.image.write(place.bucket, &bucket);
    }

    /// Adds `by` (wrapping) to the overflow of the buckets before a key's own.
    fn pass_over(&mut self, key: &CellKey, distance: u32, by: u32) {
        self.pass_between(key, 0..distance, by);
    }

    fn pass_between(&mut self, key: &CellKey, distances: std::ops::Range<u32>, by: u32) {
        let home = cell_hash(key);
        for i in distances {
            let index = home.wrapping_add(i) & self.mask;
            let mut bucket: cell_bucket = self.image.read(index);
            bucket.overflow = bucket.overflow.wrapping_add(by);
            self.image.write(index, &bucket);
        }
    }
}
