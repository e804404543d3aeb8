//! Rules of tc flower that only the NIC holds.

use terrace_nic_lab::{Daemon, Netdevsim, sh};

use super::{UPLINK, holds, refused, rules, takes_rules};

const ONLY_RULES: &str = "[offload]\ndeny_list = \"flower\"\nentries = 64\n";
const FOUR: &str = "192.0.2.0/24\n2001:db8::/32\n198.51.100.7\n203.0.113.0/25\n";

#[test]
fn rules_follow_the_list_are_read_back_and_go_with_the_daemon() {
    let device = Netdevsim::named(3, UPLINK);
    let mut daemon = Daemon::with(ONLY_RULES, FOUR);
    let row = daemon.row(UPLINK, "prefilter");
    let says = row["blockers"].to_string();
    assert!(says.contains("hw-tc-offload is off at upsim"), "{says}");
    assert!(says.contains("ethtool -K upsim hw-tc-offload on"), "{says}");
    // The daemon hears of the setting by itself.
    sh("ethtool -K upsim hw-tc-offload on");
    if !takes_rules() {
        refused(&daemon, "only offload of BPF classifiers supported");
        assert_eq!(sh("tc qdisc show dev upsim").matches("clsact").count(), 0);
        return;
    }
    holds(&daemon, "hw-switch", 4, 4);
    assert_eq!(rules(UPLINK), 4);
    assert_eq!(daemon.row(UPLINK, "prefilter")["tier"], "nic");
    sh(
        "tc filter add dev upsim ingress pref 7 protocol ip flower dst_ip 192.0.2.9 skip_sw action drop cookie aabb",
    );
    daemon.deny("2001:db8::/32\n10.9.0.0/16\n");
    holds(&daemon, "hw-switch", 2, 2);
    assert_eq!(rules(UPLINK), 2);
    a_rule_that_somebody_removes_comes_back(&daemon);
    switched_off_by_somebody_it_goes_and_comes_back(&daemon);
    let many: String = (0..70).map(|n| format!("10.8.{n}.1\n")).collect();
    daemon.deny(&many);
    holds(&daemon, "hw-switch", 64, 70);
    let row = daemon.row(UPLINK, "prefilter").to_string();
    assert!(row.contains("the budget of rules is spent"), "{row}");
    daemon.stop();
    assert_eq!(rules(UPLINK), 0);
    let left = sh("tc filter show dev upsim ingress");
    assert!(
        left.contains("aabb"),
        "a rule of somebody else went along: {left}"
    );
    drop(device);
}

fn a_rule_that_somebody_removes_comes_back(daemon: &Daemon) {
    sh("tc filter del dev upsim ingress pref 40961 protocol ipv6");
    daemon.until("it again", || (rules(UPLINK) == 2).then_some(()));
    assert!(daemon.has_told("nic-lost", "taken off"));
}

/// netdevsim would go on taking rules: its callback does not look at the feature.
fn switched_off_by_somebody_it_goes_and_comes_back(daemon: &Daemon) {
    sh("ethtool -K upsim hw-tc-offload off");
    refused(daemon, "hw-tc-offload is off at upsim");
    assert_eq!(rules(UPLINK), 0);
    assert!(daemon.has_told("nic-lost", "left the NIC"));
    assert!(daemon.has_told("tier-fallback", "hw-tc-offload is off at upsim"));
    sh("ethtool -K upsim hw-tc-offload on");
    holds(daemon, "hw-switch", 2, 2);
}

/// The program's place is refused in the middle of a change: rules take over, and the
/// other way round.
#[test]
fn the_next_way_takes_over_when_one_is_refused_in_the_middle_of_a_change() {
    if !takes_rules() {
        return;
    }
    let device = Netdevsim::named(4, UPLINK);
    sh("ethtool -K upsim hw-tc-offload on");
    let daemon = Daemon::with("", "192.0.2.0/24\n");
    holds(&daemon, "hw-ebpf", 1, 1);
    device.knob("bpf_bind_accept", "N");
    daemon.deny(FOUR);
    holds(&daemon, "hw-switch", 4, 4);
    assert_eq!((super::program(&device), rules(UPLINK)), (0, 4));
    device.knob("bpf_bind_accept", "Y");
    daemon.deny("192.0.2.0/24\n");
    holds(&daemon, "hw-ebpf", 1, 1);
    assert_eq!(rules(UPLINK), 0);
}
