//! Real drivers on emulated NICs: two of each on one wire, one of them in a
//! namespace of its own; and the interfaces that need no NIC.

mod claims;
mod pair;
mod sockets;
mod zoo;

use pair::{LIMIT, Pair};
use terrace_nic_lab::{PROBE, attempt, by_driver, report, sh, trial, verdict};
use terrace_testkit::kernel::is_since;
use terrace_testkit::{need, wait};

/// Packets that the counting program has seen.
fn seen() -> u64 {
    let dump = sh("bpftool -j map dump name seen");
    let rows: serde_json::Value = serde_json::from_str(&dump).expect("bpftool speaks JSON");
    let value = &rows[0]["formatted"]["value"];
    value.as_u64().unwrap_or_else(|| panic!("{dump}"))
}

fn native_xdp_runs(driver: &str) {
    let pair = Pair::of(driver);
    pair.await_answer();
    sh(&format!(
        "ip link set dev {} xdpdrv object {PROBE} section xdp.count",
        pair.near
    ));
    pair.await_carrier();
    assert!(
        !pair.answers(),
        "{driver}: a program that drops everything, and an answer"
    );
    let counted = || (seen() > 0).then_some(());
    wait::until("a counted packet", LIMIT, counted).expect("native XDP sees packets");
    sh(&format!("ip link set dev {} xdpdrv off", pair.near));
    pair.await_carrier();
    pair.await_answer();
}

#[test]
fn igb_runs_native_programs_and_its_link_comes_back() {
    native_xdp_runs("igb");
}

#[test]
fn virtio_runs_native_programs() {
    native_xdp_runs("virtio_net");
}

#[test]
fn vmxnet3_runs_native_programs() {
    need!("XDP of vmxnet3", is_since(6, 6));
    native_xdp_runs("vmxnet3");
}

#[test]
fn e1000e_refuses_native_programs_and_the_report_knows() {
    let nics = by_driver("e1000e");
    let near = nics.first().expect("two e1000e");
    let said = report(near, "");
    assert_eq!(verdict(&said, "xdp-native"), "no", "{said}");
    let (works, _) = attempt(&format!(
        "ip link set dev {near} xdpdrv object {PROBE} section xdp"
    ));
    assert!(!works);
}

#[test]
fn igb_spreads_flows_by_its_table() {
    let pair = Pair::of("igb");
    sh(&format!("ethtool -L {} combined 2", pair.near));
    pair.await_carrier();
    sh(&format!("ethtool -X {} weight 0 1", pair.near));
    let table = sh(&format!("ethtool -x {}", pair.near));
    let rows = table
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("0:"));
    let first = rows
        .take(1)
        .flat_map(|line| line.split_whitespace().skip(1));
    assert!(
        first.clone().count() > 0 && first.clone().all(|queue| queue == "1"),
        "{table}"
    );
    let before = queue_packets(&pair.near, 1);
    pair.await_answer();
    let moved = || (queue_packets(&pair.near, 1) > before).then_some(());
    wait::until("packets on queue 1", LIMIT, moved).expect("the table steers");
}

fn queue_packets(iface: &str, queue: u32) -> u64 {
    let all = sh(&format!("ethtool -S {iface}"));
    let name = format!("rx_queue_{queue}_packets:");
    let line = all.lines().find_map(|line| line.trim().strip_prefix(&name));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("{all}"))
}

/// The exit code of ethtool is 0: only reading back tells.
#[test]
fn a_classification_rule_that_igb_refuses_is_not_claimed() {
    let nics = by_driver("igb");
    let near = nics.first().expect("two igb");
    let said = report(near, "--mode active --allow ntuple");
    assert_ne!(trial(&said, "ntuple_insert"), "ok", "{said}");
    assert_ne!(verdict(&said, "hw-nic"), "yes", "{said}");
}
