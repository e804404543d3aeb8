//! The host as a whole.

use std::collections::BTreeMap;

use crate::ask::{Answers, Ask, Question, Said};
use crate::decode::sysfs;
use crate::facts::{Family, HostFacts, Value};
use crate::wire::{Attrs, genl};

/// The families that reports speak of.
const FAMILIES: [&str; 3] = ["netdev", "ethtool", "devlink"];

/// Asks everything that is about the host.
pub(super) fn ask(machine: &mut dyn Answers) -> HostFacts {
    let system = machine
        .ask(&Question::System)
        .unwrap_or(Said::Text(String::new()));
    let mut text = |path: &str| {
        let said = machine.ask(&Question::Text(path.to_owned())).ok()?;
        Some(said.text().to_owned()).filter(|text| !text.is_empty())
    };
    let cpus = |list: Option<String>| sysfs::cpu_count(&list?);
    let jit = text("/proc/sys/net/core/bpf_jit_enable");
    let lockdown = text("/sys/kernel/security/lockdown");
    let status = text("/proc/thread-self/status");
    let line = text("/sys/devices/system/cpu/cpu0/cache/index0/coherency_line_size");
    let mut host = HostFacts {
        kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
        arch: text("/proc/sys/kernel/arch").unwrap_or_default(),
        cpus_online: cpus(text("/sys/devices/system/cpu/online")),
        cpus_possible: cpus(text("/sys/devices/system/cpu/possible")),
        page_size: page_size(&system),
        cache_line: line.and_then(|line| line.parse().ok()),
        jit: jit_word(jit.as_deref()).to_owned(),
        caps: status
            .and_then(|s| sysfs::capabilities(&s))
            .unwrap_or_default(),
        lockdown: lockdown
            .as_deref()
            .and_then(sysfs::lockdown)
            .unwrap_or("unknown")
            .to_owned(),
        config: config(&system),
        ..HostFacts::default()
    };
    host.btf = btf(machine);
    host.netlink = families(machine);
    host
}

fn page_size(system: &Said) -> u32 {
    let size = system.field("page_size").as_int();
    size.and_then(|size| u32::try_from(size).ok()).unwrap_or(0)
}

fn config(system: &Said) -> BTreeMap<String, String> {
    let Said::Fields(fields) = system else {
        return BTreeMap::new();
    };
    let options = fields.iter().filter_map(|(name, value)| match value {
        Value::Text(value) => Some((name.clone(), value.clone())),
        _ => None,
    });
    options.collect()
}

fn jit_word(text: Option<&str>) -> &'static str {
    match text {
        Some("0") => "off",
        Some(_) => "on",
        None => "unknown",
    }
}

fn btf(machine: &mut dyn Answers) -> Option<bool> {
    let said = machine.ask(&Question::Names("/sys/kernel/btf".to_owned()));
    match said {
        Ok(said) => Some(said.names().iter().any(|name| name == "vmlinux")),
        Err(no) => (no.no == "ENOENT").then_some(false),
    }
}

fn families(machine: &mut dyn Answers) -> BTreeMap<String, Option<Family>> {
    let Ok(said) = machine.ask(&Question::Netlink(Ask::families())) else {
        return BTreeMap::new();
    };
    let mut found: BTreeMap<String, Option<Family>> = FAMILIES
        .iter()
        .map(|name| ((*name).to_owned(), None))
        .collect();
    for message in said.messages() {
        let attrs = genl::FAMILY.attrs(message);
        let name = attrs.text(2).unwrap_or_default();
        let Some(slot) = found.get_mut(&name) else {
            continue;
        };
        let ops = attrs.nest(6).iter();
        let mut ops: Vec<u32> = ops.filter_map(|(_, op)| Attrs(op).u32(1)).collect();
        ops.sort_unstable();
        *slot = Some(Family {
            version: attrs.u32(3).unwrap_or(0),
            ops,
        });
    }
    found
}
