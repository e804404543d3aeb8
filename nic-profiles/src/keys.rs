//! The keys of facts that rules may name. A misspelt key would make a rule that
//! never fires, so every key is either here or in one of the families.

const KEYS: &[&str] = &[
    "af_xdp.copy",
    "af_xdp.zc_max_segs",
    "af_xdp.zero_copy",
    "bond.mode",
    "bond.ports_with_program",
    "bond.ports_without_native",
    "bond.ports_without_xmit",
    "bond.xmit_policy",
    "channels.combined",
    "channels.combined_max",
    "channels.rx",
    "channels.rx_max",
    "channels.tx",
    "channels.tx_max",
    "demand.frags",
    "demand.redirect",
    "demand.redirect_target",
    "demand.tx",
    "demand.worker",
    "eswitch.mode",
    "host.cpus_possible",
    "host.kernel",
    "host.page_size",
    "id.bus",
    "id.driver",
    "id.driver_version",
    "id.in_tree",
    "id.pci",
    "link.controller",
    "link.controller_kind",
    "link.kind",
    "link.max_mtu",
    "link.mtu",
    "link.speed_mbps",
    "link.up",
    "ntuple",
    "ntuple.capacity",
    "pcie.width",
    "pcie.width_max",
    "peer.gro",
    "peer.has_program",
    "peer.mtu",
    "peer.tx_queues",
    "queues.rx",
    "queues.tx",
    "rings.hds_thresh",
    "rings.hds_thresh_max",
    "rings.rx_buf_len",
    "rings.tcp_data_split",
    "role",
    "sriov.numvfs",
    "switch_id",
    "xdp.attached_mode",
    "xdp.features",
    "xdp.foreign",
    "xsk.chunk",
];

/// Prefixes with names that the kernel, a firmware or a profile gives.
const FAMILIES: &[&str] = &["devlink.fw.", "driver.", "feat.", "priv.", "virtio.f."];

/// Whether rules may name this fact. Besides these they may name `ifname`.
pub fn is_known(key: &str) -> bool {
    let in_family = |family: &&str| key.len() > family.len() && key.starts_with(*family);
    key == "ifname" || KEYS.contains(&key) || FAMILIES.iter().any(|family| in_family(&family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_once_there() {
        assert!(KEYS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_family_needs_a_name() {
        let rows = [
            ("link.mtu", true),
            ("link.mtoo", false),
            ("feat.rx-lro", true),
            ("feat.", false),
            ("", false),
        ];
        for (key, expected) in rows {
            assert_eq!(is_known(key), expected, "{key}");
        }
    }
}
