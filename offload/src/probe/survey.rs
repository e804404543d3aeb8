//! The survey: every question in its order, and the facts that come of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{devices, host, settings, stack, switch, traffic, trial};
use crate::ask::{Answers, Ask, No, Question, Recording, Replay};
use crate::decode::{Learned, link};
use crate::facts::{Fact, HostFacts, InterfaceFacts, Probe, ProbeResult};

/// How far a survey goes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Only reads; needs no rights.
    #[default]
    Passive,
    /// Also loads programs and frees them, and binds AF_XDP sockets that copy.
    Preload,
    /// Also attaches, binds and adds rules, and takes everything back.
    Active,
}

/// What active probes may do; each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Consent {
    /// Attach passing programs in the driver, with and without frags.
    pub attach: bool,
    /// Bind a zero-copy socket to the last queue.
    pub xsk: bool,
    /// Add a flower rule with skip_sw.
    pub flower: bool,
    /// Add a classification rule.
    pub ntuple: bool,
    /// Also where the default route leaves.
    pub default_route: bool,
}

/// What to survey.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// These interfaces, and those that they rest on; none = all.
    pub interfaces: Vec<String>,
    /// How far to go.
    pub mode: Mode,
    /// What active probes may do.
    pub consent: Consent,
    /// Tell MAC addresses.
    pub identify: bool,
}

/// What is known of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Survey {
    /// Of the whole.
    pub host: HostFacts,
    /// By index.
    pub interfaces: Vec<InterfaceFacts>,
}

/// Why there is no survey.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The kernel tells no links.
    #[error("ask the kernel for its interfaces: {}", .0.evidence())]
    Links(No),
    /// A name that no interface has.
    #[error("no interface {name:?} in this network namespace; there are: {there}")]
    NoInterface {
        /// The name.
        name: String,
        /// The names that there are.
        there: String,
    },
}

/// One interface while it is surveyed.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// How it lies to the others.
    pub link: link::Link,
    /// What is known so far.
    pub facts: InterfaceFacts,
}

impl Entry {
    /// Takes facts in.
    pub fn learn(&mut self, learned: Learned) {
        for (key, fact) in learned {
            self.facts.facts.learn(key, fact);
        }
    }

    /// Takes one fact in.
    pub fn fact(&mut self, key: impl Into<String>, fact: Fact) {
        self.facts.facts.learn(key, fact);
    }
}

/// Entries by index.
pub(super) type Entries = BTreeMap<u32, Entry>;

/// Asks a machine everything that the options allow.
pub fn survey(machine: &mut dyn Answers, options: &Options) -> Result<Survey, SurveyError> {
    let mut host = host::ask(machine);
    let mut entries = links(machine)?;
    if options.identify {
        identify(&mut entries);
    }
    settings::ask(machine, &mut entries);
    switch::ask(machine, &mut entries);
    stack::relate(&mut entries);
    choose(&mut entries, &options.interfaces)?;
    devices::ask(machine, &host, &mut entries);
    host.tcx = traffic::ask(machine, &mut entries);
    stack::resolve(&mut entries);
    settings::conclude(&host, &mut entries);
    trial::ask(machine, &host, options, &mut entries);
    let interfaces = entries.into_values().map(|entry| entry.facts).collect();
    Ok(Survey { host, interfaces })
}

/// The survey that a recording gives: the same as on the machine it is of.
pub fn replay(recording: &Recording) -> Result<Survey, SurveyError> {
    let options = Options {
        interfaces: recording.interfaces.clone(),
        mode: recording.mode,
        consent: recording.consent,
        identify: false,
    };
    survey(&mut Replay(recording.clone()), &options)
}

fn links(machine: &mut dyn Answers) -> Result<Entries, SurveyError> {
    let said = machine.ask(&Question::Netlink(Ask::links()));
    let said = said.map_err(SurveyError::Links)?;
    let mut entries = Entries::new();
    for message in said.messages() {
        let Some(link) = link::link(message) else {
            continue;
        };
        let mut entry = Entry::default();
        entry.facts.ifindex = link.ifindex;
        entry.facts.name.clone_from(&link.name);
        entry.learn(link::facts(message));
        entry.link = link;
        entries.insert(entry.link.ifindex, entry);
    }
    Ok(entries)
}

fn identify(entries: &mut Entries) {
    for entry in entries.values_mut() {
        let mac: Vec<String> = entry.link.mac.iter().map(|b| format!("{b:02x}")).collect();
        if !mac.is_empty() {
            entry.fact("id.mac", Fact::declared(mac.join(":"), "rtnl.IFLA_ADDRESS"));
        }
    }
}

/// Leaves the interfaces that were asked for, and those they rest on.
fn choose(entries: &mut Entries, names: &[String]) -> Result<(), SurveyError> {
    if names.is_empty() {
        return Ok(());
    }
    let mut keep = Vec::new();
    for name in names {
        let found = entries.values().find(|entry| entry.facts.name == *name);
        let found = found.ok_or_else(|| SurveyError::NoInterface {
            name: name.clone(),
            there: there(entries),
        })?;
        keep.push(found.facts.name.clone());
    }
    let mut at = 0;
    while at < keep.len() {
        let entry = entries.values().find(|e| e.facts.name == keep[at]);
        let under = entry.map(|entry| stack::rests_on(&entry.facts));
        for name in under.into_iter().flatten() {
            if !keep.contains(&name) {
                keep.push(name);
            }
        }
        at += 1;
    }
    entries.retain(|_, entry| keep.contains(&entry.facts.name));
    Ok(())
}

fn there(entries: &Entries) -> String {
    const SHOWN: usize = 12;
    let names = entries.values().map(|entry| entry.facts.name.as_str());
    let mut names: Vec<&str> = names.take(SHOWN + 1).collect();
    if names.len() > SHOWN {
        names[SHOWN] = "...";
    }
    names.join(", ")
}

/// The report of a question that has an answer or none.
pub(super) fn probe(name: impl Into<String>, answer: Result<(), &No>) -> Probe {
    let name = name.into();
    let Err(no) = answer else {
        return Probe {
            name,
            result: ProbeResult::Ok,
            ..Probe::default()
        };
    };
    let result = match no.no.as_str() {
        _ if no.is_permission() => ProbeResult::NoPermission,
        No::FAMILY => ProbeResult::NoFamily,
        No::RECORDED => ProbeResult::NotRun,
        _ if no.no.starts_with('E') => ProbeResult::Refused,
        _ => ProbeResult::Error,
    };
    Probe {
        name,
        result,
        errno: no.no.starts_with('E').then(|| no.no.clone()),
        extack: no.extack.clone(),
        why_not: (no.no == No::RECORDED).then(|| "not in the recording".to_owned()),
        ..Probe::default()
    }
}
