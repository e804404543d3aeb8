//! The interfaces of the table, and the table.

use serde_json::Value;
use terrace_nic_lab::{Link, Netdevsim, by_driver, kernel, report, sh, verdict};

const TIERS: [&str; 8] = [
    "hw-ebpf",
    "hw-switch",
    "hw-nic",
    "afxdp-zc",
    "xdp-native",
    "tc",
    "afxdp-copy",
    "xdp-generic",
];

/// An interface and what was said of it before anything was tried.
pub struct Interface {
    pub name: String,
    pub kind: String,
    pub passive: Value,
    _link: Option<Link>,
    _device: Option<Netdevsim>,
}

impl Interface {
    fn of(name: &str, kind: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            passive: report(name, ""),
            _link: None,
            _device: None,
        }
    }

    fn of_link(link: Link, kind: &str) -> Self {
        let mut made = Self::of(&link.name, kind);
        made._link = Some(link);
        made
    }

    /// One line of the table.
    pub fn line(&self) -> String {
        let verdicts = TIERS.map(|tier| format!("{tier}={}", verdict(&self.passive, tier)));
        format!("{:10} {}", self.kind, verdicts.join(" "))
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        if self.kind == "bond" {
            sh("ip link del p0");
        }
    }
}

/// One of each kind that this kernel and this machine have.
pub fn zoo() -> Vec<Interface> {
    let mut all = vec![Interface::of("lo", "lo")];
    for (name, kind, rest) in [
        ("d0", "dummy", "type dummy"),
        ("v0", "veth", "type veth peer name v1"),
        ("nk0", "netkit", "type netkit"),
        ("b0", "bond", "type bond mode active-backup"),
        ("vl0", "vlan", "link v1 type vlan id 5"),
    ] {
        if let Some(link) = Link::add(name, rest) {
            match kind {
                "veth" => sh("ip link set v1 up"),
                // A bond is as good as its ports.
                "bond" => sh(
                    "ip link add p0 type veth peer name p1 && ip link set p1 up && ip link set p0 master b0",
                ),
                _ => String::new(),
            };
            all.push(Interface::of_link(link, kind));
        }
    }
    for driver in ["igb", "virtio_net", "vmxnet3", "e1000e"] {
        if let Some(name) = by_driver(driver).first() {
            all.push(Interface::of(name, driver));
        }
    }
    if kernel() == "main" {
        let device = Netdevsim::new(7);
        let mut made = Interface::of(&device.iface.clone(), "netdevsim");
        made._device = Some(device);
        all.push(made);
    }
    all
}

pub fn recorded() -> String {
    let kernel = kernel();
    let path = format!("{}/tests/report/{kernel}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path);
    text.unwrap_or_else(|error| format!("(nothing: {path}: {error})"))
        .trim()
        .to_owned()
}
