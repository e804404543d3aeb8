//! One interface of each kind.

use serde_json::Value;
use terrace_nic_lab::{Link, Netdevsim, by_driver, has_netdevsim, report, sh};

/// An interface and what was said of it before anything was tried.
pub struct Interface {
    pub name: String,
    pub kind: String,
    pub passive: Value,
    // Gone in this order: what hangs on a link first.
    _links: Vec<Link>,
    _device: Option<Netdevsim>,
}

impl Interface {
    /// Whether it has a link that an attach may reset.
    pub fn is_nic(&self) -> bool {
        NICS.contains(&self.kind.as_str())
    }

    fn of(name: &str, kind: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            passive: report(name, ""),
            _links: Vec::new(),
            _device: None,
        }
    }
}

const NICS: [&str; 4] = ["igb", "virtio_net", "vmxnet3", "e1000e"];
const MADE: [(&str, &str, &str); 5] = [
    ("d0", "dummy", "type dummy"),
    ("v0", "veth", "type veth peer name v1"),
    ("nk0", "netkit", "type netkit"),
    ("b0", "bond", "type bond mode active-backup"),
    ("vl0", "vlan", "link v1 type vlan id 5"),
];

/// All that this kernel and this machine have.
pub fn zoo() -> Vec<Interface> {
    let mut all = vec![Interface::of("lo", "lo")];
    for (name, kind, rest) in MADE {
        let Some(link) = Link::add(name, rest) else {
            continue;
        };
        let mut links = vec![link];
        match kind {
            "veth" => drop(sh("ip link set v1 up")),
            // A bond is as good as its ports.
            "bond" => {
                links.extend(Link::add("p0", "type veth peer name p1"));
                sh("ip link set p1 up && ip link set p0 down && ip link set p0 master b0");
            }
            _ => {}
        }
        let mut made = Interface::of(name, kind);
        made._links = links;
        all.push(made);
    }
    for driver in NICS {
        if let Some(name) = by_driver(driver).first() {
            all.push(Interface::of(name, driver));
        }
    }
    if has_netdevsim() {
        let device = Netdevsim::new(7);
        let mut made = Interface::of(&device.iface.clone(), "netdevsim");
        made._device = Some(device);
        all.push(made);
    }
    all
}
