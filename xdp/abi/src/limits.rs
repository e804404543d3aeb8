//! How large the tables are.

use serde::{Deserialize, Serialize};

use crate::consts::{CELLS_PER_BUCKET, FLOW_SLOTS};

/// Sizes of the tables. BPF arrays take their memory when they are made, so a
/// size is a decision about the host.
///
/// Sizes of hashed tables are rounded up to a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Slots of the connection table; a connection takes two.
    pub flows: u32,
    /// Frontends: one for each address, port and protocol of a Service.
    pub services: u32,
    /// Backends, over all services.
    pub backends: u32,
    /// Distinct address values: local workloads, remote pods, CIDR identities.
    pub endpoints: u32,
    /// Buckets of `service_cells`, two cells each.
    pub service_cells: u32,
    /// Buckets of `address_cells`, two cells each.
    pub address_cells: u32,
    /// Buckets of `deny_cells`, two cells each.
    pub deny_cells: u32,
    /// Buckets of `policy_cells`, two cells each.
    pub policy_cells: u32,
    /// Clients remembered for session affinity.
    pub affinities: u32,
    /// Fragmented packets in flight.
    pub fragments: u32,
    /// Flows of the L7 tier, over all workers.
    pub l7_flows: u32,
    /// Entries of `head_rules`: methods times paths that the programs match.
    pub l7_rules: u32,
    /// Bytes of the event ring.
    pub events_bytes: u32,
}

impl Default for Limits {
    /// A moderate host: 131,072 connections, 131,072 denied prefixes, 16,384
    /// frontends, 131,072 backends, 65,536 L7 flows; about 98 MB, and 8 MB more for each CPU.
    fn default() -> Self {
        Self {
            flows: 262_144,
            services: 16_384,
            backends: 131_072,
            endpoints: 65_536,
            service_cells: 16_384,
            address_cells: 131_072,
            deny_cells: 131_072,
            policy_cells: 131_072,
            affinities: 65_536,
            fragments: 8_192,
            l7_flows: 65_536,
            l7_rules: 65_536,
            events_bytes: 65_536,
        }
    }
}

impl Limits {
    /// A small set for tests and tools: a few megabytes.
    pub fn small() -> Self {
        Self {
            flows: 4_096,
            services: 256,
            backends: 1_024,
            endpoints: 1_024,
            service_cells: 256,
            address_cells: 1_024,
            deny_cells: 1_024,
            policy_cells: 1_024,
            affinities: 1_024,
            fragments: 256,
            l7_flows: 1_024,
            l7_rules: 1_024,
            events_bytes: 65_536,
        }
    }

    /// The same limits with hashed tables rounded up to powers of two and
    /// nothing below what the programs need.
    pub fn rounded(self) -> Self {
        Self {
            flows: self.flows.next_power_of_two().max(2 * FLOW_SLOTS),
            services: self.services.max(2),
            backends: self.backends.max(2),
            endpoints: self.endpoints.max(2),
            service_cells: self.service_cells.next_power_of_two(),
            address_cells: self.address_cells.next_power_of_two(),
            deny_cells: self.deny_cells.next_power_of_two(),
            policy_cells: self.policy_cells.next_power_of_two(),
            affinities: self.affinities.max(64),
            fragments: self.fragments.max(64),
            l7_flows: self.l7_flows.max(64),
            l7_rules: self.l7_rules.max(64),
            events_bytes: self.events_bytes.next_power_of_two().max(4096),
        }
    }

    /// Buckets of the connection table.
    pub fn flow_buckets(&self) -> u32 {
        self.rounded().flows / FLOW_SLOTS
    }
}

/// Buckets that hold `entries` cells at a load where probing stays short (one half).
pub fn cell_buckets(entries: u32) -> u32 {
    (entries.saturating_mul(2) / CELLS_PER_BUCKET)
        .max(1)
        .next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_tables_are_powers_of_two_at_half_load() {
        let rows = [(0, 1), (1, 1), (3, 4), (1000, 1024), (131_072, 131_072)];
        for (entries, buckets) in rows {
            assert_eq!(cell_buckets(entries), buckets, "{entries} entries");
        }
    }

    #[test]
    fn odd_sizes_are_rounded_up() {
        let limits = Limits {
            flows: 5000,
            deny_cells: 1000,
            ..Limits::small()
        }
        .rounded();
        assert_eq!((limits.flows, limits.deny_cells), (8192, 1024));
        assert_eq!(limits.rounded(), limits);
    }
}
