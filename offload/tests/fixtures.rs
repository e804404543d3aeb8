//! Recorded and constructed machines give the facts that are on them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use terrace_offload::ask::Recording;
use terrace_offload::facts::{Confidence, InterfaceFacts, InterfaceRole, Value};
use terrace_offload::probe::{Survey, replay};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn survey(name: &str) -> Survey {
    let recording = Recording::load(&folder().join(format!("{name}.json"))).unwrap();
    replay(&recording).unwrap()
}

fn iface(survey: &Survey, name: &str) -> InterfaceFacts {
    let found = survey.interfaces.iter().find(|iface| iface.name == name);
    found.unwrap_or_else(|| panic!("no {name}")).clone()
}

#[test]
fn every_fixture_is_read_whole() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let recording = Recording::load(&path).unwrap();
        assert!(!recording.title.is_empty(), "{}", path.display());
        let survey = replay(&recording).unwrap();
        assert!(survey.host.version().is_some(), "{}", path.display());
        for iface in &survey.interfaces {
            let unread = iface
                .probes
                .iter()
                .find(|p| p.errno.as_deref() == Some("EBADMSG"));
            assert_eq!(unread, None, "{}", path.display());
            for (key, fact) in &iface.facts.0 {
                let unread = fact
                    .evidence
                    .as_deref()
                    .is_some_and(|e| e.contains("EBADMSG"));
                assert!(!unread, "{}: {key}: {fact:?}", path.display());
                let unknown = fact.confidence == Confidence::Unknown;
                assert!(
                    !unknown || fact.value == Value::Null,
                    "{}: {key}",
                    path.display()
                );
            }
        }
        count += 1;
    }
    assert!(count >= 25, "{count} fixtures");
}

#[test]
fn each_machine_tells_what_decides_its_plan() {
    let list = |words: &[&str]| Value::List(words.iter().map(|w| (*w).to_owned()).collect());
    let text = |word: &str| Value::Text(word.to_owned());
    #[rustfmt::skip]
    let rows: &[(&str, &str, &str, Value)] = &[
        ("virtio-net-firecracker", "eth0", "xdp.native", true.into()),
        ("virtio-net-firecracker", "eth0", "virtio.f.ctrl_guest_offloads", false.into()),
        ("virtio-net-firecracker", "eth0", "virtio.f.guest_csum_or_tso", true.into()),
        ("virtio-net-firecracker", "eth0", "feat.rx-gro-hw", text("on-fixed")),
        ("virtio-net-firecracker", "eth0", "ntuple", false.into()),
        ("virtio-net-firecracker", "eth0", "id.pci", text("1af4:1041")),
        ("virtio-net-firecracker", "eth0", "rx_meta.all", list(&[])),
        ("virtio-net-firecracker", "eth0", "qstats", true.into()),
        ("virtio-net-qemu", "ens3", "virtio.f.ctrl_guest_offloads", true.into()),
        ("virtio-net-qemu", "ens3", "feat.rx-gro-hw", text("on")),
        ("virtio-net-one-queue", "eth0", "channels.combined_max", 1i64.into()),
        ("ena-default", "ens5", "link.mtu", 9001i64.into()),
        ("ena-default", "ens5", "driver.in_tree", true.into()),
        ("ena-out-of-tree", "ens5", "driver.in_tree", false.into()),
        ("ena-out-of-tree", "ens5", "xdp.native", Value::Null),
        ("gve-gqi", "ens4", "channels.rx", 8i64.into()),
        ("gve-dqo", "ens4", "rings.tcp_data_split", text("enabled")),
        ("gve-dqo", "ens4", "rx_meta.timestamp", true.into()),
        ("mana", "eth0", "id.driver", text("hv_netvsc")),
        ("mana", "enP30832s1", "link.controller", text("eth0")),
        ("netvsc-mlx5-vf", "enP53091s1", "sriov.is_vf", true.into()),
        ("vmxnet3", "ens192", "feat.rx-lro", text("on")),
        ("ixgbe", "eno1", "ntuple.capacity", 2045i64.into()),
        ("ixgbe-sriov-lro", "eno1", "sriov.numvfs", 4i64.into()),
        ("ixgbevf", "eth0", "xdp.redirect_from", false.into()),
        ("i40e", "enp94s0f0", "af_xdp.zc_max_segs", 8i64.into()),
        ("i40e-jumbo-61", "enp94s0f0", "xdp.native", Value::Null),
        ("ice", "ens801f0", "rx_meta.all", list(&["timestamp", "hash", "vlan-tag"])),
        ("ice", "ens801f0", "devlink.fw.fw.app", text("1.3.36.0")),
        ("ice-safe-mode", "ens801f0", "xdp.native", false.into()),
        ("ice-switchdev", "ens801f0npf0vf0", "devlink.flavour", text("pcivf")),
        ("mlx5-legacy", "enp193s0f0np0", "eswitch.mode", text("legacy")),
        ("mlx5-legacy", "enp193s0f0np0", "devlink.param.flow_steering_mode", text("smfs")),
        ("mlx5-legacy", "enp193s0f0np0", "priv.rx_striding_rq", true.into()),
        ("mlx5-lro", "enp193s0f0np0", "xdp.features", list(&[])),
        ("mlx5-lro", "enp193s0f0np0", "pcie.width", 4i64.into()),
        ("mlx5-switchdev", "enp193s0f0np0", "eswitch.mode", text("switchdev")),
        ("bnxt", "enp65s0f0np0", "rings.hds_thresh_max", 1023i64.into()),
        ("igc", "enp5s0", "feat.hw-tc-offload", text("on")),
        ("nfp-bpf", "enp5s0np0", "xdp.hw_offload", true.into()),
        ("nfp-bpf", "enp5s0np0", "devlink.fw.fw.app", text("bpf")),
        ("nfp-flower", "enp5s0np0", "xdp.hw_offload", false.into()),
        ("veth-container", "veth0a1b", "veth.peer_here", false.into()),
        ("veth-queues", "v0", "veth.peer_tx_queues", 4i64.into()),
        ("bond-8023ad", "bond0", "bond.mode", text("802.3ad")),
        ("bond-8023ad", "bond0", "bond.xmit_hash", text("layer3+4")),
        ("bond-8023ad", "bond0.100", "vlan.id", 100i64.into()),
        ("bond-8023ad", "bond0.100", "link.parent", text("bond0")),
        ("foreign-xdp", "eno1", "xdp.foreign_prog", text("xdp_filter_dny_")),
        ("foreign-xdp", "eno1", "xdp.redirect_target", true.into()),
        ("foreign-xdp", "eno1", "af_xdp.bound_queues", 1i64.into()),
        ("ixgbe", "eno1", "xdp.redirect_target", Value::Null),
        ("unknown-driver", "eth0", "id.driver", text("newnic")),
        ("no-rights", "ens3", "xdp.attached_prog", Value::Null),
        ("no-rights", "ens3", "xdp.foreign_prog", text("id 9")),
    ];
    for (machine, name, key, expected) in rows {
        let facts = iface(&survey(machine), name).facts;
        assert_eq!(
            facts.value(key),
            expected,
            "{machine} {name} {key}: {:?}",
            facts.get(key)
        );
    }
}

