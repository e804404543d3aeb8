//! Whole images of the compiler's tables.

use std::os::fd::AsFd as _;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle};

use super::Maps;
use crate::error::io;
use crate::{Error, Table, sys};

/// Bytes of one batch; the kernel copies a batch through a buffer of its own.
const BATCH_BYTES: usize = 1 << 20;

impl Maps {
    /// The whole table as it is now: `entries * value_size` bytes.
    pub fn read_table(&self, table: Table) -> Result<Vec<u8>, Error> {
        read_array(self.map(table.map_name()), table.map_name())
    }

    /// Writes entries, each `index -> value`. Entries are written one after the
    /// other in this order; each of them is seen by the programs word by word.
    pub fn write_table(&self, table: Table, entries: &[(u32, Vec<u8>)]) -> Result<(), Error> {
        let (name, size) = (table.map_name(), table.value_size());
        let map = self.map(name);
        let max = map.max_entries();
        for (index, value) in entries {
            if *index >= max || value.len() != size {
                let (index, bytes) = (*index, value.len());
                return Err(Error::Entry {
                    table: name,
                    entries: max,
                    size,
                    index,
                    bytes,
                });
            }
        }
        let entries = entries
            .iter()
            .map(|(index, value)| (*index, value.as_slice()));
        write_array(map, name, size, entries)
    }
}

/// Reads a whole array of `value_size` bytes an entry.
pub(super) fn read_array(map: &MapHandle, table: &'static str) -> Result<Vec<u8>, Error> {
    let size = map.value_size() as usize;
    let entries = map.max_entries() as usize;
    let mut image = vec![0; entries * size];
    let step = (BATCH_BYTES / size).max(1) * size;
    let mut at = 0;
    while at < image.len() {
        let end = (at + step).min(image.len());
        let filled = sys::lookup_batch(map.as_fd(), (at / size) as u32, size, &mut image[at..end])
            .map_err(|source| Error::Read { table, source })?;
        at += filled.max(size);
    }
    Ok(image)
}

/// Writes entries in batches.
pub(super) fn write_array<'a>(
    map: &MapHandle,
    table: &'static str,
    value_size: usize,
    entries: impl Iterator<Item = (u32, &'a [u8])>,
) -> Result<(), Error> {
    let limit = (BATCH_BYTES / value_size).max(1);
    let mut entries = entries.peekable();
    while entries.peek().is_some() {
        let (mut keys, mut values, mut count) = (Vec::new(), Vec::new(), 0u32);
        for (index, value) in entries.by_ref().take(limit) {
            keys.extend_from_slice(&index.to_ne_bytes());
            values.extend_from_slice(value);
            count += 1;
        }
        map.update_batch(&keys, &values, count, MapFlags::ANY, MapFlags::ANY)
            .map_err(|error| Error::Write {
                table,
                source: io(error),
            })?;
    }
    Ok(())
}
