//! Tables from pinned maps: what a restarted daemon finds.

use std::collections::BTreeMap;
use std::sync::Arc;

use terrace_abi::{Limits, Table};

use super::{Cells, Image, Op, Prefixes, Tables};
use crate::directory::Directory;
use crate::l7::L7;
use crate::maglev::Ring;

/// What was read back from the pinned maps.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    pub limits: Limits,
    /// Whole images. A table that is missing, or has not the size that the
    /// limits say, counts as empty.
    pub images: BTreeMap<Table, Vec<u8>>,
    /// By the index in `maglevs`.
    pub rings: BTreeMap<u32, Arc<Ring>>,
    /// From the map `config`.
    pub policy_rev: u32,
}

impl Tables {
    /// The tables that the kernel holds. Compiling with them as the previous
    /// ones keeps indexes and ring slots. Names are not in the maps: the
    /// directory is empty until then.
    pub fn recover(recovered: Recovered) -> Self {
        let limits = recovered.limits.rounded();
        let mut images = recovered.images;
        let mut image = |table: Table| {
            let wanted = table.entries(&limits) as usize * table.value_size();
            match images.remove(&table) {
                Some(bytes) if bytes.len() == wanted => {
                    Image::from_bytes(table.value_size(), bytes)
                }
                _ => Image::new(table.entries(&limits), table.value_size()),
            }
        };
        Self {
            services: image(Table::Services),
            service_cells: Cells::new(image(Table::ServiceCells)),
            backends: image(Table::Backends),
            endpoints: image(Table::Endpoints),
            addresses: Prefixes::new(image(Table::AddressRoots), image(Table::AddressCells)),
            deny: Prefixes::new(image(Table::DenyRoots), image(Table::DenyCells)),
            port_classes: image(Table::PortClasses),
            policy: Cells::new(image(Table::PolicyCells)),
            rings: recovered.rings,
            policy_rev: recovered.policy_rev,
            directory: Directory::default(),
            l7: L7::default(),
            limits,
        }
    }

    /// Carries out one step, as the kernel's maps do. Lookups see it; to
    /// compile on the result, take it through [`Tables::recover`].
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { table, entries } => {
                for (index, bytes) in entries {
                    self.image_mut(*table).set(*index, bytes);
                }
            }
            Op::NewRing { index, ring } => {
                self.rings.insert(*index, ring.clone());
            }
            Op::PatchRing { index, entries } => {
                if let Some(ring) = self.rings.get(index) {
                    let mut patched = ring.entries();
                    entries
                        .iter()
                        .for_each(|(at, entry)| patched[*at as usize] = *entry);
                    self.rings
                        .insert(*index, Arc::new(Ring::from_entries(ring.size(), &patched)));
                }
            }
            Op::DropRing { index } => {
                self.rings.remove(index);
            }
            Op::Grace => {}
            Op::SetPolicyRev(rev) => self.policy_rev = *rev,
        }
    }

    /// What a daemon would read back from maps that hold these tables.
    pub fn read_back(&self) -> Recovered {
        Recovered {
            limits: self.limits,
            images: Table::ALL
                .iter()
                .map(|table| (*table, self.image(*table).bytes().to_vec()))
                .collect(),
            rings: self.rings.clone(),
            policy_rev: self.policy_rev,
        }
    }
}
