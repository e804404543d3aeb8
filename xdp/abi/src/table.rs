//! The array tables that the compiler writes.

use serde::{Deserialize, Serialize};

use crate::consts::{POLICY_CLASS_ENTRIES, PREFIX_ROOTS};
use crate::{Limits, types};

/// A table whose image userspace computes and writes index by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// `struct service`, by service index.
    Services,
    /// `struct cell_bucket`: address, port and protocol -> service index.
    ServiceCells,
    /// `struct backend`, by backend index.
    Backends,
    /// `struct endpoint`, by endpoint index.
    Endpoints,
    /// `struct prefix_root`: address -> endpoint index, prefixes up to /16.
    AddressRoots,
    /// `struct cell_bucket`: longer prefixes -> endpoint index.
    AddressCells,
    /// `struct prefix_root` of the deny list.
    DenyRoots,
    /// `struct cell_bucket` of the deny list.
    DenyCells,
    /// `u64`, four port classes each.
    PortClasses,
    /// `struct cell_bucket` of policy verdicts.
    PolicyCells,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 10] = [
        Self::Services,
        Self::ServiceCells,
        Self::Backends,
        Self::Endpoints,
        Self::AddressRoots,
        Self::AddressCells,
        Self::DenyRoots,
        Self::DenyCells,
        Self::PortClasses,
        Self::PolicyCells,
    ];

    /// The name of the map, and of its pin.
    pub fn map_name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::ServiceCells => "service_cells",
            Self::Backends => "backends",
            Self::Endpoints => "endpoints",
            Self::AddressRoots => "address_roots",
            Self::AddressCells => "address_cells",
            Self::DenyRoots => "deny_roots",
            Self::DenyCells => "deny_cells",
            Self::PortClasses => "port_classes",
            Self::PolicyCells => "policy_cells",
        }
    }

    /// Bytes of one entry.
    pub fn value_size(self) -> usize {
        match self {
            Self::Services => size_of::<types::service>(),
            Self::Backends => size_of::<types::backend>(),
            Self::Endpoints => size_of::<types::endpoint>(),
            Self::AddressRoots | Self::DenyRoots => size_of::<types::prefix_root>(),
            Self::ServiceCells | Self::AddressCells | Self::DenyCells | Self::PolicyCells => {
                size_of::<types::cell_bucket>()
            }
            Self::PortClasses => size_of::<u64>(),
        }
    }

    /// Entries of the table under `limits`.
    pub fn entries(self, limits: &Limits) -> u32 {
        let limits = limits.rounded();
        match self {
            Self::Services => limits.services,
            Self::Backends => limits.backends,
            Self::Endpoints => limits.endpoints,
            Self::AddressRoots | Self::DenyRoots => PREFIX_ROOTS,
            Self::ServiceCells => limits.service_cells,
            Self::AddressCells => limits.address_cells,
            Self::DenyCells => limits.deny_cells,
            Self::PolicyCells => limits.policy_cells,
            Self::PortClasses => POLICY_CLASS_ENTRIES,
        }
    }
}
