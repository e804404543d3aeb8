//! The keys of facts: one list, for probes, rules, profiles and reports.

use std::collections::HashSet;
use std::sync::OnceLock;

/// A key and what its value says.
pub type Key = (&'static str, &'static str);

/// Families of keys: anything may follow the dot.
pub const FAMILIES: &[Key] = &[
    ("feat.", "an ethtool feature: on, off, on-fixed, off-fixed"),
    ("priv.", "a driver's private flag"),
    ("virtio.f.", "a virtio feature bit that was negotiated"),
    ("devlink.fw.", "a version of the NIC's firmware"),
    ("devlink.param.", "a devlink parameter's run-time value"),
    ("xdp.features.", "one bit of the kernel's XDP feature word"),
    ("host.config.", "a kernel option: y, m, n"),
];

/// Single keys.
pub const KEYS: &[Key] = &[
    ("host.kernel", "uname -r"),
    ("host.arch", "uname -m"),
    ("host.cpus_online", "CPUs that run"),
    ("host.cpus_possible", "CPUs that may ever run"),
    ("host.page_size", "bytes"),
    ("host.cache_line", "bytes"),
    ("host.btf", "the kernel tells its types"),
    ("host.jit", "BPF programs are compiled: on, off"),
    ("host.tcx", "the kernel takes TCX links"),
    ("host.lockdown", "none, integrity, confidentiality"),
    (
        "host.numa_node",
        "the NIC's node; none = the platform has one node",
    ),
    ("id.driver", "as ethtool -i names it"),
    ("id.driver_version", "as ethtool -i"),
    ("id.firmware", "as ethtool -i"),
    ("id.bus", "the device's name on its bus"),
    ("id.pci", "vendor:device"),
    ("id.pci_subsystem", "vendor:device"),
    ("id.mac", "only with --identify"),
    ("id.kind", "kind of a virtual link: veth, bond, vlan, ..."),
    ("driver.in_tree", "the driver's version is the kernel's"),
    ("link.type", "ether, loopback, none, ..."),
    ("link.up", "administratively up"),
    ("link.carrier", "the other end is there"),
    ("link.mtu", "bytes of an IP packet"),
    ("link.min_mtu", "bytes"),
    (
        "link.max_mtu",
        "bytes; some drivers lower it while a program is attached",
    ),
    ("link.speed_mbps", "none = unknown to the driver"),
    ("link.duplex", "full, half"),
    ("link.lanes", "lanes of the physical link"),
    ("link.rx_queues", "as allocated"),
    ("link.tx_queues", "as allocated"),
    ("link.headroom", "bytes before a packet"),
    ("link.tailroom", "bytes after a packet"),
    ("link.default_route", "the host's default route leaves here"),
    (
        "link.controller",
        "the bond, team or bridge that it is a port of",
    ),
    ("link.controller_kind", "its kind"),
    ("link.port_name", "name of the port in the NIC: p0, pf0vf3"),
    ("link.parent", "the link under a VLAN, macvlan, ..."),
    (
        "bond.mode",
        "balance-rr, active-backup, balance-xor, broadcast, 802.3ad, ...",
    ),
    ("bond.xmit_hash", "layer2, layer3+4, vlan+srcmac, ..."),
    ("vlan.id", "its tag"),
    ("veth.peer_here", "the other end is in this namespace"),
    (
        "veth.peer_tx_queues",
        "native XDP wants at least as many rx queues here",
    ),
    ("pcie.width", "lanes in use"),
    ("pcie.max_width", "lanes that the card has"),
    ("pcie.speed", "as sysfs writes it"),
    ("pcie.max_speed", "as sysfs writes it"),
    ("sriov.numvfs", "virtual functions that are on"),
    ("sriov.totalvfs", "virtual functions that could be on"),
    ("sriov.is_vf", "it is a virtual function itself"),
    ("channels.rx", "queues"),
    ("channels.tx", "queues"),
    ("channels.other", "queues"),
    ("channels.combined", "queues"),
    ("channels.rx_max", "queues"),
    ("channels.tx_max", "queues"),
    ("channels.other_max", "queues"),
    ("channels.combined_max", "queues"),
    ("rings.rx", "slots"),
    ("rings.tx", "slots"),
    ("rings.rx_max", "slots"),
    ("rings.tx_max", "slots"),
    ("rings.rx_buf_len", "bytes"),
    ("rings.cqe_size", "bytes"),
    ("rings.tcp_data_split", "unknown, disabled, enabled"),
    (
        "rings.hds_thresh",
        "bytes from which headers and data are split",
    ),
    ("rings.hds_thresh_max", "bytes"),
    ("rss.hfunc", "toeplitz, xor, crc32, ..."),
    ("rss.indir_size", "entries of the indirection table"),
    ("rss.input_xfrm", "symmetric hashing of the main context"),
    ("rss.contexts", "contexts besides the main one"),
    ("ts.modes", "time stamping that the driver has"),
    ("ts.hardware", "it can stamp received packets in hardware"),
    ("ntuple", "the driver takes classification rules"),
    ("ntuple.capacity", "rules that fit"),
    ("ntuple.rules", "rules that are there"),
    ("ntuple.drop", "a rule can drop"),
    ("tc.flower_hw", "the driver takes flower rules with skip_sw"),
    ("tc.qdisc", "kind of the root qdisc"),
    ("tc.qdisc_offloaded", "the root qdisc is in hardware"),
    ("tc.clsact", "there is a clsact or ingress qdisc"),
    ("tc.filters", "filters that are there"),
    ("tc.filters_in_hw", "of them in hardware"),
    (
        "tc.foreign_programs",
        "BPF programs at tc that are not Terrace's",
    ),
    ("eswitch.mode", "legacy, switchdev, switchdev_inactive"),
    ("eswitch.inline_mode", "none, link, network, transport"),
    ("eswitch.encap_mode", "none, basic"),
    ("devlink.handle", "bus/device"),
    ("devlink.driver", "as devlink names it"),
    ("devlink.flavour", "physical, pcipf, pcivf, pcisf, ..."),
    ("devlink.health_errors", "errors of all reporters"),
    ("devlink.unhealthy", "reporters in a state of error"),
    ("xdp.features", "the kernel's XDP feature word"),
    ("xdp.native", "a program runs in the driver"),
    (
        "xdp.single_buffer",
        "programs that take one buffer a packet run here",
    ),
    ("xdp.redirect_from", "a program here can redirect"),
    (
        "xdp.redirect_target",
        "another interface's program can send here",
    ),
    (
        "xdp.frags",
        "programs that take packets of several buffers run here",
    ),
    (
        "xdp.frags_xmit",
        "packets of several buffers can be sent here",
    ),
    ("xdp.generic", "a program runs in the stack"),
    ("xdp.hw_offload", "a program runs in the NIC"),
    ("xdp.ndo_bpf", "the driver has an entry for XDP at all"),
    (
        "xdp.attached_mode",
        "none, native, generic, offloaded, multi",
    ),
    ("xdp.attached_prog", "the program's name"),
    ("xdp.attached_id", "the program's id"),
    ("xdp.foreign_prog", "a program that is not Terrace's"),
    ("af_xdp.copy", "sockets in copy mode"),
    ("af_xdp.zero_copy", "sockets in zero-copy mode"),
    (
        "af_xdp.zc_max_segs",
        "buffers of one packet in zero-copy mode",
    ),
    ("af_xdp.bound_queues", "queues that have a socket already"),
    (
        "rx_meta.all",
        "what programs can read, with bits that have no name",
    ),
    (
        "tx_meta.all",
        "what sockets can ask for, with bits that have no name",
    ),
    ("qstats", "the driver counts by queue"),
    ("qstats.rx_alloc_fail", "packets lost for want of a buffer"),
    ("qstats.rx_hw_drops", "packets that the NIC dropped"),
    (
        "rx_meta.timestamp",
        "a program can read the hardware's time stamp",
    ),
    ("rx_meta.hash", "a program can read the RSS hash"),
    ("rx_meta.vlan", "a program can read the stripped VLAN tag"),
    (
        "tx_meta.timestamp",
        "a socket can ask for transmit time stamps",
    ),
    ("tx_meta.checksum", "a socket can ask for checksums"),
    ("tx_meta.launch_time", "a socket can ask for a launch time"),
    ("page_pool.pools", "page pools of the interface"),
    (
        "virtio.f.guest_csum_or_tso",
        "the VM's host may send unfinished checksums or merged packets",
    ),
];

/// Whether a key is in the list.
pub fn is_known(key: &str) -> bool {
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let names = NAMES.get_or_init(|| KEYS.iter().map(|(key, _)| *key).collect());
    let in_family = |family: &str| key.len() > family.len() && key.starts_with(family);
    names.contains(key) || FAMILIES.iter().any(|(family, _)| in_family(family))
}
