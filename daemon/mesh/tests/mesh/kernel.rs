//! A kernel made of byte arrays, to carry out the steps of an update.

use terrace_abi::{Limits, Table};
use terrace_mesh::{Op, Tables};

#[derive(Debug, Clone)]
pub struct Kernel {
    pub tables: Tables,
}

impl Kernel {
    pub fn new(limits: Limits) -> Self {
        Self {
            tables: Tables::new(&limits),
        }
    }

    /// What a restarted daemon reads back.
    pub fn read_back(&self) -> Tables {
        Tables::recover(self.tables.read_back())
    }

    pub fn apply_all(&mut self, ops: &[Op]) {
        ops.iter().for_each(|op| self.tables.apply(op));
    }

    /// Panics unless the kernel holds exactly these tables.
    pub fn must_be(&self, tables: &Tables) {
        for table in Table::ALL {
            let same = self.tables.image(table).bytes() == tables.image(table).bytes();
            assert!(same, "{table:?} differs");
        }
        assert_eq!(self.tables.rings, tables.rings);
        assert_eq!(self.tables.policy_rev, tables.policy_rev);
    }
}
