//! The keys of facts that rules may name. A misspelt key would make a rule that
//! never fires, so every key is either here or in one of the families.

const KEYS: &[&str] = &[
    "af_xdp.bound_queues",
    "af_xdp.copy",
    "af_xdp.zc_max_segs",
    "af_xdp.zero_copy",
    "bond.mode",
    "bond.ports_with_program",
    "bond.ports_without_native",
    "bond.ports_without_xmit",
    "bond.xmit_hash",
    "channels.combined",
    "channels.combined_max",
    "channels.other",
    "channels.other_max",
    "channels.rx",
    "channels.rx_max",
    "channels.tx",
    "channels.tx_max",
    "demand.frags",
    "demand.redirect",
    "demand.redirect_target",
    "demand.role",
    "demand.worker",
    "devlink.flavour",
    "devlink.handle",
    "devlink.health_errors",
    "devlink.unhealthy",
    "eswitch.mode",
    "host.arch",
    "host.cpus_possible",
    "host.kernel",
    "host.kernel_name",
    "host.page_size",
    "host.tcx",
    "id.bus",
    "id.driver",
    "id.driver_version",
    "id.firmware",
    "id.kind",
    "id.pci",
    "link.carrier",
    "link.controller",
    "link.controller_kind",
    "link.default_route",
    "link.max_mtu",
    "link.mtu",
    "link.parent",
    "link.rx_queues",
    "link.speed_mbps",
    "link.tx_queues",
    "link.type",
    "link.up",
    "ntuple",
    "ntuple.capacity",
    "ntuple.drop",
    "ntuple.rules",
    "pcie.max_width",
    "pcie.width",
    "peer.gro",
    "peer.has_program",
    "peer.mtu",
    "rings.hds_thresh",
    "rings.hds_thresh_max",
    "rings.rx_buf_len",
    "rings.tcp_data_split",
    "role",
    "sriov.is_vf",
    "sriov.numvfs",
    "switch_id",
    "tc.flower_hw",
    "tc.foreign_programs",
    "veth.peer_here",
    "veth.peer_tx_queues",
    "xdp.attached_mode",
    "xdp.features",
    "xdp.foreign_prog",
    "xdp.hw_offload",
    "xdp.native",
    "xdp.ndo_bpf",
    "xsk.chunk",
];

/// Prefixes with names that the kernel, a firmware or a profile gives.
const FAMILIES: &[&str] = &[
    "devlink.fw.",
    "devlink.param.",
    "driver.",
    "feat.",
    "host.config.",
    "priv.",
    "virtio.f.",
    "xdp.features.",
];

/// Whether rules may name this fact. Besides these they may name `ifname`.
pub fn is_known(key: &str) -> bool {
    let in_family = |family: &&str| key.len() > family.len() && key.starts_with(*family);
    key == "ifname" || KEYS.contains(&key) || FAMILIES.iter().any(in_family)
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
