//! Interfaces change under a running daemon, and other people's programs are there
//! or come. Here each of them has the machine's own namespace.

use terrace_nic_lab::{Daemon, Link, PROBE, attempt, sh};

/// The mode of the XDP program on an interface: 1 native, 2 generic.
fn xdp_mode(iface: &str) -> u64 {
    let (success, said) = attempt(&format!("ip -j link show {iface}"));
    if !success {
        return 0;
    }
    let links: serde_json::Value = serde_json::from_str(&said).expect("ip speaks JSON");
    links[0]["xdp"]["mode"].as_u64().unwrap_or(0)
}

fn placed_on(daemon: &Daemon, iface: &str, tier: &str) -> Option<()> {
    (daemon.placed(iface)?.0 == tier).then_some(())
}

fn veth(name: &str, peer: &str) -> Link {
    let link = Link::add(name, &format!("type veth peer name {peer}")).expect("veth");
    sh(&format!("ip link set {peer} up"));
    link
}

#[test]
fn a_renamed_uplink_is_served_under_its_new_name() {
    let _link = veth("upa", "wirea");
    let daemon = Daemon::start();
    daemon.until("native XDP", || placed_on(&daemon, "upa", "xdp-native"));
    sh("ip link set upa down && ip link set upa name upz && ip link set upz up");
    daemon.until("the new name", || placed_on(&daemon, "upz", "xdp-native"));
    daemon.until("programs", || {
        (xdp_mode("upz") == 1 && daemon.has_tc("upz")).then_some(())
    });
    assert!(daemon.placed("upa").is_none());
    sh("ip link del upz");
}

#[test]
fn an_uplink_that_goes_to_another_namespace_is_let_go_and_taken_again() {
    let _link = veth("upa", "wirea");
    let daemon = Daemon::start();
    daemon.until("native XDP", || placed_on(&daemon, "upa", "xdp-native"));
    sh("ip netns add away && ip link set upa netns away");
    daemon.until("the end of it", || {
        daemon.placed("upa").is_none().then_some(())
    });
    sh("ip -n away link set upa netns 1 && ip link set upa up");
    daemon.until("it again", || placed_on(&daemon, "upa", "xdp-native"));
    daemon.until("programs", || {
        (xdp_mode("upa") == 1 && daemon.has_tc("upa")).then_some(())
    });
    sh("ip netns del away");
}

#[test]
fn a_foreign_xdp_program_is_never_displaced_and_is_named() {
    let _link = veth("upa", "wirea");
    sh(&format!(
        "ip link set dev upa xdpdrv object {PROBE} section xdp"
    ));
    let daemon = Daemon::start();
    daemon.until("tc", || placed_on(&daemon, "upa", "tc"));
    let plan = daemon.json("plan").to_string();
    assert!(plan.contains("probe_xdp"), "{plan}");
    let shown = sh("ip -d link show upa");
    assert!(shown.contains("probe_xdp"), "{shown}");
    sh("ip link set dev upa xdpdrv off");
    daemon.until("native XDP when the other has gone", || {
        placed_on(&daemon, "upa", "xdp-native")
    });
}

#[test]
fn a_foreign_xdp_program_that_comes_later_does_not_get_in() {
    let _link = veth("upa", "wirea");
    let daemon = Daemon::start();
    daemon.until("native XDP", || placed_on(&daemon, "upa", "xdp-native"));
    let (works, said) = attempt(&format!(
        "ip link set dev upa xdpdrv object {PROBE} section xdp"
    ));
    assert!(
        !works,
        "somebody else's program took the place of ours: {said}"
    );
    assert_eq!(xdp_mode("upa"), 1);
}

#[test]
fn a_foreign_tc_program_and_ours_both_stay() {
    let _link = veth("upa", "wirea");
    sh("tc qdisc add dev upa clsact");
    sh(&format!(
        "tc filter add dev upa ingress bpf da object-file {PROBE} section tc"
    ));
    let daemon = Daemon::start();
    daemon.until("a tier", || daemon.placed("upa"));
    assert!(daemon.has_tc("upa"));
    drop(daemon);
    let filters = sh("tc filter show dev upa ingress");
    assert!(filters.contains("probe"), "{filters}");
}
