//! devlink: the switch in the NIC, and which interface is which port of it.

use std::collections::{BTreeMap, BTreeSet};

use super::survey::{Entries, Entry, probe};
use crate::ask::{Answers, Ask, No, Question, Said};
use crate::decode::{Learned, devlink};
use crate::facts::Fact;
use crate::wire::devlink::{
    ANY, ESWITCH_GET, GET, HEALTH_REPORTER_GET, INFO_GET, PARAM_GET, PORT_GET,
};

fn dump(command: u8, name: &'static str) -> Question {
    Question::Netlink(Ask::generic("devlink", command, name, ANY))
}

/// Asks about all devices, and gives each interface those of its own.
pub(super) fn ask(machine: &mut dyn Answers, entries: &mut Entries) {
    let devices = machine.ask(&dump(GET, "GET"));
    for entry in entries.values_mut().filter(|e| e.link.parent.is_some()) {
        entry
            .facts
            .probes
            .push(probe("devlink.GET", devices.as_ref().map(drop)));
    }
    let Ok(devices) = devices else {
        return;
    };
    let devices: BTreeSet<(String, String)> = devices
        .messages()
        .iter()
        .filter_map(|m| devlink::address(m))
        .collect();
    let ports = messages(machine.ask(&dump(PORT_GET, "PORT_GET")));
    let ports: Vec<devlink::Port> = ports.iter().filter_map(|m| devlink::port(m)).collect();
    let mut known: BTreeMap<String, Learned> = BTreeMap::new();
    for (bus, device) in devices {
        let learned = device_facts(machine, &bus, &device);
        known.insert(format!("{bus}/{device}"), learned);
    }
    for (handle, learned) in device_wide(machine) {
        known.entry(handle).or_default().extend(learned);
    }
    for entry in entries.values_mut() {
        let port = ports.iter().find(|port| port.ifindex == entry.link.ifindex);
        let of_parent = entry.link.parent.as_ref();
        let of_parent = of_parent.map(|(bus, name)| format!("{bus}/{name}"));
        let handle = port.map(|port| port.handle.clone()).or(of_parent);
        if let Some(learned) = handle.as_ref().and_then(|handle| known.get(handle)) {
            let own = Fact::declared(handle.clone(), "devlink.GET");
            entry.fact("devlink.handle", own);
            entry.learn(learned.clone());
        }
        if let Some(port) = port {
            flavour(entry, port);
        }
    }
}

fn flavour(entry: &mut Entry, port: &devlink::Port) {
    let fact = Fact::declared(port.flavour.as_str(), "devlink.PORT_GET.77");
    entry.fact("devlink.flavour", fact);
}

fn messages(answer: Result<Said, No>) -> Vec<Vec<u8>> {
    answer.map_or_else(|_| Vec::new(), |said| said.messages().to_vec())
}

/// What must be asked device by device.
fn device_facts(machine: &mut dyn Answers, bus: &str, device: &str) -> Learned {
    let mut one = |command, name| {
        let ask = Ask::generic("devlink", command, name, ANY).device(bus, device);
        machine.ask(&Question::Netlink(ask))
    };
    let mut learned = Learned::new();
    match one(ESWITCH_GET, "ESWITCH_GET") {
        Ok(said) => learned.extend(said.messages().iter().flat_map(|m| devlink::eswitch(m))),
        Err(no) if no.is_unsupported() => {
            let none = Fact::declared("none", "devlink.ESWITCH_GET").with(no.evidence());
            learned.push(("eswitch.mode".to_owned(), none));
        }
        // Only the network's administrator may ask.
        Err(no) => {
            let unknown = Fact::unknown("devlink.ESWITCH_GET", no.evidence());
            learned.push(("eswitch.mode".to_owned(), unknown));
        }
    }
    for message in messages(one(INFO_GET, "INFO_GET")) {
        learned.extend(devlink::info(&message));
    }
    learned
}

/// What one question tells of all devices.
fn device_wide(machine: &mut dyn Answers) -> BTreeMap<String, Learned> {
    let mut known: BTreeMap<String, Learned> = BTreeMap::new();
    for message in messages(machine.ask(&dump(PARAM_GET, "PARAM_GET"))) {
        let found = devlink::handle(&message).zip(devlink::parameter(&message));
        if let Some((handle, parameter)) = found {
            known.entry(handle).or_default().push(parameter);
        }
    }
    let mut health: BTreeMap<String, (u64, Vec<String>)> = BTreeMap::new();
    for message in messages(machine.ask(&dump(HEALTH_REPORTER_GET, "HEALTH_REPORTER_GET"))) {
        let found = devlink::handle(&message).zip(devlink::reporter(&message));
        let Some((handle, (name, in_error, errors))) = found else {
            continue;
        };
        let (sum, sick) = health.entry(handle).or_default();
        *sum = sum.saturating_add(errors);
        sick.extend(in_error.then_some(name));
    }
    let source = "devlink.HEALTH_REPORTER_GET";
    for (handle, (errors, sick)) in health {
        let learned = known.entry(handle).or_default();
        let errors = Fact::declared(errors, source).transient();
        learned.push(("devlink.health_errors".to_owned(), errors));
        let sick = Fact::declared(sick, source).transient();
        learned.push(("devlink.unhealthy".to_owned(), sick));
    }
    known
}
