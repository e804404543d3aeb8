//! The device behind an interface: driver, PCI, NUMA, interrupts, SR-IOV,
//! virtio. By bus and name, as /sys/class/net shows another network namespace
//! than the asking thread's.

use std::collections::BTreeMap;

use super::settings::match_interrupts;
use super::survey::{Entries, Entry, probe};
use crate::ask::{Answers, Question};
use crate::decode::sysfs;
use crate::facts::{Fact, HostFacts, Value};

/// How far up a PCI device may be: virtio sits one level below.
const LEVELS: usize = 3;

/// Asks about each interface's driver and device.
pub(super) fn ask(machine: &mut dyn Answers, host: &HostFacts, entries: &mut Entries) {
    let mut irqs: Option<BTreeMap<u32, String>> = None;
    for entry in entries.values_mut() {
        driver(machine, entry);
        rules(machine, entry);
        let Some((bus, name)) = entry.link.parent.clone() else {
            continue;
        };
        entry.fact(
            "id.bus",
            Fact::declared(name.as_str(), "rtnl.IFLA_PARENT_DEV_NAME"),
        );
        let link = format!("/sys/bus/{bus}/devices/{name}");
        let Ok(path) = machine.ask(&Question::Target(link)) else {
            continue;
        };
        let device = path.text().to_owned();
        in_tree(machine, host, entry, &device);
        if bus == "virtio" {
            virtio(machine, entry, &device);
        }
        let Some(pci) = pci_of(machine, &device) else {
            continue;
        };
        pci_facts(machine, entry, &pci);
        let all = irqs.get_or_insert_with(|| interrupts(machine));
        queue_interrupts(machine, entry, &pci, all);
    }
}

fn text(machine: &mut dyn Answers, path: String) -> Option<String> {
    let said = machine.ask(&Question::Text(path)).ok()?;
    Some(said.text().to_owned())
}

