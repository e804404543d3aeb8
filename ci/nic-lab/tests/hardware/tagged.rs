//! Hot flows of a VLAN: its port has the rules, which take the tag off and put it on.

use terrace_nic_lab::{Daemon, Link, Netdevsim, attempt, sh};

use super::flows::{CONFIG, Switch, exchange, flows};
use super::{SERVICE, rules_of, takes_rules};

const VLAN: u16 = 5;
const FOLDER: &str = "/etc/terrace/nic-profiles.d";
/// netdevsim takes any action, so the shipped profile lists none.
const PROFILE: &str = "schema = \"nic-driver/1\"\nname = \"netdevsim\"\n\n[hw]\ntc_flower_actions = [\"redirect\", \"pedit\", \"csum\", \"vlan_push\", \"vlan_pop\"]\n";

/// The operator's profile; gone when dropped.
struct Profile;

impl Profile {
    fn new() -> Self {
        std::fs::create_dir_all(FOLDER).expect("a folder");
        let file = format!("{FOLDER}/netdevsim.toml");
        std::fs::write(file, PROFILE).expect("a profile");
        Self
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        std::fs::remove_file(format!("{FOLDER}/netdevsim.toml")).expect("it was there");
    }
}

#[test]
fn a_flow_of_a_vlan_loses_and_gets_its_tag_in_the_nic_where_the_profile_lists_that() {
    if !takes_rules() {
        return;
    }
    let switch = Switch::new(30, Some(VLAN));
    let mut daemon = Daemon::with(CONFIG, "");
    daemon.manifest("web.yaml", SERVICE);
    let mut stream = switch.connect(&daemon);
    exchange(&mut stream);
    daemon.until("why no rule", || {
        let plan = daemon.row("up0", "steer").to_string();
        plan.contains("does not list the action vlan_push")
            .then_some(())
    });
    assert_eq!((flows("sw0"), flows("up1")), (vec![], vec![]));
    drop(stream);
    let _profile = Profile::new();
    daemon.crash_and_restart("");
    let mut stream = switch.connect(&daemon);
    exchange(&mut stream);
    switch.until(&daemon, "rules of the flow", 1);
    let (there, back) = (flows("sw0").remove(0), flows("up1").remove(0));
    println!("there {there}\nback {back}");
    assert!(there.contains("\"vlan_id\":5") && there.contains("\"vlan_action\":\"pop\""));
    assert!(!there.contains("push"), "{there}");
    assert!(
        back.contains("\"vlan_action\":\"push\"") && back.contains("\"id\":5"),
        "{back}"
    );
    assert!(
        !back.contains("vlan_id") && !back.contains("\"pop\""),
        "{back}"
    );
    assert_eq!(rules_of("sw0", 3).len(), 3, "two guards and the flow");
    let plan = daemon.row("up0", "steer").to_string();
    assert!(plan.contains("1 of 1 hot flows"), "{plan}");
    exchange(&mut stream);
    // The port itself is no uplink, and what is left there is found all the same.
    daemon.crash_and_restart("");
    exchange(&mut stream);
    switch.until(&daemon, "one rule each, not two", 1);
    sh("ethtool -K sw0 hw-tc-offload off");
    switch.until(&daemon, "no rule without its switch", 0);
    exchange(&mut stream);
    sh("ethtool -K sw0 hw-tc-offload on");
    switch.until(&daemon, "rules again", 1);
    drop(stream);
    switch.until(&daemon, "the end of the flow", 0);
    daemon.stop();
    assert_eq!(sh("tc qdisc show dev sw0").matches("clsact").count(), 0);
}

/// Why tunnels are left to the host: the day this kernel's netdevsim takes such a rule, they
/// can be built and tried.
#[test]
fn a_rule_that_unwraps_a_tunnel_can_be_put_into_no_nic_here() {
    if !takes_rules() {
        return;
    }
    let (_device, ports) = Netdevsim::with_ports(50, 2);
    let port = &ports[0];
    sh(&format!("ethtool -K {port} hw-tc-offload on"));
    let _tunnel = Link::add("tunnel", "type vxlan external dstport 4789");
    sh(&format!(
        "tc qdisc add dev {port} clsact && tc qdisc add dev tunnel clsact"
    ));
    let rule = "protocol ip flower skip_sw";
    let (wraps, said) = attempt(&format!(
        "tc filter add dev {port} ingress {rule} dst_ip 192.0.2.1 action tunnel_key set src_ip 10.9.0.1 dst_ip 10.9.0.2 id 7 dst_port 4789 action mirred egress redirect dev tunnel"
    ));
    assert!(wraps, "{said}");
    let (unwraps, said) = attempt(&format!(
        "tc filter add dev tunnel ingress {rule} enc_key_id 7 action tunnel_key unset action mirred egress redirect dev {port}"
    ));
    println!("{said}");
    assert!(!unwraps, "{said}");
}
