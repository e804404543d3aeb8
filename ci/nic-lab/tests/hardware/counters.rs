//! What NICs count is in the same figures as what the host does. netdevsim counts nothing,
//! so an action that the kernel's own tc runs, on another interface, stands in: tc shows its
//! counters in every rule that shares it, and the daemon reads them where its rules are.

use serde_json::Value;
use terrace_nic_lab::{Daemon, Netdevsim, sh};

use super::flows::{Switch, exchange};
use super::{SERVICE, UPLINK, holds, rules_of, takes_rules};

/// Packets that the action has met.
const MET: u64 = 40;
const ETHERNET: u64 = 14;

/// Lets an action of this number meet packets, and puts a rule with it and with a cookie
/// of Terrace's at a priority of an interface. Packets and bytes that it has met.
pub fn counted(number: u32, (iface, priority): (&str, u32), rule: &Value) -> (u64, u64) {
    let cookie = rule["options"]["actions"][0]["cookie"].as_str();
    let cookie = cookie.expect("a cookie").to_owned();
    sh("tc qdisc add dev lo clsact");
    let flower = "flower ip_proto icmp dst_ip 127.0.0.1 skip_hw action gact";
    sh(&format!(
        "tc filter add dev lo ingress pref 7 protocol ip {flower} pass index {number} cookie {cookie}"
    ));
    sh(&format!("ping -q -i 0.01 -c {} 127.0.0.1", MET / 2));
    let shown = sh("tc -j -s filter show dev lo ingress");
    let filters: Value = serde_json::from_str(&shown).expect("JSON");
    let filters = filters.as_array().cloned().unwrap_or_default();
    let mut stats = filters
        .iter()
        .map(|filter| &filter["options"]["actions"][0]["stats"]);
    let stats = stats.find(|stats| stats["packets"].is_u64()).expect(&shown);
    let of = |name: &str| stats[name].as_u64().expect("a number");
    let met = (of("packets"), of("bytes"));
    // Requests and answers.
    assert_eq!(met.0, MET, "{shown}");
    sh(&format!(
        "tc filter add dev {iface} ingress pref {priority} handle 0x7777 protocol ip {flower} index {number}"
    ));
    sh("tc qdisc del dev lo clsact");
    met
}

#[test]
fn what_a_rule_of_a_flow_has_counted_is_the_flows_the_backends_and_the_nics() {
    if !takes_rules() {
        return;
    }
    let switch = Switch::new(40, None);
    let config = "[offload]\nflows = true\nflow_look = \"20s\"\npinned = [\"tcp 10.96.0.1:80\"]\n";
    let mut daemon = Daemon::with(config, "");
    daemon.manifest("web.yaml", SERVICE);
    let mut stream = switch.connect(&daemon);
    exchange(&mut stream);
    switch.until(&daemon, "rules of the flow", 1);
    let is_flow = |rule: &&Value| rule["options"].to_string().contains("pedit");
    let rules = rules_of("up0", 3);
    let rule = rules.iter().find(is_flow).expect("the flow");
    let before = (flow(&daemon), backend(&daemon));
    let (packets, bytes) = counted(78, ("up0", 0xa006), rule);
    let bytes = bytes - ETHERNET * packets;
    daemon.until("the flow's figures", || {
        (flow(&daemon).0 > before.0.0).then_some(())
    });
    let after = (flow(&daemon), backend(&daemon));
    let more = |(packets_before, bytes_before): (u64, u64)| {
        (packets_before + packets, bytes_before + bytes)
    };
    assert_eq!(after, (more(before.0), more(before.1)));
    let nics = daemon.json("status")["nics"].clone();
    let mut rows = nics.as_array().into_iter().flatten();
    let row = rows.find(|row| row["iface"] == "up0" && row["part"] == "flows");
    assert!(row.is_some_and(|row| row["packets"] == packets), "{nics}");
    exchange(&mut stream);
    drop(stream);
    daemon.stop();
}

/// Packets and bytes of the client's direction.
fn flow(daemon: &Daemon) -> (u64, u64) {
    let shown = daemon.json("flows --service shop/web");
    let mut flows = shown["flows"].as_array().into_iter().flatten();
    let flow = flows.find(|flow| flow["direction"] == "request" && flow["state"] == "established");
    let flow = flow.unwrap_or_else(|| panic!("{shown}"));
    let of = |name: &str| flow[name].as_u64().expect("a number");
    (of("packets"), of("bytes"))
}

/// What has gone to the backend.
fn backend(daemon: &Daemon) -> (u64, u64) {
    let services = daemon.json("services");
    let traffic = &services[0]["backends"][0]["traffic"];
    let of = |name: &str| {
        let number = traffic[name].as_u64();
        number.unwrap_or_else(|| panic!("{services}"))
    };
    (of("packets_to"), of("bytes_to"))
}

#[test]
fn what_a_rule_of_the_deny_list_has_counted_is_among_the_reasons() {
    if !takes_rules() {
        return;
    }
    let _device = Netdevsim::named(43, UPLINK);
    sh("ethtool -K upsim hw-tc-offload on");
    let daemon = Daemon::with("[offload]\ndeny_list = \"flower\"\n", "192.0.2.0/24\n");
    holds(&daemon, "hw-switch", 1, 1);
    let rule = rules_of(UPLINK, 1).remove(0);
    let met = counted(79, (UPLINK, 0xa000), &rule);
    dropped(&daemon, "deny_list", met);
    // Such a rule does not stay, and takes nothing of what it has counted along.
    only_ours(&daemon);
    holds(&daemon, "hw-switch", 1, 1);
    dropped(&daemon, "deny_list", met);
}

/// Waits until the daemon has taken out the rule that no NIC holds.
pub fn only_ours(daemon: &Daemon) {
    daemon.until("no rule of software's", || {
        let rules = sh(&format!("tc filter show dev {UPLINK} ingress"));
        (!rules.contains("skip_hw")).then_some(())
    });
}

/// Waits until the NIC has dropped so much for this reason.
pub fn dropped(daemon: &Daemon, reason: &str, met: (u64, u64)) {
    daemon.until(reason, || {
        let reasons = daemon.json("reasons");
        let mut rows = reasons.as_array().into_iter().flatten();
        let row = rows.find(|row| row["hook"] == "nic" && row["reason"] == reason)?;
        let is = (row["packets"].as_u64()?, row["bytes"].as_u64()?);
        (is == met).then_some(())
    });
}
