//! The namespace whose interfaces, routes and neighbours the programs ask for.
//!
//! ```text
//! clients, 10.30/16 -- 10.10.0.254 -- up0 10.10.0.1   XDP
//! 10.30.1/24 -------- 10.11.0.254 -- up1 10.11.0.1   XDP
//! 10.30.2/24 -------- 10.12.0.254 -- up2 10.12.0.1   tc only
//! 10.30.3/24 -------- 10.11.0.253 (no neighbour)     up1
//! 10.30.4/24          unreachable
//! 10.30.5/24          as clients, MTU 1300; 10.30.6/24 through up1, MTU 1300
//! ```
//!
//! IPv6 has the same numbers (see `Family::ip`).

use std::collections::BTreeMap;

use terrace_abi::sys;
use terrace_model::Family;
use terrace_testkit::{Netns, PinRoot};

use crate::lab::Lab;

/// The interfaces; `dark` is configured nowhere.
pub const IFACES: [&str; N_IFACES] = ["up0", "up1", "up2", "w1", "w2", "w3", "w4", "dark", "l7"];
pub const N_IFACES: usize = 9;
/// Interfaces with the third byte of their network and the host's address 1.
pub const UPLINKS: [(&str, u8); 3] = [("up0", 10), ("up1", 11), ("up2", 12)];

/// Our link-layer address on an interface.
pub fn mac(iface: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0x10, iface as u8]
}

/// That of the router behind an uplink.
pub fn router_mac(uplink: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0xfe, uplink as u8]
}

pub struct Fabric {
    ns: Netns,
    root: PinRoot,
}

impl Fabric {
    pub fn new(label: &str) -> Self {
        let ns = Netns::new(label).unwrap();
        for name in [
            "ipv4.ip_forward",
            "ipv6.conf.all.forwarding",
            "ipv6.conf.default.forwarding",
        ] {
            ns.sysctl(&format!("net.{name}"), "1").unwrap();
        }
        ns.ip(links()).unwrap();
        for family in Family::ALL {
            ns.ip(network(family)).unwrap();
        }
        let root = PinRoot::new().unwrap();
        Self { ns, root }
    }

    /// Runs `work` inside the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce(&mut Lab) -> T + Send) -> T {
        let root = self.root.path();
        let inside = || {
            let all: BTreeMap<String, u32> = sys::interfaces()
                .unwrap()
                .into_iter()
                .map(|(index, name)| (name, index))
                .collect();
            let ifaces = IFACES.map(|name| all[name]);
            work(&mut Lab::new(root, ifaces))
        };
        self.ns.enter(inside).unwrap()
    }
}

fn links() -> Vec<String> {
    let mut lines = Vec::new();
    for (i, name) in IFACES.iter().enumerate() {
        let mac = terrace_testkit::link::mac_text(mac(i));
        lines.push(format!(
            "link add {name} address {mac} type veth peer name far-{name}"
        ));
        lines.push(format!("link set far-{name} addrgenmode none"));
        lines.push(format!("link set {name} up"));
        lines.push(format!("link set far-{name} up"));
    }
    lines
}

fn network(family: Family) -> Vec<String> {
    let (six, length) = match family {
        Family::V4 => ("-4", 24),
        Family::V6 => ("-6", 64),
    };
    let nodad = if family == Family::V6 { " nodad" } else { "" };
    let mut lines = Vec::new();
    for (i, (uplink, net)) in UPLINKS.iter().enumerate() {
        let own = family.ip(&format!("10.{net}.0.1"));
        let router = family.ip(&format!("10.{net}.0.254"));
        let mac = terrace_testkit::link::mac_text(router_mac(i));
        lines.push(format!("address add {own}/{length} dev {uplink}{nodad}"));
        lines.push(format!(
            "neigh add {router} lladdr {mac} nud permanent dev {uplink}"
        ));
    }
    let routes = [
        ("default", "10.10.0.254", ""),
        ("10.30.1.0/24", "10.11.0.254", ""),
        ("10.30.2.0/24", "10.12.0.254", ""),
        ("10.30.3.0/24", "10.11.0.253", ""),
        ("10.30.5.0/24", "10.10.0.254", " mtu lock 1300"),
        ("10.30.6.0/24", "10.11.0.254", " mtu lock 1300"),
    ];
    for (to, via, rest) in routes {
        let to = match to {
            "default" => to.to_owned(),
            _ => crate::world::net(family, to).to_string(),
        };
        lines.push(format!("{six} route add {to} via {}{rest}", family.ip(via)));
    }
    let nowhere = crate::world::net(family, "10.30.4.0/24");
    lines.push(format!("{six} route add unreachable {nowhere}"));
    // `ip -batch` takes the family of a line only from the command line.
    lines
        .into_iter()
        .map(|line| line.replace("-4 ", "").replace("-6 ", ""))
        .collect()
}
