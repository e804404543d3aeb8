//! Maglev rings: one inner map for each set of backends.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::Ordering;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle, MapType};

use super::Maps;
use super::tables::write_array;
use crate::Error;
use crate::sys::Words;

const TABLE: &str = "maglevs";
const ENTRY: usize = size_of::<u64>();

impl Maps {
    /// Makes a ring of these entries and puts it in place of the one before, if
    /// any: a packet sees the old ring or the new one. An entry is two backend
    /// indexes, the even slot in the low half.
    pub fn set_ring(&self, index: u32, entries: &[u64]) -> Result<(), Error> {
        self.set_rings([(index, entries)])
    }

    /// Like [`Maps::set_ring`] for many rings; the kernel waits for one grace
    /// period instead of one for each (Linux 6.8). Each is asked for when its turn
    /// comes: all of them at once may be a gigabyte.
    pub fn set_rings<Entries: AsRef<[u64]>>(
        &self,
        rings: impl IntoIterator<Item = (u32, Entries)>,
    ) -> Result<(), Error> {
        let mut rings = rings.into_iter().peekable();
        while rings.peek().is_some() {
            let made: Vec<(u32, MapHandle)> = rings
                .by_ref()
                .take(MAX_OPEN)
                .map(|(index, entries)| Ok((index, make_ring(entries.as_ref())?)))
                .collect::<Result<_, Error>>()?;
            let values: Vec<(u32, [u8; 4])> = made
                .iter()
                .map(|(index, ring)| (*index, (ring.as_fd().as_raw_fd() as u32).to_ne_bytes()))
                .collect();
            let entries = values
                .iter()
                .map(|(index, value)| (*index, value.as_slice()));
            write_array(self.map(TABLE), TABLE, 4, entries)?;
        }
        Ok(())
    }

    /// Changes single entries of a ring in place, each at once.
    pub fn patch_ring(&self, index: u32, entries: &[(u32, u64)]) -> Result<(), Error> {
        let write_error = |what| Error::Write {
            table: TABLE,
            source: io::Error::other(what),
        };
        let missing = || write_error(format!("there is no ring {index}"));
        let ring = self.ring_map(index)?.ok_or_else(missing)?;
        let words = words(&ring)?;
        for &(slot, entry) in entries {
            if !words.store(slot, entry) {
                return Err(write_error(format!("ring {index} has no entry {slot}")));
            }
        }
        Ok(())
    }

    /// Removes a ring; one that is not there is no error.
    pub fn drop_ring(&self, index: u32) -> Result<(), Error> {
        match self.map(TABLE).delete(&index.to_ne_bytes()) {
            Err(error) if error.kind() != libbpf_rs::ErrorKind::NotFound => Err(Error::Write {
                table: TABLE,
                source: crate::error::io(error),
            }),
            _ => Ok(()),
        }
    }

    /// The entries of a ring; `None` if there is none.
    pub fn ring(&self, index: u32) -> Result<Option<Vec<u64>>, Error> {
        let Some(ring) = self.ring_map(index)? else {
            return Ok(None);
        };
        let words = words(&ring)?;
        let entries = words.all().iter().map(|word| word.load(Ordering::Acquire));
        Ok(Some(entries.collect()))
    }

    fn ring_map(&self, index: u32) -> Result<Option<MapHandle>, Error> {
        let read_error = |error| Error::Read {
            table: TABLE,
            source: crate::error::io(error),
        };
        let id = self
            .map(TABLE)
            .lookup(&index.to_ne_bytes(), MapFlags::ANY)
            .map_err(read_error)?
            .and_then(|id| id.first_chunk::<4>().map(|id| u32::from_ne_bytes(*id)));
        id.map(MapHandle::from_map_id)
            .transpose()
            .map_err(read_error)
    }
}

/// Rings whose descriptors are open at one time.
const MAX_OPEN: usize = 256;

fn make_ring(entries: &[u64]) -> Result<MapHandle, Error> {
    let ring = empty_ring(entries.len())?;
    let words = words(&ring)?;
    for (word, entry) in words.all().iter().zip(entries) {
        word.store(*entry, Ordering::Relaxed);
    }
    Ok(ring)
}

/// An inner map. As memory it is filled 100 times faster than by system calls,
/// which copy entry by entry. Also the template of `maglevs`: flags must agree.
pub(super) fn empty_ring(entries: usize) -> Result<MapHandle, Error> {
    let opts = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
        map_flags: libbpf_sys::BPF_F_INNER_MAP | libbpf_sys::BPF_F_MMAPABLE,
        ..Default::default()
    };
    let entries = entries.max(1) as u32;
    MapHandle::create(
        MapType::Array,
        Some("ring"),
        4,
        ENTRY as u32,
        entries,
        &opts,
    )
    .map_err(write_error)
}

fn words(ring: &MapHandle) -> Result<Words, Error> {
    Words::map(ring.as_fd(), ring.max_entries() as usize).map_err(|source| Error::Write {
        table: TABLE,
        source,
    })
}

fn write_error(error: libbpf_rs::Error) -> Error {
    Error::Write {
        table: TABLE,
        source: crate::error::io(error),
    }
}
