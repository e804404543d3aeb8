//! Tables in the states between old and new.
//!
//! A bucket may hold a cell that comes and one that goes; it is written
//! several times then, each time with the cells whose turn it is.

use std::sync::Arc;

use terrace_abi::consts::POLICY_ROW;
use terrace_abi::types::{backend, cell, cell_bucket};
use terrace_abi::{Plain, Table};

use super::{Changes, Op, REV_STEP, SWAP_RING_SHARE};
use crate::maglev::Ring;
use crate::objects::Protocol;
use crate::tables::Tables;

/// When a cell takes its new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// New cells; of the policy table, cells of classes.
    Add,
    /// Rows of the policy table, and changed values.
    AddRow,
    Remove,
    /// Cells of classes, after their row.
    Last,
    /// Cells in a place that another key had: after a grace period.
    Late,
}

pub struct Stages<'c, 'o> {
    changes: &'c Changes<'o>,
    new: &'c Tables,
    pub ops: Vec<Op>,
}

impl<'c, 'o> Stages<'c, 'o> {
    pub fn new(changes: &'c Changes<'o>, new: &'c Tables) -> Self {
        Self {
            changes,
            new,
            ops: Vec::new(),
        }
    }

    pub fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    fn changed(&self, table: Table) -> &'c [(u32, &'o [u8])] {
        self.changes.tables.get(&table).map_or(&[], Vec::as_slice)
    }

    fn write(&mut self, table: Table, entries: Vec<(u32, Vec<u8>)>) {
        if !entries.is_empty() {
            self.push(Op::Write { table, entries });
        }
    }

    /// Writes records that are in use; those that are not stay for later.
    pub fn records_set(&mut self, table: Table) {
        self.records(table, false);
    }

    pub fn records_cleared(&mut self, table: Table) {
        self.records(table, true);
    }

    fn records(&mut self, table: Table, cleared: bool) {
        let image = self.new.image(table);
        let entries = self
            .changed(table)
            .iter()
            .filter(|(index, _)| image.is_zero(*index) == cleared)
            .map(|(index, _)| (*index, image.get(*index).to_vec()))
            .collect();
        self.write(table, entries);
    }

    fn all(&mut self, table: Table) {
        let image = self.new.image(table);
        let entries = self.changed(table).iter();
        let entries = entries.map(|(index, _)| (*index, image.get(*index).to_vec()));
        self.write(table, entries.collect());
    }

    /// Rings that grow come before the services that say their size, rings
    /// that shrink after them: a slot is inside the ring at any moment.
    pub fn rings(&mut self, shrink: bool) {
        let changes = self.changes;
        for (index, old) in &changes.rings {
            let Some(new) = self.new.rings.get(index) else {
                continue;
            };
            let old_size = old.as_ref().map_or(0, |old| old.size());
            if (new.size() < old_size) == shrink {
                let op = ring_op(*index, old.as_deref(), new);
                self.push(op);
            }
        }
    }

    pub fn rings_dropped(&mut self) {
        for index in self.changes.rings.keys() {
            if !self.new.rings.contains_key(index) {
                self.ops.push(Op::DropRing { index: *index });
            }
        }
    }

    pub fn cells_set(&mut self, table: Table) {
        self.cells(table, Turn::Add);
        self.cells(table, Turn::AddRow);
    }

    pub fn cells_cleared(&mut self, table: Table) {
        self.cells(table, Turn::Remove);
        self.cells(table, Turn::Last);
    }

    /// Cells that wait for the grace period.
    pub fn cells_late(&mut self, table: Table) {
        self.cells(table, Turn::Late);
    }

    /// Longer prefixes come before the bit that leads to them, and go after it.
    pub fn prefixes(&mut self, cells: Table, roots: Table) {
        self.cells_set(cells);
        self.all(roots);
        self.cells_cleared(cells);
    }

    /// The buckets that change when cells take this turn.
    fn cells(&mut self, table: Table, turn: Turn) {
        let mut entries = Vec::new();
        for (index, old) in self.changed(table) {
            let old: cell_bucket = Plain::from_bytes(old).expect("a bucket");
            let new: cell_bucket = self.new.image(table).read(*index);
            let bucket = between(table, &old, &new, Some(turn));
            if bucket.as_bytes() != between(table, &old, &new, before(turn)).as_bytes() {
                entries.push((*index, bucket.as_bytes().to_vec()));
            }
        }
        self.write(table, entries);
    }

    fn flips(&self) -> bool {
        self.changes.policy_rev & 1 != self.new.generation()
    }

    /// New cells and classes; a new generation comes into use once it is whole.
    pub fn policy_set(&mut self) {
        self.cells_set(Table::PolicyCells);
        self.all(Table::PortClasses);
        if self.flips() {
            self.push(Op::SetPolicyRev(self.changes.policy_rev.wrapping_add(1)));
        }
    }

    /// Cells that go: at once within a generation, those of the former
    /// generation when no program looks at it any more.
    pub fn policy_cleared(&mut self, after_grace: bool) {
        if self.flips() == after_grace {
            self.cells_cleared(Table::PolicyCells);
        }
    }

    /// Flows are looked at again when all else is in place: with cells that
    /// wait for the grace period, once before and once after.
    pub fn policy_done(&mut self, late: bool) {
        let set = self.ops.iter().rev().find_map(|op| match op {
            Op::SetPolicyRev(rev) => Some(*rev),
            _ => None,
        });
        let set = set.unwrap_or(self.changes.policy_rev);
        let last = self.new.policy_rev;
        let now = match late || !self.writes_late() {
            true => last,
            false => last.wrapping_sub(REV_STEP),
        };
        if set != last && set != now {
            self.push(Op::SetPolicyRev(now));
        }
    }

    /// Whether a verdict waits for the grace period, or a backend that flows
    /// of datagrams have to leave.
    fn writes_late(&self) -> bool {
        let mut backends = self.changed(Table::Backends).iter();
        let leaves = backends.any(|(index, old)| {
            let old: backend = Plain::from_bytes(old).expect("a backend");
            old.proto == Protocol::Udp.number() && self.new.backends.is_zero(*index)
        });
        if leaves {
            return true;
        }
        let tables = [Table::AddressCells, Table::DenyCells, Table::PolicyCells];
        tables.iter().any(|table| {
            self.changed(*table).iter().any(|(index, old)| {
                let old: cell_bucket = Plain::from_bytes(old).expect("a bucket");
                let new: cell_bucket = self.new.image(*table).read(*index);
                let mut cells = old.cells.iter().zip(&new.cells);
                cells.any(|(old, new)| turn_of(*table, old, new) == Turn::Late)
            })
        })
    }

    fn frees_cells(&self, table: Table) -> bool {
        self.changed(table).iter().any(|(index, old)| {
            let old: cell_bucket = Plain::from_bytes(old).expect("a bucket");
            let new: cell_bucket = self.new.image(table).read(*index);
            let mut cells = old.cells.iter().zip(&new.cells);
            cells.any(|(old, new)| old.value != 0 && (new.value == 0 || old.key != new.key))
        })
    }

    /// Whether a running program may still look at something that goes.
    pub fn leaves_something(&self) -> bool {
        let records = [Table::Services, Table::Backends, Table::Endpoints];
        let clears = |table: &Table| {
            let image = self.new.image(*table);
            self.changed(*table)
                .iter()
                .any(|(index, _)| image.is_zero(*index))
        };
        let cells = [
            Table::ServiceCells,
            Table::AddressCells,
            Table::DenyCells,
            Table::PolicyCells,
        ];
        records.iter().any(clears)
            || cells.iter().any(|table| self.frees_cells(*table))
            || self
                .changes
                .rings
                .keys()
                .any(|index| !self.new.rings.contains_key(index))
    }

    /// Whether cells were freed after the grace period.
    pub fn clears_late(&self) -> bool {
        self.flips() && self.frees_cells(Table::PolicyCells)
    }
}

