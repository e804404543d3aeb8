//! Hot established flows as rules of a NIC, end to end: two ports of one device, a client
//! behind the one and a server behind the other. netdevsim takes such rules and follows
//! none, so the host goes on serving the packets: this is about which rules are there.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use terrace_nic_lab::{Daemon, Netdevsim, sh};
use terrace_testkit::Netns;

use super::{SERVICE, rules_of, takes_rules};

pub const CONFIG: &str =
    "[offload]\nflows = true\nflow_look = \"1s\"\npinned = [\"tcp 10.96.0.1:80\"]\n";

/// A device with two ports that are up and take rules; with the VLAN of the first one, `up0`
/// is that, else the port. Behind it is a client, behind `up1` a server that says what it hears.
pub struct Switch {
    pub client: Netns,
    /// Of `up0`.
    pub port: &'static str,
    _server: Netns,
    _devices: [Netdevsim; 3],
}

impl Switch {
    pub fn new(id: u32, vlan: Option<u16>) -> Self {
        let (device, ports) = Netdevsim::with_ports(id, 2);
        let port = if vlan.is_some() { "sw0" } else { "up0" };
        for (old, name) in ports.iter().zip([port, "up1"]) {
            sh(&format!(
                "ip link set {old} down && ip link set {old} name {name} && ip link set {name} up"
            ));
            sh(&format!("ethtool -K {name} hw-tc-offload on"));
        }
        if let Some(vlan) = vlan {
            sh(&format!(
                "ip link add link {port} name up0 type vlan id {vlan}"
            ));
            sh("ip link set up0 up");
        }
        sh("sysctl -qw net.ipv4.ip_forward=1");
        let (client, near) = end("client", id + 1, ("up0", port), 1, vlan);
        let (server, far) = end("server", id + 2, ("up1", "up1"), 2, None);
        let switch = |port: &str| sh(&format!("cat /sys/class/net/{port}/phys_switch_id"));
        assert_eq!(switch(port), switch("up1"));
        serve(&server);
        Self {
            client,
            port,
            _server: server,
            _devices: [device, near, far],
        }
    }

    pub fn connect(&self, daemon: &Daemon) -> TcpStream {
        daemon.until("a connection", || {
            let connected = self.client.enter(|| {
                let to = "10.96.0.1:80".parse().expect("an address");
                TcpStream::connect_timeout(&to, Duration::from_secs(2))
            });
            connected.expect("enter").ok()
        })
    }

    /// Waits until so many flows are in each port.
    pub fn until(&self, daemon: &Daemon, what: &str, each: usize) {
        daemon.until(what, || {
            let ports = [self.port, "up1"];
            let held = ports.map(|port| flows(port).len());
            (held == [each; 2]).then_some(())
        });
    }
}

/// An end of the network behind one port of the device.
fn end(
    label: &str,
    id: u32,
    (uplink, port): (&str, &str),
    net: u8,
    vlan: Option<u16>,
) -> (Netns, Netdevsim) {
    let ns = Netns::new(label).expect("a namespace");
    let (device, ifaces) = Netdevsim::with_ports(id, 1);
    let (name, there) = (ns.name(), &ifaces[0]);
    sh(&format!("ip link set {there} netns {name}"));
    sh(&format!("ip -n {name} link set {there} up"));
    let mut iface = there.clone();
    if let Some(vlan) = vlan {
        iface = "tagged".to_owned();
        sh(&format!(
            "ip -n {name} link add link {there} name {iface} type vlan id {vlan}"
        ));
        sh(&format!("ip -n {name} link set {iface} up"));
    }
    sh(&format!(
        "ip -n {name} addr add 10.{net}.0.2/24 dev {iface}"
    ));
    sh(&format!("ip -n {name} route add default via 10.{net}.0.1"));
    sh(&format!("ip addr add 10.{net}.0.1/24 dev {uplink}"));
    Netdevsim::wire(port, name, there);
    sh(&format!("ip netns exec {name} ping -c 1 -W 5 10.{net}.0.1"));
    (ns, device)
}

fn serve(server: &Netns) {
    let listener = server.enter(|| TcpListener::bind("10.2.0.2:80"));
    let listener = listener.expect("enter").expect("listen");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().expect("a socket"), stream);
                std::io::copy(&mut from, &mut to)
            });
        }
    });
}

pub fn flows(port: &str) -> Vec<String> {
    let rules = rules_of(port, 3);
    let texts = rules.iter().map(|rule| rule["options"].to_string());
    texts.filter(|text| text.contains("pedit")).collect()
}

pub fn exchange(stream: &mut TcpStream) {
    stream.write_all(b"ping").expect("send");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"ping");
}

#[test]
fn a_pinned_flow_has_a_rule_in_each_direction_until_it_ends_or_the_daemon_does() {
    if !takes_rules() {
        return;
    }
    let switch = Switch::new(20, None);
    let mut daemon = Daemon::with(CONFIG, "");
    daemon.manifest("web.yaml", SERVICE);
    let mut stream = switch.connect(&daemon);
    exchange(&mut stream);
    switch.until(&daemon, "rules of the flow", 1);
    let (there, back) = (flows("up0").remove(0), flows("up1").remove(0));
    println!("there {there}\nback {back}");
    // The host has SYN, FIN and RST, and what may go no further.
    assert!(there.contains("10.96.0.1") && there.contains("csum") && there.contains("mirred"));
    assert!(there.contains("tcp_flags"), "{there}");
    assert_eq!(rules_of("up0", 3).len(), 3, "two guards and the flow");
    let plan = daemon.row("up0", "steer").to_string();
    assert!(plan.contains("1 of 1 hot flows"), "{plan}");
    exchange(&mut stream);
    what_policy_changes_brings_down(&daemon);
    switch.until(&daemon, "rules of the flow again", 1);
    // A killed daemon leaves rules, and the next one finds them.
    daemon.crash_and_restart("");
    exchange(&mut stream);
    switch.until(&daemon, "one rule each, not two", 1);
    drop(stream);
    switch.until(&daemon, "the end of the flow", 0);
    let mut stream = switch.connect(&daemon);
    exchange(&mut stream);
    switch.until(&daemon, "rules of the next flow", 1);
    sh("ethtool -K up1 hw-tc-offload off");
    daemon.until("no rule without its switch", || {
        (flows("up0").is_empty() && flows("up1").is_empty()).then_some(())
    });
    exchange(&mut stream);
    sh("ethtool -K up1 hw-tc-offload on");
    switch.until(&daemon, "rules again", 1);
    daemon.stop();
    assert!(rules_of("up0", 3).is_empty() && rules_of("up1", 3).is_empty());
}

/// Policy has another revision with a new workload under it.
fn what_policy_changes_brings_down(daemon: &Daemon) {
    daemon.manifest(
        "deny.yaml",
        "
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: { name: wall }
spec:
  endpointSelector: {}
  ingressDeny: [{ fromCIDR: [203.0.113.0/24] }]
",
    );
}
