//! A program in the NIC.

use serde_json::Value;
use terrace_nic_lab::{Daemon, Netdevsim, sh};

use super::{UPLINK, front, holds, program, refused};

const THREE: &str = "192.0.2.0/24\n2001:db8::/32\n198.51.100.7\n";
const TWO: &str = "192.0.2.0/24\n2001:db8::/32\n";

/// A knob that makes the device refuse, and its words.
const REFUSALS: [(&str, &str); 4] = [
    (
        "bpf_bind_accept",
        "load the program: Operation not supported",
    ),
    ("bpf_bind_verifier_accept", "Hello from netdevsim!"),
    (
        "ports/0/bpf_map_accept",
        "make the map of counters: Operation not supported",
    ),
    (
        "ports/0/bpf_xdpoffload_accept",
        "attach the program: netdevsim: XDP offload disabled in DebugFS",
    ),
];

#[test]
fn a_program_takes_what_fits_counts_and_every_refusal_has_the_kernels_words() {
    let device = Netdevsim::named(1, UPLINK);
    let mut daemon = Daemon::with("", THREE);
    holds(&daemon, "hw-ebpf", 2, 3);
    let (.., why) = front(&daemon).expect("a front");
    assert_eq!(why, "the NIC takes no map of more than 2 entries");
    assert_ne!(program(&device), 0);
    assert!(daemon.has_told("nic-holds", "2 of 3 entries"));
    all_of_it_is_placed_in_the_nic(&daemon);
    counters_add_up_whatever_they_do(&daemon);
    for (n, (knob, words)) in REFUSALS.iter().enumerate() {
        // A device that refuses to take also refuses to give back.
        daemon.deny("");
        daemon.until("an empty NIC", || (program(&device) == 0).then_some(()));
        device.knob(knob, "N");
        daemon.deny(&format!("203.0.113.{n}\n"));
        refused(&daemon, words);
        assert_eq!(program(&device), 0, "{knob}");
        assert!(daemon.has_told("tier-fallback", words), "{knob}");
        device.knob(knob, "Y");
        daemon.deny(&format!("203.0.113.{n}\n{TWO}"));
        holds(&daemon, "hw-ebpf", 2, 3);
    }
    daemon.stop();
    assert_eq!(program(&device), 0);
}

fn all_of_it_is_placed_in_the_nic(daemon: &Daemon) {
    daemon.deny(TWO);
    holds(daemon, "hw-ebpf", 2, 2);
    let row = daemon.row(UPLINK, "prefilter");
    assert_eq!(row["tier"], "nic", "{row}");
    assert_eq!(row["confidence"], "verified", "{row}");
    let steer = daemon.row(UPLINK, "steer");
    assert_ne!(steer["tier"], "nic", "{steer}");
}

/// netdevsim counts nothing: what a NIC would count is written into its map.
fn counters_add_up_whatever_they_do(daemon: &Daemon) {
    for (packets, total) in [(5u8, 5), (9, 9), (2, 11), (7, 16), (1, 17)] {
        let maps: Value = serde_json::from_str(&sh("bpftool -j map show")).expect("JSON");
        let maps = maps.as_array().cloned().unwrap_or_default();
        let is_counts = |map: &&Value| map["name"] == "terrace_nic" && map["bytes_value"] == 16;
        let id = maps.iter().find(is_counts).expect("a map of counters")["id"].clone();
        sh(&format!(
            "bpftool map update id {id} key 0 0 0 0 value {packets} 0 0 0 0 0 0 0 {} 0 0 0 0 0 0 0",
            packets * 10
        ));
        daemon.until(&format!("{total} drops"), || {
            (drops(daemon) == total).then_some(())
        });
    }
}

fn drops(daemon: &Daemon) -> u64 {
    let reasons = daemon.json("reasons");
    let mut rows = reasons.as_array().into_iter().flatten();
    let row = rows.find(|row| row["hook"] == "nic" && row["reason"] == "deny_list");
    row.map_or(0, |row| {
        assert_eq!(row["iface"], UPLINK);
        row["packets"].as_u64().unwrap_or(0)
    })
}

/// Somebody else's program has the one place that the device has.
#[test]
fn a_program_of_somebody_else_in_the_nic_is_never_displaced() {
    let device = Netdevsim::named(2, UPLINK);
    sh(&format!(
        "ip link set dev {UPLINK} xdpoffload object {} section xdp",
        terrace_nic_lab::PROBE
    ));
    let theirs = program(&device);
    let daemon = Daemon::with("", TWO);
    refused(&daemon, "attach the program");
    assert_eq!(program(&device), theirs);
    sh(&format!("ip link set dev {UPLINK} xdpoffload off"));
    daemon.deny("192.0.2.1\n");
    holds(&daemon, "hw-ebpf", 1, 1);
    // And the other way round: ours stays.
    let (came, said) = terrace_nic_lab::attempt(&format!(
        "ip link set dev {UPLINK} xdpoffload object {} section xdp",
        terrace_nic_lab::PROBE
    ));
    assert!(!came, "{said}");
    drop(daemon);
    assert_eq!(program(&device), 0);
}

/// `terrace move` takes the NIC as a tier only when all of the list is there.
#[test]
fn the_operator_moves_the_prefilter_into_the_nic_and_back() {
    let device = Netdevsim::named(9, UPLINK);
    let daemon = Daemon::with("", THREE);
    holds(&daemon, "hw-ebpf", 2, 3);
    let (moved, said) = daemon.command("move prefilter upsim nic");
    assert!(!moved && said.contains("entry 3 of 3"), "{said}");
    assert_ne!(daemon.row(UPLINK, "prefilter")["tier"], "nic");
    daemon.deny(TWO);
    holds(&daemon, "hw-ebpf", 2, 2);
    let (moved, said) = daemon.command("move prefilter upsim nic");
    assert!(moved, "{said}");
    assert_eq!(daemon.row(UPLINK, "prefilter")["tier"], "nic");
    let (moved, said) = daemon.command("move prefilter upsim auto");
    assert!(moved, "{said}");
    drop(daemon);
    assert_eq!(program(&device), 0);
}
