//! Carries out what the compiler decided on the pinned tables.

use anyhow::Result;
use terrace_abi::{Maps, types};
use terrace_mesh::Op;

/// Carries out `ops` in their order.
pub fn apply(maps: &Maps, ops: &[Op]) -> Result<()> {
    ops.iter().try_for_each(|op| step(maps, op))
}

fn step(maps: &Maps, op: &Op) -> Result<()> {
    match op {
        Op::Write { table, entries } => maps.write_table(*table, entries)?,
        Op::NewRing { index, entries, .. } => maps.set_ring(*index, entries)?,
        Op::PatchRing { index, entries } => maps.patch_ring(*index, entries)?,
        Op::DropRing { index } => maps.drop_ring(*index)?,
        Op::Grace => maps.grace()?,
        Op::SetPolicyRev(policy_rev) => {
            let config = types::config {
                policy_rev: *policy_rev,
                ..maps.config()?
            };
            maps.set_config(&config)?;
        }
    }
    Ok(())
}
