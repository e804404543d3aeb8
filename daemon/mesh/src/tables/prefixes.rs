//! Prefix tables: longest match by a root array and a cell table.

use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use terrace_abi::consts::PREFIX_V6_ROOT;
use terrace_abi::hash::{CellKey, address_bytes, address_words, prefix_root_index};
use terrace_abi::types::prefix_root;

use super::cells::{Cells, Full};
use super::image::Image;

/// Bits of an IPv4 address's v4-mapped form before the address itself.
const V4_OFFSET: u8 = 96;
/// Prefixes up to this length are written into the roots.
const ROOT_BITS: u8 = 16;
const NO_SHORT: u8 = u8::MAX;

/// A prefix in the 128-bit form of abi.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    pub address: [u8; 16],
    /// 0 to 128; IPv4's lengths count from 96.
    pub length: u8,
    pub is_v4: bool,
}

impl From<IpNet> for Prefix {
    fn from(net: IpNet) -> Self {
        let net = net.trunc();
        let is_v4 = matches!(net, IpNet::V4(_));
        Self {
            address: address_bytes(net.addr()),
            length: net.prefix_len() + if is_v4 { V4_OFFSET } else { 0 },
            is_v4,
        }
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self::from(IpNet::from(address))
    }
}

impl Prefix {
    /// Length in the address's own family.
    fn own_length(&self) -> u8 {
        self.length - if self.is_v4 { V4_OFFSET } else { 0 }
    }

    fn is_short(&self) -> bool {
        self.own_length() <= ROOT_BITS
    }

    fn root(&self) -> u32 {
        if self.is_v4 {
            prefix_root_index(&self.address)
        } else {
            PREFIX_V6_ROOT + u32::from(u16::from_be_bytes([self.address[0], self.address[1]]))
        }
    }

    fn key(&self) -> CellKey {
        let words = address_words(&self.address);
        [
            words[0],
            words[1],
            words[2],
            words[3],
            u32::from(self.length),
        ]
    }
}

#[derive(Debug, Clone)]
pub struct Prefixes {
    roots: Image,
    cells: Cells,
    /// How many longer prefixes of a length start under a root.
    counts: FxHashMap<(u32, u8), u32>,
    /// Short prefixes by root of their first address and own length.
    short: FxHashMap<(u32, u8), u32>,
    /// Own length of the short prefix that a root's value comes from.
    short_length: Vec<u8>,
}

impl Prefixes {
    /// A table from its bytes. Which short prefixes the roots' values come
    /// from is not in the bytes: [`Prefixes::retain_claimed`] removes those
    /// that are not inserted anew.
    pub fn new(roots: Image, cells: Image) -> Self {
        let cells = Cells::new(cells);
        let mut counts = FxHashMap::default();
        for (key, _) in cells.iter() {
            if let Some((root, length)) = place_of(&key) {
                *counts.entry((root, length)).or_insert(0) += 1;
            }
        }
        Self {
            short_length: vec![NO_SHORT; roots.entries() as usize],
            roots,
            cells,
            counts,
            short: FxHashMap::default(),
        }
    }

    pub fn roots(&self) -> &Image {
        &self.roots
    }

    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    pub(crate) fn roots_mut(&mut self) -> &mut Image {
        &mut self.roots
    }

    pub(crate) fn cells_mut(&mut self) -> &mut Cells {
        &mut self.cells
    }

    /// Forgets which short prefixes there are, as after a restart.
    pub fn unclaim(&mut self) {
        self.short.clear();
        self.short_length.fill(NO_SHORT);
    }

