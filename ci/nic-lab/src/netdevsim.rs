//! netdevsim: a device whose "hardware" is the kernel's own book-keeping.

use crate::sh;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use terrace_testkit::wait;

/// One device with its ports; gone when dropped.
#[derive(Debug)]
pub struct Netdevsim {
    id: u32,
    /// The interface of the first port.
    pub iface: String,
}

impl Netdevsim {
    pub fn new(id: u32) -> Self {
        Self::with_ports(id, 1).0
    }

    /// With the interfaces of all its ports.
    pub fn with_ports(id: u32, ports: usize) -> (Self, Vec<String>) {
        sh("modprobe netdevsim");
        write("/sys/bus/netdevsim/new_device", &format!("{id} {ports}"));
        let folder = format!("/sys/bus/netdevsim/devices/netdevsim{id}/net");
        let all = || {
            let entries = fs::read_dir(&folder).ok()?.flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            let mut names: Vec<String> = names.collect();
            names.sort();
            (names.len() == ports).then_some(names)
        };
        let ifaces = wait::until("netdevsim's interfaces", Duration::from_secs(20), all);
        let ifaces = ifaces.expect("netdevsim makes interfaces");
        for iface in &ifaces {
            sh(&format!("ip link set {iface} up"));
        }
        let iface = ifaces[0].clone();
        (Self { id, iface }, ifaces)
    }

    /// A wire from an interface here to one of a namespace (Linux 6.12 and newer).
    pub fn wire(here: &str, namespace: &str, there: &str) {
        let number = format!("ip netns exec {namespace} cat /sys/class/net/{there}/ifindex");
        let (ours, theirs) = (
            sh(&format!("cat /sys/class/net/{here}/ifindex")),
            sh(&number),
        );
        sh(&format!(
            "exec 3</proc/self/ns/net 4</run/netns/{namespace}; echo 3:{} 4:{} > /sys/bus/netdevsim/link_device",
            ours.trim(),
            theirs.trim()
        ));
    }

    /// The same under a name that the daemon serves.
    pub fn named(id: u32, name: &str) -> Self {
        let mut device = Self::new(id);
        let old = device.iface.clone();
        sh(&format!(
            "ip link set {old} down && ip link set {old} name {name} && ip link set {name} up"
        ));
        device.iface = name.to_owned();
        device
    }

    /// Where the bus shows it.
    pub fn folder(&self) -> String {
        format!("/sys/bus/netdevsim/devices/netdevsim{}", self.id)
    }

    fn debugfs(&self) -> PathBuf {
        format!("/sys/kernel/debug/netdevsim/netdevsim{}", self.id).into()
    }

    /// Sets one of the knobs that make it refuse, such as `ports/0/bpf_map_accept`.
    pub fn knob(&self, name: &str, value: &str) {
        let path = self.debugfs().join(name);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// What a file of its debugfs says.
    pub fn says(&self, name: &str) -> String {
        let path = self.debugfs().join(name);
        let text = fs::read_to_string(&path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim().to_owned()
    }

    /// Takes it away, as pulling a card out would.
    pub fn remove(&self) {
        write("/sys/bus/netdevsim/del_device", &self.id.to_string());
    }
}

impl Drop for Netdevsim {
    fn drop(&mut self) {
        let _ = fs::write("/sys/bus/netdevsim/del_device", self.id.to_string());
    }
}

fn write(path: &str, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
}
