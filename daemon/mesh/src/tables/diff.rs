//! The smallest update from one set of tables to the next, in an order that
//! never lets a packet see a reference to something that is not there yet.

mod stages;

use std::collections::BTreeMap;
use std::sync::Arc;

use terrace_abi::Table;

use super::Tables;
use crate::maglev::Ring;
use stages::Stages;

/// One step. They are to be carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Index and bytes of entries of one table.
    Write {
        table: Table,
        entries: Vec<(u32, Vec<u8>)>,
    },
    /// A new inner map, put in place of whatever `index` held.
    NewRing {
        index: u32,
        ring: Arc<Ring>,
    },
    /// Entries of the ring that is there.
    PatchRing {
        index: u32,
        entries: Vec<(u32, u64)>,
    },
    DropRing {
        index: u32,
    },
    /// Wait until no program runs that was running before.
    Grace,
    /// Write `config.policy_rev`: flows are looked at again when next seen.
    SetPolicyRev(u32),
}

/// A policy revision that keeps its generation: bit 0.
pub(crate) const REV_STEP: u32 = 2;

/// A ring with more changed entries than one in so many is swapped whole.
const SWAP_RING_SHARE: usize = 4;

/// The steps from `old` to `new`. `new` must have been compiled with `old` as
/// the previous tables, and both have the same limits.
pub fn diff(old: &Tables, new: &Tables) -> Vec<Op> {
    let tables = Table::ALL
        .iter()
        .map(|table| (*table, new.image(*table).changed_from(old.image(*table))))
        .collect();
    let indexes = old.rings.keys().chain(new.rings.keys());
    let rings = indexes
        .filter(|index| !same_ring(old.rings.get(index), new.rings.get(index)))
        .map(|index| (*index, old.rings.get(index).cloned()))
        .collect();
    Changes {
        tables,
        rings,
        policy_rev: old.policy_rev,
    }
    .ops(new)
}

fn same_ring(old: Option<&Arc<Ring>>, new: Option<&Arc<Ring>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
        (old, new) => old.is_none() && new.is_none(),
    }
}

/// What differs, with what was there before.
pub(crate) struct Changes<'o> {
    /// Index and former bytes.
    pub tables: BTreeMap<Table, Vec<(u32, &'o [u8])>>,
    pub rings: BTreeMap<u32, Option<Arc<Ring>>>,
    pub policy_rev: u32,
}

impl Changes<'_> {
    pub fn ops(&self, new: &Tables) -> Vec<Op> {
        let mut stages = Stages::new(self, new);
        // What is referred to comes before what refers to it.
        stages.records_set(Table::Backends);
        stages.rings(false);
        stages.records_set(Table::Services);
        stages.rings(true);
        stages.cells_set(Table::ServiceCells);
        stages.policy_set();
        stages.records_set(Table::Endpoints);
        stages.prefixes(Table::AddressCells, Table::AddressRoots);
        stages.prefixes(Table::DenyCells, Table::DenyRoots);
        stages.cells_cleared(Table::ServiceCells);
        stages.policy_cleared(false);
        stages.policy_done(false);
        // Nothing refers to the rest once the running programs are done.
        if stages.leaves_something() {
            stages.push(Op::Grace);
        }
        for table in [Table::ServiceCells, Table::AddressCells, Table::DenyCells] {
            stages.cells_late(table);
        }
        for table in [Table::Services, Table::Backends, Table::Endpoints] {
            stages.records_cleared(table);
        }
        stages.rings_dropped();
        stages.policy_cleared(true);
        stages.cells_late(Table::PolicyCells);
        stages.policy_done(true);
        if stages.clears_late() {
            stages.push(Op::Grace);
        }
        stages.ops
    }
}
