//! A kernel made of byte arrays, to carry out the steps of an update.

use std::collections::BTreeMap;

use terrace_abi::{Limits, Table};
use terrace_mesh::{Op, Recovered, Tables};

#[derive(Debug, Clone)]
pub struct Kernel {
    pub state: Recovered,
}

impl Kernel {
    pub fn new(limits: Limits) -> Self {
        let limits = limits.rounded();
        let image = |table: &Table| vec![0; table.entries(&limits) as usize * table.value_size()];
        Self {
            state: Recovered {
                limits,
                images: Table::ALL
                    .iter()
                    .map(|table| (*table, image(table)))
                    .collect(),
                rings: BTreeMap::new(),
                policy_rev: 0,
            },
        }
    }

    pub fn tables(&self) -> Tables {
        Tables::recover(self.state.clone())
    }

    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { table, entries } => {
                let image = self
                    .state
                    .images
                    .get_mut(table)
                    .expect("as the tests write it");
                for (index, bytes) in entries {
                    let start = *index as usize * table.value_size();
                    image[start..start + table.value_size()].copy_from_slice(bytes);
                }
            }
            Op::NewRing {
                index,
                size,
                entries,
            } => {
                self.state.rings.insert(*index, (*size, entries.clone()));
            }
            Op::PatchRing { index, entries } => {
                let (_, ring) = self.state.rings.get_mut(index).expect("a ring to patch");
                for (at, entry) in entries {
                    ring[*at as usize] = *entry;
                }
            }
            Op::DropRing { index } => {
                self.state.rings.remove(index).expect("a ring to drop");
            }
            Op::Grace => {}
            Op::SetPolicyRev(rev) => self.state.policy_rev = *rev,
        }
    }

    pub fn apply_all(&mut self, ops: &[Op]) {
        ops.iter().for_each(|op| self.apply(op));
    }

    /// Panics unless the kernel holds exactly these tables.
    pub fn must_be(&self, tables: &Tables) {
        for table in Table::ALL {
            let same = self.state.images[&table] == tables.image(table).bytes();
            assert!(same, "{table:?} differs");
        }
        let held = self.tables();
        assert_eq!(held.rings, tables.rings);
        assert_eq!(held.policy_rev, tables.policy_rev);
    }
}
