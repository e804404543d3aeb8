//! The tables as the kernel is to hold them, byte for byte, with what
//! userspace alone knows about them.

mod cells;
mod closed;
mod diff;
mod image;
mod lookup;
mod prefixes;
mod recover;
mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;

use terrace_abi::{Limits, Table};

use crate::directory::Directory;
use crate::l7::L7;
use crate::maglev::Ring;

pub use cells::{Cells, Full};
pub use closed::Closed;
pub(crate) use diff::{Changes, REV_STEP};
pub use diff::{Op, diff};
pub use image::Image;
pub(crate) use image::Journal;
pub use lookup::{PolicyKey, PolicyVerdict};
pub use prefixes::{Prefix, Prefixes};
pub use recover::Recovered;
pub use slots::Slots;

/// A compiled set of tables.
#[derive(Debug, Clone)]
pub struct Tables {
    pub limits: Limits,
    pub services: Image,
    pub service_cells: Cells,
    pub backends: Image,
    pub endpoints: Image,
    pub addresses: Prefixes,
    pub deny: Prefixes,
    pub port_classes: Image,
    pub policy: Cells,
    /// By the index in `maglevs`.
    pub rings: BTreeMap<u32, Arc<Ring>>,
    /// Goes up by two with a change in place, by one with a new generation.
    pub policy_rev: u32,
    pub directory: Directory,
    pub l7: L7,
}

impl Tables {
    /// Tables with nothing in them.
    pub fn new(limits: &Limits) -> Self {
        let limits = limits.rounded();
        let image = |table: Table| Image::new(table.entries(&limits), table.value_size());
        Self {
            services: image(Table::Services),
            service_cells: Cells::new(image(Table::ServiceCells)),
            backends: image(Table::Backends),
            endpoints: image(Table::Endpoints),
            addresses: Prefixes::new(image(Table::AddressRoots), image(Table::AddressCells)),
            deny: Prefixes::new(image(Table::DenyRoots), image(Table::DenyCells)),
            port_classes: image(Table::PortClasses),
            policy: Cells::new(image(Table::PolicyCells)),
            rings: BTreeMap::new(),
            policy_rev: 0,
            directory: Directory::default(),
            l7: L7::default(),
            limits,
        }
    }

    /// The bytes of one table.
    pub fn image(&self, table: Table) -> &Image {
        match table {
            Table::Services => &self.services,
            Table::ServiceCells => self.service_cells.image(),
            Table::Backends => &self.backends,
            Table::Endpoints => &self.endpoints,
            Table::AddressRoots => self.addresses.roots(),
            Table::AddressCells => self.addresses.cells().image(),
            Table::DenyRoots => self.deny.roots(),
            Table::DenyCells => self.deny.cells().image(),
            Table::PortClasses => &self.port_classes,
            Table::PolicyCells => self.policy.image(),
        }
    }

    pub(crate) fn image_mut(&mut self, table: Table) -> &mut Image {
        match table {
            Table::Services => &mut self.services,
            Table::ServiceCells => self.service_cells.image_mut(),
            Table::Backends => &mut self.backends,
            Table::Endpoints => &mut self.endpoints,
            Table::AddressRoots => self.addresses.roots_mut(),
            Table::AddressCells => self.addresses.cells_mut().image_mut(),
            Table::DenyRoots => self.deny.roots_mut(),
            Table::DenyCells => self.deny.cells_mut().image_mut(),
            Table::PortClasses => &mut self.port_classes,
            Table::PolicyCells => self.policy.image_mut(),
        }
    }

    /// The generation of the policy that the programs use.
    pub fn generation(&self) -> u32 {
        self.policy_rev & 1
    }

    /// What makes every flow be judged again when it is next seen: for what has changed
    /// beside the tables.
    pub fn look_again(&mut self) -> Op {
        self.policy_rev = self.policy_rev.wrapping_add(REV_STEP);
        Op::SetPolicyRev(self.policy_rev)
    }

    /// Cells that were freed may be used again: their grace period is over.
    pub(crate) fn settle(&mut self) {
        self.service_cells.settle();
        self.addresses.cells_mut().settle();
        self.deny.cells_mut().settle();
        self.policy.settle();
    }

    /// As a new compilation finds them: everything settled, and no short
    /// prefix claimed yet.
    pub(crate) fn restart(&mut self) {
        self.settle();
        self.addresses.unclaim();
        self.deny.unclaim();
        self.directory = Directory::default();
        self.l7 = L7::default();
    }
}