fn driver(machine: &mut dyn Answers, entry: &mut Entry) {
    let source = "ioctl.GDRVINFO";
    let said = machine.ask(&Question::Driver(entry.facts.name.clone()));
    entry
        .facts
        .probes
        .push(probe(source, said.as_ref().map(drop)));
    let said = match said {
        Ok(said) => said,
        Err(no) => {
            // Links without a device still tell their kind.
            let known = entry.link.kind.clone().filter(|kind| !kind.is_empty());
            let fact = match known {
                Some(kind) => Fact::declared(kind, "rtnl.IFLA_INFO_KIND"),
                None => Fact::unknown(source, no.evidence()),
            };
            return entry.fact("id.driver", fact);
        }
    };
    let told = |name: &str| {
        said.field(name)
            .as_text()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    entry.fact("id.driver", Fact::declared(told("driver"), source));
    let version = told("version");
    if !version.is_empty() {
        entry.fact("id.driver_version", Fact::declared(version, source));
    }
    let firmware = told("firmware");
    if !firmware.is_empty() && firmware != "N/A" {
        entry.fact("id.firmware", Fact::declared(firmware, source));
    }
}

/// Whether the driver is the kernel's own: a module from elsewhere taints the
/// kernel with the letter O. What is built in has no module.
fn in_tree(machine: &mut dyn Answers, host: &HostFacts, entry: &mut Entry, device: &str) {
    let taint = machine.ask(&Question::Text(format!("{device}/driver/module/taint")));
    let version = entry
        .facts
        .facts
        .text("id.driver_version")
        .unwrap_or_default();
    let fact = match taint {
        Ok(taint) => {
            let foreign = taint.text().contains('O');
            Fact::declared(!foreign, "sysfs:driver/module/taint").with(taint.text())
        }
        Err(_) if version == host.kernel => Fact::declared(true, "ioctl.GDRVINFO").with(version),
        Err(no) => Fact::unknown("sysfs:driver/module/taint", no.evidence()),
    };
    entry.fact("driver.in_tree", fact);
}

fn rules(machine: &mut dyn Answers, entry: &mut Entry) {
    let source = "ioctl.GRXCLSRLCNT";
    let said = machine.ask(&Question::Rules(entry.facts.name.clone()));
    entry
        .facts
        .probes
        .push(probe(source, said.as_ref().map(drop)));
    match said {
        Ok(said) => {
            entry.fact("ntuple", Fact::verified(true, source));
            entry.fact(
                "ntuple.rules",
                Fact::declared(said.field("rules"), source).transient(),
            );
            let capacity = match said.field("capacity") {
                Value::Int(0) => Fact::unknown(source, "the driver does not say"),
                capacity => Fact::declared(capacity, source),
            };
            entry.fact("ntuple.capacity", capacity);
        }
        Err(no) if no.is_unsupported() => {
            entry.fact("ntuple", Fact::verified(false, source).with(no.evidence()));
        }
        Err(no) => entry.fact("ntuple", Fact::unknown(source, no.evidence())),
    }
}

fn virtio(machine: &mut dyn Answers, entry: &mut Entry, device: &str) {
    let Some(features) = text(machine, format!("{device}/features")) else {
        return;
    };
    let features = sysfs::virtio_features(&features);
    for (name, on) in &features {
        let fact = Fact::declared(*on, "sysfs:virtio/features");
        entry.fact(format!("virtio.f.{name}"), fact);
    }
    let merged = sysfs::guest_csum_or_tso(&features);
    let fact = Fact::declared(merged, "sysfs:virtio/features");
    entry.fact("virtio.f.guest_csum_or_tso", fact);
}

/// The PCI device at or above a device: the folder that has a class.
fn pci_of(machine: &mut dyn Answers, device: &str) -> Option<String> {
    let mut path = device;
    for _ in 0..LEVELS {
        let vendor = format!("{path}/subsystem_vendor");
        if text(machine, vendor).is_some() {
            return Some(path.to_owned());
        }
        path = path.rsplit_once('/')?.0;
    }
    None
}

fn pci_facts(machine: &mut dyn Answers, entry: &mut Entry, pci: &str) {
    let mut read = |name: &str| text(machine, format!("{pci}/{name}"));
    let ids = |pair: (Option<String>, Option<String>)| {
        let (vendor, device) = pair.0.zip(pair.1)?;
        Some(format!("{}:{}", sysfs::id(&vendor), sysfs::id(&device)))
    };
    let mut facts: Vec<(&str, Value, String)> = Vec::new();
    if let Some(id) = ids((read("vendor"), read("device"))) {
        facts.push(("id.pci", id.clone().into(), id));
    }
    if let Some(id) = ids((read("subsystem_vendor"), read("subsystem_device"))) {
        facts.push(("id.pci_subsystem", id.clone().into(), id));
    }
    if let Some(node) = read("numa_node") {
        let number = node.parse::<u32>().ok();
        facts.push(("host.numa_node", number.into(), node));
    }
    for (key, name) in [
        ("pcie.width", "current_link_width"),
        ("pcie.max_width", "max_link_width"),
        ("sriov.numvfs", "sriov_numvfs"),
        ("sriov.totalvfs", "sriov_totalvfs"),
    ] {
        if let Some(number) = read(name).and_then(|text| text.parse::<u32>().ok()) {
            facts.push((key, number.into(), number.to_string()));
        }
    }
    for (key, name) in [
        ("pcie.speed", "current_link_speed"),
        ("pcie.max_speed", "max_link_speed"),
    ] {
        if let Some(speed) = read(name) {
            facts.push((key, speed.clone().into(), speed));
        }
    }
    for (key, value, evidence) in facts {
        entry.fact(key, Fact::declared(value, "sysfs:pci").with(evidence));
    }
    let physfn = machine.ask(&Question::Target(format!("{pci}/physfn")));
    let is_vf = match physfn {
        Ok(_) => Fact::declared(true, "sysfs:pci/physfn"),
        Err(no) if no.no == "ENOENT" => Fact::declared(false, "sysfs:pci/physfn"),
        Err(no) => Fact::unknown("sysfs:pci/physfn", no.evidence()),
    };
    entry.fact("sriov.is_vf", is_vf);
}

fn interrupts(machine: &mut dyn Answers) -> BTreeMap<u32, String> {
    let text = text(machine, "/proc/interrupts".to_owned());
    sysfs::interrupts(&text.unwrap_or_default())
}

fn queue_interrupts(
    machine: &mut dyn Answers,
    entry: &mut Entry,
    pci: &str,
    all: &BTreeMap<u32, String>,
) {
    let said = machine.ask(&Question::Names(format!("{pci}/msi_irqs")));
    let names = said.as_ref().map_or(&[][..], |said| said.names());
    let own: BTreeMap<u32, String> = names
        .iter()
        .filter_map(|name| name.parse().ok())
        .filter_map(|irq: u32| Some((irq, all.get(&irq)?.clone())))
        .collect();
    match_interrupts(&mut entry.facts.queues, &own);
    for queue in &mut entry.facts.queues {
        if let Some(irq) = queue.irq {
            queue.cpus = text(machine, format!("/proc/irq/{irq}/effective_affinity_list"));
        }
    }
}
