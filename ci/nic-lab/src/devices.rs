//! Interfaces of the machine.

use crate::{attempt, sh};
use std::fs;

/// A link that is made for a test and goes with it.
#[derive(Debug)]
pub struct Link {
    pub name: String,
}

impl Link {
    /// `ip link add NAME REST`, up; `None` when this kernel has no such kind.
    pub fn add(name: &str, rest: &str) -> Option<Self> {
        // With a name, both ends of a netkit pair would get it.
        let line = match rest {
            "type netkit" => format!("ip link add {rest}"),
            rest => format!("ip link add {name} {rest}"),
        };
        let (success, said) = attempt(&line);
        if !success {
            assert!(said.contains("Unknown device type"), "{line}: {said}");
            return None;
        }
        sh(&format!("ip link set {name} up"));
        Some(Self {
            name: name.to_owned(),
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        attempt(&format!("ip link del {}", self.name));
    }
}

/// The driver that the kernel names for a device behind an interface.
pub fn driver(iface: &str) -> Option<String> {
    let link = fs::read_link(format!("/sys/class/net/{iface}/device/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// The interfaces of a driver, in the order of their numbers, up and with carrier.
pub fn by_driver(wanted: &str) -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").expect("sysfs is mounted");
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found: Vec<String> = names
        .filter(|name| driver(name).is_some_and(|driver| driver == wanted))
        .collect();
    found.sort_by_key(|name| {
        let index = fs::read_to_string(format!("/sys/class/net/{name}/ifindex"));
        index.ok().and_then(|text| text.trim().parse::<u32>().ok())
    });
    for name in &found {
        sh(&format!("ip link set {name} up"));
    }
    found
}
