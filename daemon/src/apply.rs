//! Carries out what the compiler decided, step by step, on the pinned tables.
//!
//! An apply that fails or dies half way leaves tables that every program can
//! still read: each step keeps what it refers to. The next apply starts from
//! what the tables then hold (`recover`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use terrace_abi::consts::CONFIG_DENY_LIST;
use terrace_abi::{Maps, Table, types};
use terrace_mesh::maglev::Ring;
use terrace_mesh::{Op, Recovered, Tables};

/// What an apply did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    pub steps: usize,
    /// Table entries and ring entries written.
    pub entries: usize,
    pub took: Duration,
}

/// Carries out `ops` in their order.
///
/// # Errors
/// The kernel refused a step; those before it are done.
pub fn apply(maps: &Maps, ops: &[Op]) -> Result<Applied> {
    let start = Instant::now();
    look_at_deny_list(maps, ops)?;
    let mut entries = 0;
    let mut rest = ops;
    while let Some(op) = rest.first() {
        let rings = new_rings(rest);
        if rings.is_empty() {
            entries += step(maps, op).with_context(|| describe(op))?;
            rest = &rest[1..];
        } else {
            // One grace period for all of them instead of one for each.
            entries += rings
                .iter()
                .map(|(_, ring)| entries_of(ring))
                .sum::<usize>();
            maps.set_rings(rings.iter().map(|(index, ring)| (*index, ring.entries())))
                .with_context(|| format!("write {} rings", rings.len()))?;
            rest = &rest[rings.len()..];
        }
    }
    Ok(Applied {
        steps: ops.len(),
        entries,
        took: start.elapsed(),
    })
}

/// The programs look at the deny list before it has entries: a flow that gets
/// the new policy revision has been held against it.
fn look_at_deny_list(maps: &Maps, ops: &[Op]) -> Result<()> {
    let denies = |op: &Op| match op {
        Op::Write { table, .. } => matches!(table, Table::DenyRoots | Table::DenyCells),
        _ => false,
    };
    if !ops.iter().any(denies) {
        return Ok(());
    }
    let mut config = maps.config()?;
    config.flags |= CONFIG_DENY_LIST;
    Ok(maps.set_config(&config)?)
}

/// The new rings at the head of `ops`.
fn new_rings(ops: &[Op]) -> Vec<(u32, &Ring)> {
    ops.iter()
        .map_while(|op| match op {
            Op::NewRing { index, ring } => Some((*index, &**ring)),
            _ => None,
        })
        .collect()
}

/// Two slots are one.
fn entries_of(ring: &Ring) -> usize {
    ring.size().div_ceil(2) as usize
}

fn step(maps: &Maps, op: &Op) -> Result<usize> {
    match op {
        Op::Write { table, entries } => {
            maps.write_table(*table, entries)?;
            Ok(entries.len())
        }
        Op::NewRing { index, ring } => {
            maps.set_ring(*index, &ring.entries())?;
            Ok(entries_of(ring))
        }
        Op::PatchRing { index, entries } => {
            maps.patch_ring(*index, entries)?;
            Ok(entries.len())
        }
        Op::DropRing { index } => {
            maps.drop_ring(*index)?;
            Ok(1)
        }
        Op::Grace => {
            maps.grace()?;
            Ok(0)
        }
        Op::SetPolicyRev(policy_rev) => {
            let config = types::config {
                policy_rev: *policy_rev,
                ..maps.config()?
            };
            maps.set_config(&config)?;
            Ok(1)
        }
    }
}

fn describe(op: &Op) -> String {
    match op {
        Op::Write { table, entries } => {
            format!("write {} entries of {}", entries.len(), table.map_name())
        }
        Op::NewRing { index, .. } => format!("write ring {index}"),
        Op::PatchRing { index, .. } => format!("change ring {index}"),
        Op::DropRing { index } => format!("remove ring {index}"),
        Op::Grace => "wait for a grace period".to_owned(),
        Op::SetPolicyRev(rev) => format!("set policy revision {rev}"),
    }
}

/// Reads the tables back: of an earlier daemon, or after a failed apply.
///
/// # Errors
/// The kernel refused to let a table be read.
pub fn recover(maps: &Maps) -> Result<Tables> {
    let mut recovered = Recovered {
        limits: *maps.limits(),
        policy_rev: maps.config()?.policy_rev,
        ..Recovered::default()
    };
    for table in Table::ALL {
        recovered.images.insert(table, maps.read_table(table)?);
    }
    let services = recovered.images.get(&Table::Services);
    for service in records::<types::service>(services.map_or(&[], Vec::as_slice)) {
        let (index, size) = (service.maglev, service.maglev_size);
        if size == 0 || recovered.rings.contains_key(&index) {
            continue;
        }
        if let Some(entries) = maps.ring(index)? {
            let ring = Ring::from_entries(size, &entries);
            recovered.rings.insert(index, Arc::new(ring));
        }
    }
    Ok(Tables::recover(recovered))
}

fn records<T: terrace_abi::Plain>(bytes: &[u8]) -> impl Iterator<Item = T> + '_ {
    bytes.chunks_exact(size_of::<T>()).filter_map(T::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_rings_that_follow_each_other_are_written_together() {
        let ring = |index| Op::NewRing {
            index,
            ring: Arc::new(Ring::from_entries(3, &[1, 2])),
        };
        let rows = [
            ("none", vec![], 0),
            ("one", vec![ring(1)], 1),
            (
                "two, then another step",
                vec![ring(1), ring(2), Op::Grace, ring(3)],
                2,
            ),
            ("another step first", vec![Op::Grace, ring(1)], 0),
        ];
        for (name, ops, expected) in rows {
            assert_eq!(new_rings(&ops).len(), expected, "{name}");
        }
    }
}
