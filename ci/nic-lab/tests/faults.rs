//! Interfaces change under a running daemon, and other people's programs are there
//! or come. The host's own kernel often has no bond, and its NIC can't be pulled.

use std::time::Duration;
use terrace_nic_lab::{Daemon, Link, PROBE, attempt, by_driver, sh};
use terrace_testkit::wait;

/// A busy host lets a translated machine wait.
const LIMIT: Duration = Duration::from_secs(30);

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
fn a_bonds_tier_follows_its_ports() {
    let bond = Link::add("upbond", "type bond mode active-backup miimon 100").expect("a bond");
    let _good = veth("port0", "wire0");
    let bad = Link::add("port1", "type dummy").expect("a dummy");
    sh("ip link set port0 down && ip link set port0 master upbond && ip link set upbond up");
    let daemon = Daemon::start();
    daemon.until("native XDP on the bond", || {
        placed_on(&daemon, "upbond", "xdp-native")
    });
    assert_eq!(xdp_mode(&bond.name), 1);
    // The bond hands the program to its ports, and a port without XDP is refused.
    sh("ip link set port1 down");
    let (joined, said) = attempt("ip link set port1 master upbond");
    assert!(
        !joined,
        "a port without XDP joined a bond with a program: {said}"
    );
    // Without the program it may join, and then the bond has no native XDP.
    drop(daemon);
    sh("ip link set port1 master upbond");
    let daemon = Daemon::start();
    daemon.until("tc on the bond", || placed_on(&daemon, "upbond", "tc"));
    assert_eq!(xdp_mode(&bond.name), 0);
    drop(bad);
    daemon.until("native XDP after the port went", || {
        placed_on(&daemon, "upbond", "xdp-native")
    });
    daemon.until("the program", || (xdp_mode("upbond") == 1).then_some(()));
}

/// Attaching resets the link of igb once; nothing that is configured later does.
#[test]
fn a_link_that_resets_at_attach_is_back_when_the_daemon_is_ready_and_is_left_alone() {
    let (_near, _far) = igb_as_uplink();
    let carrier = || sh("cat /sys/class/net/upnic/carrier");
    let changes = || sh("cat /sys/class/net/upnic/carrier_changes");
    let up = || (carrier().trim() == "1").then_some(());
    wait::until("the carrier", LIMIT, up).expect("a carrier");
    let before = changes();
    let daemon = Daemon::start();
    assert_ne!(changes(), before, "attaching did not reset the link");
    assert_eq!(carrier().trim(), "1", "ready, and nobody can send");
    assert_eq!(placed_on(&daemon, "upnic", "xdp-native"), Some(()));
    let look = || {
        let program = sh("ip -d -j link show upnic");
        let links: serde_json::Value = serde_json::from_str(&program).expect("ip speaks JSON");
        (links[0]["xdp"]["prog"]["id"].as_u64(), changes())
    };
    let before = look();
    for (list, n) in [
        ("192.0.2.1\n", 1),
        ("192.0.2.1\n198.51.100.0/24\n", 2),
        ("", 0),
    ] {
        daemon.deny(list);
        daemon.until("the list", || (daemon.n_denied() == n).then_some(()));
    }
    assert_eq!(look(), before, "the program was attached again");
    assert_eq!(carrier().trim(), "1");
}

#[test]
fn a_nic_that_is_pulled_and_put_back_is_served_again() {
    let (near, _far) = igb_as_uplink();
    let daemon = Daemon::start();
    daemon.until("a tier", || daemon.placed("upnic"));
    sh(&format!("echo 1 > {near}/remove"));
    daemon.until("the end of it", || {
        daemon.placed("upnic").is_none().then_some(())
    });
    sh("echo 1 > /sys/bus/pci/rescan");
    let again = daemon.until("the NIC", || {
        std::fs::read_dir(format!("{near}/net"))
            .ok()?
            .flatten()
            .next()
    });
    let name = again.file_name().to_string_lossy().into_owned();
    sh(&format!(
        "ip link set {name} down; ip link set {name} name upnic && ip link set upnic up"
    ));
    daemon.until("programs", || daemon.has_tc("upnic").then_some(()));
    daemon.until("a tier again", || daemon.placed("upnic"));
}

/// The first igb under the name that the daemon serves: where the bus has it,
/// and the name of the other one.
fn igb_as_uplink() -> (String, String) {
    if !std::path::Path::new("/sys/class/net/upnic").exists() {
        let name = by_driver("igb").first().cloned().expect("two igb");
        sh(&format!(
            "ip link set {name} down && ip link set {name} name upnic && ip link set upnic up"
        ));
    }
    let device = std::fs::canonicalize("/sys/class/net/upnic/device").expect("a device");
    let far = by_driver("igb").into_iter().find(|name| name != "upnic");
    (device.display().to_string(), far.expect("two igb"))
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

/// `-force` takes the place of any program, and ours does not fight for it.
#[test]
fn a_foreign_xdp_program_that_comes_by_force_keeps_the_place_and_tc_serves() {
    let _link = veth("upa", "wirea");
    let daemon = Daemon::start();
    daemon.until("native XDP", || placed_on(&daemon, "upa", "xdp-native"));
    sh(&format!(
        "ip -force link set dev upa xdpdrv object {PROBE} section xdp"
    ));
    daemon.until("tc", || placed_on(&daemon, "upa", "tc"));
    assert!(daemon.has_told(
        "interface-failed",
        "upa: somebody took the XDP program off; tc serves it"
    ));
    let plan = daemon.json("plan").to_string();
    assert!(plan.contains("probe_xdp"), "{plan}");
    assert!(daemon.has_tc("upa"));
    let shown = sh("ip -d link show upa");
    assert!(shown.contains("probe_xdp"), "{shown}");
    sh("ip link set dev upa xdpdrv off");
    daemon.until("native XDP when the other has gone", || {
        placed_on(&daemon, "upa", "xdp-native")
    });
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

/// On kernels without TCX the qdisc is Terrace's, and somebody's filter keeps it.
#[test]
fn a_foreign_tc_program_that_comes_later_stays_and_so_do_ours() {
    let _link = veth("upa", "wirea");
    let daemon = Daemon::start();
    daemon.until("a tier", || daemon.placed("upa"));
    attempt("tc qdisc add dev upa clsact");
    let theirs = format!("bpf da object-file {PROBE} section tc");
    sh(&format!(
        "tc filter add dev upa ingress pref 9 handle 1 {theirs}"
    ));
    daemon.deny("192.0.2.1\n");
    daemon.until("the list", || (daemon.n_denied() == 1).then_some(()));
    assert!(daemon.has_tc("upa"));
    let filters = || sh("tc filter show dev upa ingress");
    assert!(filters().contains("probe"), "{}", filters());
    drop(daemon);
    let left = filters();
    assert!(
        left.contains("probe") && !left.contains("terrace"),
        "{left}"
    );
}
