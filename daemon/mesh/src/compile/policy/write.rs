//! From wanted verdicts to the tables: in place while the port classes stay,
//! else as the other generation.

use rustc_hash::{FxHashMap, FxHashSet};
use terrace_abi::consts::{ENDPOINT_EGRESS, ENDPOINT_INGRESS, POLICY_ALLOW, POLICY_ROW};
use terrace_abi::hash::CellKey;
use terrace_abi::types::endpoint;

use super::super::full;
use super::Compiled;
use super::classes::{Classes, WORDS};
use super::resolve::decisive;
use crate::error::Error;
use crate::objects::Direction;
use crate::tables::Tables;

/// Subject, remote (0 = any), class or row, direction -> value.
pub type Desired = FxHashMap<(u32, u32, u32, Direction), u32>;

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

/// True when some pair of identities may get another verdict than before.
pub fn write(compiled: &Compiled, flips: bool, tables: &mut Tables) -> Result<bool, Error> {
    let generation = tables.generation() ^ u32::from(flips);
    let desired = compiled.desired.iter();
    let mut wanted: FxHashMap<CellKey, u32> = desired
        .map(|(key, value)| (cell_key(key, generation), *value))
        .collect();
    if flips {
        for (subject, direction) in no_longer(&compiled.enforced, tables) {
            let key = (subject, 0, POLICY_ROW, direction);
            wanted
                .entry(cell_key(&key, generation))
                .or_insert(POLICY_ALLOW);
        }
    }
    write_classes(&compiled.classes, generation, tables);
    write_cells(&wanted, tables)
}

/// Gives identities the rows and cells that others have as remotes, in the
/// generation in use: pairs of former and new.
pub fn copy_remotes(pairs: &[(u32, u32)], tables: &mut Tables) -> Result<(), Error> {
    let mut copies: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for (former, new) in pairs {
        copies.entry(*former).or_default().push(*new);
    }
    if copies.is_empty() {
        return Ok(());
    }
    let held: Vec<(CellKey, u32)> = tables.policy.iter().collect();
    for (mut key, value) in held {
        for new in copies.get(&key[1]).into_iter().flatten() {
            key[1] = *new;
            let inserted = tables.policy.insert(&key, value);
            inserted.map_err(|_| full("policy_cells", "policy verdicts"))?;
        }
    }
    Ok(())
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
        changed |= decisive(old) != decisive(value);
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
