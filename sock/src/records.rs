//! The table of connected sockets: who is in it, and the end of records whose
//! socket is gone without a close() of its own.

use std::os::fd::AsFd as _;

use libbpf_rs::{MapCore as _, MapHandle};
use terrace_abi::consts::SOCKET_WAYS;
use terrace_abi::{Maps, Plain as _, Program, sys, types};

use crate::Error;
use crate::objects::{self, Own};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/records.bpf.o"));
const TABLE: &str = "socket_records";

/// Iterators over the table.
#[derive(Debug)]
pub struct Records {
    programs: Vec<Program>,
    own: Own,
}

impl Records {
    /// Loads the iterators on the maps of the socket tier.
    pub fn load(maps: &Maps, max_entries: u32) -> Result<Self, Error> {
        let loaded = objects::load("records", OBJECT, maps, &[], max_entries)?;
        Ok(Self {
            programs: loaded.programs,
            own: Own::new(loaded.maps),
        })
    }

    /// The loaded programs, for their sizes.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Every socket of the table, in all network namespaces.
    pub fn list(&self) -> Result<Vec<types::socket_row>, Error> {
        rows(&self.programs, "list_records", self.own.map(TABLE)?)
    }

    /// Those of them that may have to end with their backend.
    pub(crate) fn ending(&self) -> Result<Vec<types::socket_row>, Error> {
        rows(&self.programs, "list_ending", self.own.map(TABLE)?)
    }

    /// Gives back the records of sockets that are gone. A socket that its
    /// process closes gives its own back; those of the kernel do not, nor does
    /// one that was closed while no program was attached.
    pub fn sweep(&self) -> Result<Swept, Error> {
        let bytes = iterate(&self.programs, "sweep_records", Some(self.own.map(TABLE)?))?;
        let found = bytes
            .chunks_exact(size_of::<types::socket_sweep>())
            .filter_map(types::socket_sweep::from_bytes);
        Ok(found.fold(Swept::default(), |sum, bucket| Swept {
            used: sum.used + bucket.used as usize,
            swept: sum.swept + bucket.swept as usize,
        }))
    }

    /// Sockets that the table has room for.
    pub fn capacity(&self) -> Result<usize, Error> {
        Ok((self.own.map(TABLE)?.max_entries() * SOCKET_WAYS) as usize)
    }
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Records that are in use.
    pub used: usize,
    /// Records whose sockets were gone.
    pub swept: usize,
}

/// What an iterator tells about a map of sockets.
pub(crate) fn rows(
    programs: &[Program],
    name: &str,
    map: &MapHandle,
) -> Result<Vec<types::socket_row>, Error> {
    let bytes = iterate(programs, name, Some(map))?;
    let rows = bytes.chunks_exact(size_of::<types::socket_row>());
    Ok(rows.filter_map(types::socket_row::from_bytes).collect())
}

/// Runs one of an object's iterators to its end.
pub(crate) fn iterate(
    programs: &[Program],
    name: &str,
    map: Option<&MapHandle>,
) -> Result<Vec<u8>, Error> {
    let program = programs.iter().find(|program| program.name() == name);
    let program = program.expect("the object has this program");
    sys::iterate(program.as_fd(), map.map(|map| map.as_fd())).map_err(|source| Error::Ask {
        what: format!("its sockets ({name})"),
        source,
    })
}
