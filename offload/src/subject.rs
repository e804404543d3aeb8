//! One interface as the rules see it: the host's facts, its own, its
//! neighbours', what profiles know, and what a program needs.

use terrace_nic_profiles::{Known, Profiles, Value as RuleValue};

use crate::Role;
use crate::facts::{Confidence, Fact, Facts, HostFacts, InterfaceFacts, Value};

/// All that is known of one host.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'m> {
    /// Its kernel and CPUs.
    pub host: &'m HostFacts,
    /// Its interfaces; neighbours of a judged one help to judge it.
    pub interfaces: &'m [InterfaceFacts],
    /// What is known of drivers.
    pub profiles: &'m Profiles,
}

/// What a program needs of its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Needs {
    /// What the interface is to Terrace; `None` = nothing yet.
    pub role: Option<Role>,
    /// It takes packets of several buffers.
    pub frags: bool,
    /// It redirects.
    pub redirect: bool,
    /// Others redirect to this interface.
    pub redirect_target: bool,
    /// AF_XDP workers read from it.
    pub worker: bool,
}

pub(crate) struct Subject<'s> {
    pub machine: Machine<'s>,
    pub iface: &'s InterfaceFacts,
    pub needs: Needs,
    pub known: Known<'s>,
}

impl<'s> Subject<'s> {
    pub fn new(machine: Machine<'s>, iface: &'s InterfaceFacts, needs: Needs) -> Self {
        let base = |key: &str| base_fact(machine, iface, needs, key);
        let known = machine.profiles.known(&base);
        Self {
            machine,
            iface,
            needs,
            known,
        }
    }

    /// A fact by its key; `None` = not known.
    pub fn value(&self, key: &str) -> Option<RuleValue> {
        let of_machine = base_fact(self.machine, self.iface, self.needs, key);
        of_machine.or_else(|| {
            let name = key.strip_prefix("driver.")?;
            self.driver(name)
        })
    }

    /// What the profiles say under `driver.`.
    pub fn driver(&self, name: &str) -> Option<RuleValue> {
        let version = self.machine.host.version().unwrap_or_default();
        let kernel = (version.0, version.1);
        self.known.fact(name, kernel, self.page_size())
    }

    /// Yes, no, or unknown.
    pub fn driver_can(&self, name: &str) -> Option<bool> {
        match self.driver(name) {
            Some(RuleValue::Bool(can)) => Some(can),
            _ => None,
        }
    }

    pub fn facts(&self) -> &'s Facts {
        &self.iface.facts
    }

    /// What the kernel's XDP feature word says of one bit.
    pub fn lists(&self, bit: &str) -> Option<bool> {
        let bits = self.facts().list("xdp.features")?;
        Some(bits.iter().any(|known| known == bit))
    }

    fn page_size(&self) -> u32 {
        match self.machine.host.page_size {
            0 => 4096,
            bytes => bytes,
        }
    }
}

/// Everything but `driver.`, which depends on it.
fn base_fact(
    machine: Machine<'_>,
    iface: &InterfaceFacts,
    needs: Needs,
    key: &str,
) -> Option<RuleValue> {
    if let Some(fact) = iface.facts.get(key) {
        return match key {
            "devlink.unhealthy" => names(fact),
            _ => of_fact(fact),
        };
    }
    if let Some(value) = implied(iface, key) {
        return Some(value);
    }
    if let Some(name) = key.strip_prefix("demand.") {
        return demand(needs, name);
    }
    match key {
        "ifname" => Some(RuleValue::text(&iface.name)),
        "role" => role(iface),
        "link.parent" => iface.lower.first().map(RuleValue::text),
        "switch_id" => Some(RuleValue::text(
            iface.switch_id.as_deref().unwrap_or("none"),
        )),
        "host.kernel" => machine.host.version().map(|v| RuleValue::version(v.0, v.1)),
        "host.kernel_name" => machine
            .host
            .version()
            .map(|v| RuleValue::text(v.to_string())),
        "host.page_size" if machine.host.page_size == 0 => None,
        _ if key.starts_with("host.") => of_value(&machine.host.value(key)),
        _ if key.starts_with("bond.ports_") => bond_ports(machine, iface, key),
        _ => peer(machine, iface, key.strip_prefix("peer.")?),
    }
}

