//! What happens to NICs and daemons while rules are there.

use terrace_nic_lab::{Daemon, Netdevsim, attempt, sh};

use super::{UPLINK, holds, program, rules, takes_rules};

/// What is in the NIC, however it got there.
fn held(device: &Netdevsim) -> usize {
    match takes_rules() {
        true => rules(UPLINK),
        false => usize::from(program(device) != 0),
    }
}

fn way() -> (&'static str, &'static str) {
    match takes_rules() {
        true => ("[offload]\ndeny_list = \"flower\"\n", "hw-switch"),
        false => ("", "hw-ebpf"),
    }
}

#[test]
fn a_nic_that_is_renamed_moved_or_removed_and_comes_again_has_its_part_of_the_list() {
    let (config, way) = way();
    let device = Netdevsim::named(5, UPLINK);
    sh("ethtool -K upsim hw-tc-offload on");
    let daemon = Daemon::with(config, "192.0.2.0/24\n2001:db8::/32\n");
    holds(&daemon, way, 2, 2);
    // Another name, which is no uplink, and back.
    sh("ip link set upsim down && ip link set upsim name other && ip link set other up");
    daemon.until("the end of it", || {
        daemon.row(UPLINK, "prefilter").is_null().then_some(())
    });
    match takes_rules() {
        true => assert_eq!(rules("other"), 0),
        false => assert_eq!(program(&device), 0),
    }
    sh("ip link set other down && ip link set other name upsim && ip link set upsim up");
    holds(&daemon, way, 2, 2);
    // Pulled out, and another one put in its place.
    device.remove();
    daemon.until("the end of it", || {
        daemon.row(UPLINK, "prefilter").is_null().then_some(())
    });
    let again = Netdevsim::new(6);
    sh(&format!("ethtool -K {} hw-tc-offload on", again.iface));
    sh(&format!(
        "ip link set {0} down && ip link set {0} name upsim && ip link set upsim up",
        again.iface
    ));
    holds(&daemon, way, 2, 2);
    assert!(held(&again) > 0);
    // In somebody else's namespace it is nobody's uplink.
    sh("ip netns add away && ip link set upsim netns away");
    daemon.until("the end of it", || {
        daemon.row(UPLINK, "prefilter").is_null().then_some(())
    });
    sh("ip -n away link set upsim netns 1 && ip link set upsim up");
    attempt("ethtool -K upsim hw-tc-offload on");
    holds(&daemon, way, 2, 2);
    sh("ip netns del away");
}

/// Killed between putting rules there and anything else: the rules name their owner.
#[test]
fn what_a_killed_daemon_has_left_goes_at_the_next_start_or_with_detach() {
    let (config, way) = way();
    let device = Netdevsim::named(7, UPLINK);
    sh("ethtool -K upsim hw-tc-offload on");
    let mut daemon = Daemon::with(config, "192.0.2.0/24\n2001:db8::/32\n");
    holds(&daemon, way, 2, 2);
    daemon.crash_and_restart("10.9.0.0/16\n");
    holds(&daemon, way, 1, 1);
    assert_eq!(held(&device), 1);
    // Dropping it is a crash and `terrace detach`.
    drop(daemon);
    assert_eq!(held(&device), 0);
    assert_eq!(program(&device), 0);
    let left = sh("tc qdisc show dev upsim");
    assert!(!left.contains("clsact"), "{left}");
}
