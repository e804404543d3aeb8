//! Programs bound to a device, on netdevsim: what the kernel's interface does, and
//! what Terrace says of it. netdevsim has one slot for a program.

use std::time::Duration;
use terrace_nic_lab::{Netdevsim, PROBE, attempt, report, sh, trial, verdict};
use terrace_testkit::wait;

const LIMIT: Duration = Duration::from_secs(20);
/// What a device refuses with a knob, by which trial, and where the work goes then.
struct Refusal {
    knob: &'static str,
    /// A command line that must fail.
    refused: &'static str,
    /// Part of what the kernel says.
    words: &'static str,
}

const REFUSALS: [Refusal; 4] = [
    Refusal {
        knob: "ports/0/bpf_xdpoffload_accept",
        refused: "ip link set dev IFACE xdpoffload object PROBE section xdp",
        words: "XDP offload disabled in DebugFS",
    },
    Refusal {
        knob: "ports/0/bpf_xdpdrv_accept",
        refused: "ip link set dev IFACE xdpdrv object PROBE section xdp",
        words: "driver XDP disabled in DebugFS",
    },
    Refusal {
        knob: "bpf_bind_accept",
        refused: "ip link set dev IFACE xdpoffload object PROBE section xdp",
        words: "Operation not supported",
    },
    Refusal {
        knob: "bpf_bind_verifier_accept",
        refused: "ip link set dev IFACE xdpoffload object PROBE section xdp",
        words: "Operation not supported",
    },
];

fn line(text: &str, device: &Netdevsim) -> String {
    text.replace("IFACE", &device.iface).replace("PROBE", PROBE)
}

#[test]
fn a_bound_program_is_attached_read_back_and_detached() {
    let device = Netdevsim::new(1);
    assert_eq!(device.says("ports/0/bpf_offloaded_id"), "0");
    sh(&line(
        "ip link set dev IFACE xdpoffload object PROBE section xdp",
        &device,
    ));
    assert_ne!(device.says("ports/0/bpf_offloaded_id"), "0");
    let shown = sh(&line("ip -d link show IFACE", &device));
    assert!(shown.contains("xdpoffload"), "{shown}");
    sh(&line("ip link set dev IFACE xdpoffload off", &device));
    assert_eq!(device.says("ports/0/bpf_offloaded_id"), "0");
}

#[test]
fn every_refusal_has_the_drivers_own_words() {
    let mut faults = Vec::new();
    for row in &REFUSALS {
        let device = Netdevsim::new(2);
        device.knob(row.knob, "N");
        let (works, said) = attempt(&line(row.refused, &device));
        if works || !said.contains(row.words) {
            faults.push(format!("{}: works {works}: {said}", row.knob));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_report_follows_what_the_device_takes() {
    let rows = [
        (None, "yes", "ok", "ok"),
        (Some("bpf_bind_accept"), "no", "refused", "ok"),
        (Some("ports/0/bpf_map_accept"), "yes", "ok", "refused"),
    ];
    for (knob, tier, program, map) in rows {
        let device = Netdevsim::new(3);
        if let Some(knob) = knob {
            device.knob(knob, "N");
        }
        let said = report(&device.iface, "--mode preload");
        let found = (
            verdict(&said, "hw-ebpf"),
            trial(&said, "prog_load_ifindex"),
            trial(&said, "map_create_ifindex"),
        );
        assert_eq!(found, (tier, program, map), "{knob:?}: {said}");
    }
}

#[test]
fn a_device_that_goes_takes_its_program_along() {
    let device = Netdevsim::new(4);
    sh(&line(
        "ip link set dev IFACE xdpoffload object PROBE section xdp",
        &device,
    ));
    device.remove();
    let gone = || (!attempt(&line("ip link show IFACE", &device)).0).then_some(());
    wait::until("the interface's end", LIMIT, gone).expect("the interface goes");
    let programs = sh("bpftool prog show");
    assert!(!programs.contains("probe_xdp"), "{programs}");
}

/// The kernel accepts it and the device has it not: only reading back tells.
#[test]
fn a_u32_rule_for_hardware_only_is_accepted_and_nowhere() {
    let device = Netdevsim::new(5);
    sh(&line("ethtool -K IFACE hw-tc-offload on", &device));
    sh(&line("tc qdisc add dev IFACE clsact", &device));
    sh(&line(
        "tc filter add dev IFACE ingress pref 1 protocol ip u32 match ip dst 192.0.2.1/32 skip_sw action drop",
        &device,
    ));
    let shown = sh(&line("tc filter show dev IFACE ingress", &device));
    assert!(shown.contains("not_in_hw"), "{shown}");
}

#[test]
fn xdp_and_tc_share_one_slot() {
    let device = Netdevsim::new(6);
    sh(&line("ethtool -K IFACE hw-tc-offload on", &device));
    sh(&line(
        "ip link set dev IFACE xdpoffload object PROBE section xdp",
        &device,
    ));
    sh(&line("tc qdisc add dev IFACE clsact", &device));
    let add = "tc filter add dev IFACE ingress pref 1 bpf da object-file PROBE section tc skip_sw";
    let (works, said) = attempt(&line(add, &device));
    assert!(
        !works && said.contains("states mismatch"),
        "works {works}: {said}"
    );
    sh(&line("ip link set dev IFACE xdpoffload off", &device));
    sh(&line(add, &device));
    let shown = sh(&line("tc filter show dev IFACE ingress", &device));
    assert!(shown.contains(" in_hw"), "{shown}");
}

/// What a report says of one fact.
fn fact<'a>(report: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    &report["facts"][name]["value"]
}

/// The name of a port's interface, once it has one.
fn ports_of(device: &Netdevsim) -> Vec<String> {
    let folder = format!("{}/net", device.folder());
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| *name != device.iface).collect()
}

#[test]
fn a_switch_is_reported_with_its_mode_its_number_and_its_representors() {
    let device = Netdevsim::new(1);
    let legacy = report(&device.iface, "");
    assert_eq!(fact(&legacy, "eswitch.mode"), "legacy", "{legacy}");
    assert_eq!(legacy["role"], "port", "{legacy}");
    sh(&format!("echo 2 > {}/sriov_numvfs", device.folder()));
    sh("devlink dev eswitch set netdevsim/netdevsim1 mode switchdev");
    let both = || Some(ports_of(&device)).filter(|names| names.len() == 2);
    let others = wait::until("two representors", LIMIT, both).expect("one each function");
    let port = report(&device.iface, "");
    assert_eq!(fact(&port, "eswitch.mode"), "switchdev", "{port}");
    assert_eq!(fact(&port, "devlink.flavour"), "physical", "{port}");
    assert_eq!(port["role"], "uplink", "{port}");
    let number = port["switch_id"].as_str().expect("the switch has a number");
    for name in &others {
        let other = report(name, "");
        assert_eq!(fact(&other, "devlink.flavour"), "pcivf", "{other}");
        assert_eq!(other["role"], "representor", "{other}");
        assert_eq!(other["switch_id"], number, "{other}");
    }
    // The driver takes no rules on this kernel: a switch alone is no tier.
    assert_ne!(verdict(&port, "hw-switch"), "yes", "{port}");
    sh("devlink dev eswitch set netdevsim/netdevsim1 mode legacy");
    let none = || ports_of(&device).is_empty().then_some(());
    wait::until("no representors", LIMIT, none).expect("they go with the mode");
    let legacy = report(&device.iface, "");
    assert_eq!(legacy["role"], "port", "{legacy}");
}