/// What follows from a fact that is not there although its source was asked.
fn implied(iface: &InterfaceFacts, key: &str) -> Option<RuleValue> {
    let facts = &iface.facts;
    let link_told = facts.int("link.mtu").is_some();
    let none = |told: bool| told.then(|| RuleValue::text("none"));
    match key {
        "id.driver" if iface.role == crate::facts::InterfaceRole::Loopback => {
            Some(RuleValue::text("loopback"))
        }
        "id.driver" => facts.text("id.kind").map(RuleValue::text),
        "id.kind" | "link.controller" | "link.controller_kind" => none(link_told),
        "eswitch.mode" | "devlink.unhealthy" => {
            none(link_told && facts.get("devlink.handle").is_none())
        }
        "xdp.foreign_prog" => none(facts.text("xdp.attached_mode") == Some("none")),
        _ if key.starts_with("devlink.fw.") => none(facts.get("devlink.driver").is_some()),
        _ => None,
    }
}

fn of_fact(fact: &Fact) -> Option<RuleValue> {
    match (&fact.value, fact.confidence) {
        (Value::Null, Confidence::Unknown) => None,
        (Value::Null, _) => Some(RuleValue::text("none")),
        (value, _) => of_value(value),
    }
}

/// A list as one text, or `none`.
fn names(fact: &Fact) -> Option<RuleValue> {
    match &fact.value {
        Value::List(names) if names.is_empty() => Some(RuleValue::text("none")),
        Value::List(names) => Some(RuleValue::text(names.join(", "))),
        _ => of_fact(fact),
    }
}

fn of_value(value: &Value) -> Option<RuleValue> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => RuleValue::Bool(*value),
        Value::Int(value) => RuleValue::Int(*value),
        Value::Text(value) => RuleValue::Text(value.clone()),
        Value::List(words) => RuleValue::List(words.clone()),
    })
}

fn demand(needs: Needs, name: &str) -> Option<RuleValue> {
    let flag = match name {
        "frags" => needs.frags,
        "redirect" => needs.redirect,
        "redirect_target" => needs.redirect_target,
        "worker" => needs.worker,
        "role" => {
            let role = match needs.role {
                Some(Role::Uplink) => "uplink",
                Some(Role::Workload) => "workload",
                None => "none",
            };
            return Some(RuleValue::text(role));
        }
        _ => return None,
    };
    Some(RuleValue::Bool(flag))
}

fn role(iface: &InterfaceFacts) -> Option<RuleValue> {
    use crate::facts::InterfaceRole as Is;
    Some(RuleValue::text(match iface.role {
        Is::Port => "port",
        Is::Uplink => "uplink",
        Is::Representor => "representor",
        Is::Vf => "vf",
        Is::Sf => "sf",
        Is::Stacked => "stacked",
        Is::Virtual => "virtual",
        Is::Loopback => "loopback",
        Is::Unknown => return None,
    }))
}

/// The other end of a veth pair, where it is in the same report.
fn peer(machine: Machine<'_>, iface: &InterfaceFacts, name: &str) -> Option<RuleValue> {
    if iface.facts.text("id.kind") != Some("veth") {
        return None;
    }
    let parent = iface.facts.text("link.parent")?;
    let peer = machine
        .interfaces
        .iter()
        .find(|other| other.name == parent)?;
    match name {
        "mtu" => peer.facts.int("link.mtu").map(RuleValue::Int),
        "gro" => peer
            .facts
            .text("feat.rx-gro")
            .map(|state| RuleValue::Bool(state.starts_with("on"))),
        "has_program" => peer
            .facts
            .text("xdp.attached_mode")
            .map(|mode| RuleValue::Bool(mode != "none")),
        _ => None,
    }
}

/// Names of ports of a bond that stand in the way of XDP, or `none`.
fn bond_ports(machine: Machine<'_>, bond: &InterfaceFacts, key: &str) -> Option<RuleValue> {
    let of_bond =
        |port: &&InterfaceFacts| port.facts.text("link.controller") == Some(bond.name.as_str());
    let ports: Vec<_> = machine.interfaces.iter().filter(of_bond).collect();
    if ports.is_empty() {
        return None;
    }
    let stands = |port: &&&InterfaceFacts| {
        let subject = Subject::new(machine, port, Needs::default());
        match key {
            "bond.ports_without_native" => subject.driver_can("native") == Some(false),
            "bond.ports_without_xmit" => subject.driver_can("xmit") == Some(false),
            _ => {
                let mode = port.facts.text("xdp.attached_mode");
                mode.is_some_and(|mode| mode != "none")
            }
        }
    };
    let names: Vec<&str> = ports
        .iter()
        .filter(stands)
        .map(|port| port.name.as_str())
        .collect();
    Some(RuleValue::text(match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }))
}
