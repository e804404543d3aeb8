//! From wanted verdicts to the tables: in place while the port classes stay,
//! else as the other generation.

use rustc_hash::{FxHashMap, FxHashSet};
use terrace_abi::consts::{ENDPOINT_EGRESS, ENDPOINT_INGRESS, POLICY_ALLOW, POLICY_ROW};
use terrace_abi::hash::CellKey;
use terrace_abi::types::endpoint;

use super::super::full;
use super::classes::{Classes, WORDS};
use super::resolve::VERDICT_BITS;
use crate::error::Error;
use crate::objects::Direction;
use crate::tables::Tables;

/// Subject, remote (0 = any), class or row, direction -> value.
pub type Desired = FxHashMap<(u32, u32, u32, Direction), u32>;

pub struct Written {
    /// Some pair of identities may get another verdict than before.
    pub verdicts_changed: bool,
    /// The other generation is to be used.
    pub flipped: bool,
}

fn cell_key(key: &(u32, u32, u32, Direction), generation: u32) -> CellKey {
    let (subject, remote, class, direction) = *key;
    [
        subject,
        remote,
        class,
        direction as u32 | generation << 8,
        0,
    ]
}

pub fn write(
    desired: &Desired,
    classes: &Classes,
    fresh: bool,
    enforced: &FxHashMap<u32, [bool; 2]>,
    tables: &mut Tables,
) -> Result<Written, Error> {
    let flipped = !fresh && !classes.is_in(tables);
    let generation = tables.generation() ^ u32::from(flipped);
    let mut wanted: FxHashMap<CellKey, u32> = desired
        .iter()
        .map(|(key, value)| (cell_key(key, generation), *value))
        .collect();
    if flipped {
        for (subject, direction) in no_longer(enforced, tables) {
            let key = (subject, 0, POLICY_ROW, direction);
            wanted
                .entry(cell_key(&key, generation))
                .or_insert(POLICY_ALLOW);
        }
    }
    write_classes(classes, generation, tables);
    let verdicts_changed = write_cells(&wanted, tables)?;
    Ok(Written {
        verdicts_changed,
        flipped,
    })
}

fn write_classes(classes: &Classes, generation: u32, tables: &mut Tables) {
    for (i, word) in (generation * WORDS..).zip(classes.words()) {
        tables.port_classes.write(i, word);
    }
}

/// New cells first: places of removed ones rest until the next transaction.
fn write_cells(wanted: &FxHashMap<CellKey, u32>, tables: &mut Tables) -> Result<bool, Error> {
    let mut changed = false;
    let mut keys: Vec<&CellKey> = wanted.keys().collect();
    keys.sort_unstable();
    for key in keys {
        let value = wanted[key];
        let old = tables.policy.get(key);
        if old == value {
            continue;
        }
        changed |= (old ^ value) & VERDICT_BITS != 0;
        let inserted = tables.policy.insert(key, value);
        inserted.map_err(|_| full("policy_cells", "policy verdicts"))?;
    }
    let held: FxHashSet<CellKey> = tables.policy.iter().map(|(key, _)| key).collect();
    for key in held.iter().filter(|key| !wanted.contains_key(*key)) {
        changed = true;
        tables.policy.remove(key);
    }
    Ok(changed)
}

/// Workloads that the addresses still say are under policy, and that no
/// policy selects any more: the new generation lets all of theirs pass until
/// the addresses say so too.
fn no_longer(enforced: &FxHashMap<u32, [bool; 2]>, tables: &Tables) -> Vec<(u32, Direction)> {
    let mut found = Vec::new();
    for index in 1..tables.endpoints.entries() {
        let endpoint: endpoint = tables.endpoints.read(index);
        let now = enforced
            .get(&endpoint.identity)
            .copied()
            .unwrap_or_default();
        let was = [ENDPOINT_INGRESS, ENDPOINT_EGRESS].map(|flag| endpoint.flags & flag != 0);
        for direction in Direction::BOTH {
            if was[direction as usize] && !now[direction as usize] {
                found.push((endpoint.identity, direction));
            }
        }
    }
    found
}