#[test]
fn programs_go_to_the_interface_that_carries_them() {
    use InterfaceRole::{Loopback, Port, Representor, Stacked, Uplink, Vf, Virtual};
    #[rustfmt::skip]
    let rows: &[(&str, &str, InterfaceRole, &[&str])] = &[
        ("virtio-net-qemu", "lo", Loopback, &["lo"]),
        ("virtio-net-qemu", "ens3", Port, &["ens3"]),
        ("bond-8023ad", "bond0.100", Stacked, &["bond0"]),
        ("bond-8023ad", "bond0", Stacked, &["bond0"]),
        ("bond-8023ad", "ens801f0", Port, &["bond0"]),
        ("bond-alb", "bond0", Stacked, &["eno1", "eno2"]),
        ("bond-alb", "eno1", Port, &["eno1"]),
        ("vlan-on-bridge", "br0.7", Stacked, &["enp94s0f0", "tap0"]),
        ("vlan-on-bridge", "tap0", Virtual, &["tap0"]),
        ("mana", "enP30832s1", Port, &["eth0"]),
        ("netvsc-mlx5-vf", "enP53091s1", Vf, &["eth0"]),
        ("mlx5-switchdev", "enp193s0f0np0", Uplink, &["enp193s0f0np0"]),
        ("mlx5-switchdev", "enp193s0f0npf0vf1", Representor, &["enp193s0f0npf0vf1"]),
        ("mlx5-switchdev", "enp193s0f0v1", Vf, &["enp193s0f0v1"]),
        ("bluefield-arm", "pf0hpf", Representor, &["pf0hpf"]),
        ("veth-container", "veth0a1b", Virtual, &["veth0a1b"]),
    ];
    for (machine, name, role, places) in rows {
        let iface = iface(&survey(machine), name);
        let found: Vec<&str> = iface.attach_to.iter().map(String::as_str).collect();
        assert_eq!(
            (iface.role, found.as_slice()),
            (*role, *places),
            "{machine} {name}"
        );
    }
}