fn before(turn: Turn) -> Option<Turn> {
    match turn {
        Turn::Add => None,
        Turn::AddRow => Some(Turn::Add),
        Turn::Remove => Some(Turn::AddRow),
        Turn::Last => Some(Turn::Remove),
        Turn::Late => Some(Turn::Last),
    }
}

/// The bucket once all cells up to `turn` have taken theirs.
fn between(table: Table, old: &cell_bucket, new: &cell_bucket, turn: Option<Turn>) -> cell_bucket {
    let mut bucket = *new;
    for (slot, (old, new)) in old.cells.iter().zip(&new.cells).enumerate() {
        let own = turn_of(table, old, new);
        if own == Turn::Late && (Some(Turn::Remove)..Some(Turn::Late)).contains(&turn) {
            bucket.cells[slot] = cell::default();
        } else if Some(own) > turn {
            bucket.cells[slot] = *old;
        }
    }
    bucket.overflow = match turn {
        None => old.overflow,
        // A lookup goes on past a bucket while any state needs it to.
        Some(Turn::Add | Turn::AddRow) => old.overflow.max(new.overflow),
        Some(Turn::Remove | Turn::Last | Turn::Late) => new.overflow,
    };
    bucket
}

fn turn_of(table: Table, old: &cell, new: &cell) -> Turn {
    let is_row = |cell: &cell| cell.key[2] == POLICY_ROW;
    let policy = table == Table::PolicyCells;
    match (old.value, new.value) {
        (0, 0) => Turn::Add,
        (0, _) if policy && is_row(new) => Turn::AddRow,
        (0, _) => Turn::Add,
        (_, 0) if policy && !is_row(old) => Turn::Last,
        (_, 0) => Turn::Remove,
        _ if old.key != new.key => Turn::Late,
        _ => Turn::AddRow,
    }
}

fn ring_op(index: u32, old: Option<&Ring>, new: &Arc<Ring>) -> Op {
    if let Some(old) = old.filter(|old| old.size() == new.size()) {
        let entries = new.changed_entries(old);
        if entries.len() * SWAP_RING_SHARE <= new.size() as usize / 2 {
            return Op::PatchRing { index, entries };
        }
    }
    Op::NewRing {
        index,
        ring: new.clone(),
    }
}
