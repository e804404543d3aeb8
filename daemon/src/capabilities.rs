//! The capabilities that the daemon needs, and what for. The unit file grants
//! exactly these; `tests/runtime/confined.rs` runs the daemon under it.

use anyhow::{Context, Result, bail};
use rustix::thread::{CapabilitySet, capabilities};

/// Name, bit, and what fails without it.
pub const NEEDED: [(&str, CapabilitySet, &str); 2] = [
    (
        "CAP_NET_ADMIN",
        CapabilitySet::NET_ADMIN,
        "attach programs, resolve neighbours and set sysctls of the network",
    ),
    (
        // BPF_MAP_GET_FD_BY_ID and BPF_PROG_GET_FD_BY_ID ask for it, even of
        // those who have CAP_BPF (kernel/bpf/syscall.c, 6.18): rings are inner
        // maps, which no pin leads to.
        "CAP_SYS_ADMIN",
        CapabilitySet::SYS_ADMIN,
        "load programs, and open rings and attached programs by their number",
    ),
];

/// # Errors
/// Every capability that this process lacks.
pub fn check() -> Result<()> {
    let held = capabilities(None).context("read this process's capabilities")?;
    let missing = missing(held.effective);
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "not permitted to {}; run it as root, or under the unit terrace.service",
        missing.join("; nor to ")
    )
}

fn missing(held: CapabilitySet) -> Vec<String> {
    let lacks = NEEDED.iter().filter(|(_, bit, _)| !held.contains(*bit));
    lacks
        .map(|(name, _, purpose)| format!("{purpose} ({name})"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_capability_is_named_with_its_purpose() {
        let none = missing(CapabilitySet::empty());
        assert_eq!(none.len(), NEEDED.len());
        assert!(none[0].ends_with("(CAP_NET_ADMIN)"), "{none:?}");
        let all = NEEDED
            .iter()
            .fold(CapabilitySet::empty(), |set, (_, bit, _)| set | *bit);
        assert_eq!(missing(all), [""; 0]);
    }

    #[test]
    fn the_unit_file_grants_exactly_what_is_needed() {
        let unit = include_str!("../systemd/terrace.service");
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
        let mut granted: Vec<_> = line.unwrap().split_whitespace().collect();
        let mut needed: Vec<_> = NEEDED.iter().map(|(name, _, _)| *name).collect();
        granted.sort_unstable();
        needed.sort_unstable();
        assert_eq!(granted, needed);
    }
}
