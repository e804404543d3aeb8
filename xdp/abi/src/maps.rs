//! The pinned tables, as userspace reads and writes them.

mod create;
mod events;
mod flows;
mod heads;
mod ifaces;
mod l7;
mod rings;
mod run;
mod stats;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle};

pub use create::default_config;
pub use events::Events;
pub use flows::{FlowEntry, Flows};
pub use l7::L7Tables;
pub use run::PacketRun;
pub use stats::ReasonCount;

use crate::error::io;
use crate::object::{Constant, machine_constants};
use crate::{Error, Limits, Plain, Program, types};

/// All tables of one pin root. Any number of processes may have them open; one
/// of them, the daemon, writes.
#[derive(Debug)]
pub struct Maps {
    root: PathBuf,
    limits: Limits,
    handles: BTreeMap<String, MapHandle>,
    programs: Vec<Program>,
    grace: MapHandle,
    grace_inner: MapHandle,
    /// Held while a program runs that writes `traces`.
    dry_run: Mutex<()>,
}

impl Maps {
    /// Opens the tables under `root`; makes and pins those that are missing,
    /// with the sizes of `limits`. Refuses tables of another ABI version or size.
    pub fn open(root: &Path, limits: &Limits) -> Result<Self, Error> {
        create::open(root, limits)
    }

    /// Opens tables that exist, whatever their sizes.
    pub fn open_existing(root: &Path) -> Result<Self, Error> {
        create::open_existing(root)
    }

    /// The pin root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The sizes of the tables.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A table by its name in maps.h.
    pub fn handle(&self, name: &str) -> Option<&MapHandle> {
        self.handles.get(name)
    }

    /// The configuration that the programs read.
    pub fn config(&self) -> Result<types::config, Error> {
        self.get("config", 0)
    }

    /// Replaces the configuration. `abi_version` is always this program's.
    pub fn set_config(&self, config: &types::config) -> Result<(), Error> {
        let config = types::config {
            abi_version: crate::consts::ABI_VERSION,
            ..*config
        };
        self.set("config", 0, &config)
    }

    /// Constants that every object gets from the sizes of the tables.
    pub(crate) fn masks(&self) -> Vec<Constant> {
        let limits = self.limits.rounded();
        let mask = |entries: u32| u64::from(entries - 1);
        let mut constants = vec![
            ("flow_mask", mask(limits.flow_buckets())),
            ("service_mask", mask(limits.service_cells)),
            ("address_mask", mask(limits.address_cells)),
            ("deny_mask", mask(limits.deny_cells)),
            ("policy_mask", mask(limits.policy_cells)),
        ];
        constants.extend(machine_constants());
        constants
    }

    fn map(&self, name: &'static str) -> &MapHandle {
        self.handles
            .get(name)
            .expect("open() has checked that every table is there")
    }

    fn get<T: Plain>(&self, table: &'static str, index: u32) -> Result<T, Error> {
        let bytes = self
            .map(table)
            .lookup(&index.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| Error::Read {
                table,
                source: io(error),
            })?;
        let value = bytes.as_deref().and_then(T::from_bytes);
        Ok(value.expect("arrays have all their entries, and open() has checked their sizes"))
    }

    fn set<T: Plain>(&self, table: &'static str, index: u32, value: &T) -> Result<(), Error> {
        self.map(table)
            .update(&index.to_ne_bytes(), value.as_bytes(), MapFlags::ANY)
            .map_err(|error| Error::Write {
                table,
                source: io(error),
            })
    }
}
