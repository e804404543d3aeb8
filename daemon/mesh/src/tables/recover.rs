//! Tables from pinned maps: what a restarted daemon finds.

use std::collections::BTreeMap;
use std::sync::Arc;

use terrace_abi::{Limits, Table};

use super::{Cells, Image, Prefixes, Tables};
use crate::directory::Directory;
use crate::maglev::Ring;

/// What was read back from the pinned maps.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    pub limits: Limits,
    /// Whole images. A table that is missing, or has not the size that the
    /// limits say, counts as empty.
    pub images: BTreeMap<Table, Vec<u8>>,
    /// Size and entries of each ring, by its index in `maglevs`.
    pub rings: BTreeMap<u32, (u32, Vec<u64>)>,
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
        let rings = recovered.rings.into_iter();
        Self {
            services: image(Table::Services),
            service_cells: Cells::new(image(Table::ServiceCells)),
            backends: image(Table::Backends),
            endpoints: image(Table::Endpoints),
            addresses: Prefixes::new(image(Table::AddressRoots), image(Table::AddressCells)),
            deny: Prefixes::new(image(Table::DenyRoots), image(Table::DenyCells)),
            port_classes: image(Table::PortClasses),
            policy: Cells::new(image(Table::PolicyCells)),
            rings: rings
                .map(|(index, (size, entries))| {
                    (index, Arc::new(Ring::from_entries(size, &entries)))
                })
                .collect(),
            policy_rev: recovered.policy_rev,
            directory: Directory::default(),
            limits,
        }
    }
}
