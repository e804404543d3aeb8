//! Who has each backend index, so that a new one does not inherit counters.

use std::collections::HashMap;

use terrace_abi::{Plain, Table, types};
use terrace_mesh::{Op, Tables};

/// Address, port, protocol and group by index.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<u32, Owner>);

type Owner = ([u32; 4], u16, u8, u32);

impl Owners {
    pub(super) fn of(tables: &Tables) -> Self {
        let mut owners = Self::default();
        let image = tables.image(Table::Backends);
        for (index, bytes) in (0..).zip(image.bytes().chunks_exact(size_of::<types::backend>())) {
            if let Some(owner) = owner(bytes) {
                owners.0.insert(index, owner);
            }
        }
        owners
    }

    /// Notes the backends that `ops` write; those that are new to their index.
    pub(super) fn new_of(&mut self, ops: &[Op]) -> Vec<u32> {
        let mut new = Vec::new();
        for op in ops {
            let Op::Write {
                table: Table::Backends,
                entries,
            } = op
            else {
                continue;
            };
            for (index, bytes) in entries {
                if let Some(owner) = owner(bytes)
                    && self.0.insert(*index, owner) != Some(owner)
                {
                    new.push(*index);
                }
            }
        }
        new
    }
}

/// None for an empty entry.
fn owner(bytes: &[u8]) -> Option<Owner> {
    let backend = types::backend::from_bytes(bytes)?;
    let owner = (backend.addr, backend.port, backend.proto, backend.group);
    (backend.addr != [0; 4]).then_some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(index: u32, port: u16) -> Op {
        let backend = types::backend {
            addr: [0, 0, 0, 1],
            port,
            ..Default::default()
        };
        let backend = match port {
            0 => types::backend::default(),
            _ => backend,
        };
        Op::Write {
            table: Table::Backends,
            entries: vec![(index, backend.as_bytes().to_vec())],
        }
    }

    #[test]
    fn counters_start_again_only_for_a_new_owner() {
        let mut owners = Owners::default();
        let rows = [
            ("first", write(7, 80), vec![7]),
            ("same, other flags", write(7, 80), vec![]),
            ("another port", write(7, 81), vec![7]),
            ("freed", write(7, 0), vec![]),
            ("the last one again", write(7, 81), vec![]),
            ("no backend at all", Op::Grace, vec![]),
        ];
        for (name, op, expected) in rows {
            assert_eq!(owners.new_of(&[op]), expected, "{name}");
        }
    }
}