    /// Removes longer prefixes that nobody claims, and the values of roots
    /// that no short prefix covers.
    pub fn retain_claimed(&mut self, claimed: impl Fn(&Prefix) -> bool) {
        let keys: Vec<CellKey> = self.cells.iter().map(|(key, _)| key).collect();
        for key in keys {
            if prefix_of(&key).is_none_or(|prefix| !claimed(&prefix)) {
                self.remove_key(&key);
            }
        }
        for index in 0..self.roots.entries() {
            if self.short_length[index as usize] == NO_SHORT {
                self.set_root(index, |root| root.value = 0);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.cells.len() as usize + self.short.len()
    }

    /// True when there is no prefix at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives a prefix a value (never 0).
    pub fn insert(&mut self, prefix: &Prefix, value: u32) -> Result<(), Full> {
        if prefix.is_short() {
            self.short
                .insert((prefix.root(), prefix.own_length()), value);
            self.spread(prefix, value);
            return Ok(());
        }
        let before = self.cells.len();
        self.cells.insert(&prefix.key(), value)?;
        if self.cells.len() > before {
            let root = prefix.root();
            let count = self.counts.entry((root, prefix.length)).or_insert(0);
            *count += 1;
            if *count == 1 {
                self.set_root(root, |entry| set_length(entry, prefix.length));
            }
        }
        Ok(())
    }

    /// Takes a prefix out; true when it was there.
    pub fn remove(&mut self, prefix: &Prefix) -> bool {
        if prefix.is_short() {
            return self.remove_short(prefix);
        }
        self.remove_key(&prefix.key())
    }

    fn remove_key(&mut self, key: &CellKey) -> bool {
        if !self.cells.remove(key) {
            return false;
        }
        let Some((root, length)) = place_of(key) else {
            return true;
        };
        if let Some(count) = self.counts.get_mut(&(root, length)) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&(root, length));
                self.set_root(root, |entry| clear_length(entry, length));
            }
        }
        true
    }

    /// The value under exactly this prefix, 0 when there is none.
    pub fn get(&self, prefix: &Prefix) -> u32 {
        if prefix.is_short() {
            let key = (prefix.root(), prefix.own_length());
            return self.short.get(&key).copied().unwrap_or(0);
        }
        self.cells.get(&prefix.key())
    }

    /// The values that a prefix may have, from the bytes alone: those of its
    /// roots when it is short, which may be other prefixes' too.
    pub fn values_of(&self, prefix: &Prefix) -> impl Iterator<Item = u32> + '_ {
        let cell = (!prefix.is_short()).then(|| self.cells.get(&prefix.key()));
        let roots = prefix.is_short().then(|| Self::roots_under(prefix));
        let roots = roots.into_iter().flatten();
        cell.into_iter()
            .chain(roots.map(|index| self.roots.read::<prefix_root>(index).value))
    }

    /// Longest match, 0 when none; exactly what the kernel does.
    pub fn lookup(&self, address: &[u8; 16]) -> u32 {
        let root: prefix_root = self.roots.read(prefix_root_index(address));
        let lengths = [(root.lengths[0], 128u32), (root.lengths[1], 64)];
        for (mut bits, longest) in lengths {
            while bits != 0 {
                let length = longest - bits.trailing_zeros();
                bits &= bits - 1;
                let value = self.cells.get(&masked_key(address, length));
                if value != 0 {
                    return value;
                }
            }
        }
        root.value
    }

    fn roots_under(prefix: &Prefix) -> std::ops::Range<u32> {
        let first = prefix.root();
        first..first + (1 << (ROOT_BITS - prefix.own_length()))
    }

    fn spread(&mut self, prefix: &Prefix, value: u32) {
        let length = prefix.own_length();
        for index in Self::roots_under(prefix) {
            let held = self.short_length[index as usize];
            if held == NO_SHORT || held <= length {
                self.short_length[index as usize] = length;
                self.set_root(index, |root| root.value = value);
            }
        }
    }

    fn remove_short(&mut self, prefix: &Prefix) -> bool {
        let length = prefix.own_length();
        if self.short.remove(&(prefix.root(), length)).is_none() {
            return false;
        }
        for index in Self::roots_under(prefix) {
            if self.short_length[index as usize] != length {
                continue;
            }
            let shorter = (0..length).rev().find_map(|length| {
                let value = self.short.get(&(covering(index, length), length))?;
                Some((length, *value))
            });
            let (length, value) = shorter.unwrap_or((NO_SHORT, 0));
            self.short_length[index as usize] = length;
            self.set_root(index, |root| root.value = value);
        }
        true
    }

    fn set_root(&mut self, index: u32, change: impl FnOnce(&mut prefix_root)) {
        let mut root: prefix_root = self.roots.read(index);
        change(&mut root);
        self.roots.write(index, &root);
    }
}

/// The root of the first address of the prefix of `length` around a root.
fn covering(root: u32, length: u8) -> u32 {
    let low = (1 << (ROOT_BITS - length)) - 1;
    root & !low
}

fn set_length(root: &mut prefix_root, length: u8) {
    let bit = 128 - length;
    root.lengths[usize::from(bit >> 6)] |= 1 << (bit & 63);
}

fn clear_length(root: &mut prefix_root, length: u8) {
    let bit = 128 - length;
    root.lengths[usize::from(bit >> 6)] &= !(1 << (bit & 63));
}

fn masked_key(address: &[u8; 16], length: u32) -> CellKey {
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    let masked = (u128::from_be_bytes(*address) & mask).to_be_bytes();
    let words = address_words(&masked);
    [words[0], words[1], words[2], words[3], length]
}

fn prefix_of(key: &CellKey) -> Option<Prefix> {
    let mut address = [0; 16];
    for (bytes, word) in address.chunks_exact_mut(4).zip(key) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    Some(Prefix {
        is_v4: prefix_root_index(&address) < PREFIX_V6_ROOT,
        address,
        length: u8::try_from(key[4])
            .ok()
            .filter(|length| (1..=128).contains(length))?,
    })
}

/// Root and length of a longer prefix's cell.
fn place_of(key: &CellKey) -> Option<(u32, u8)> {
    let prefix = prefix_of(key)?;
    Some((prefix_root_index(&prefix.address), prefix.length))
}
