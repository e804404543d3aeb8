//! The report: a survey with its verdicts, as `terrace nic --json` prints it and
//! `terrace plan --nic` reads it. Its schema is `schema/nic-report.schema.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use terrace_nic_profiles::Profiles;

use crate::facts::{HostFacts, InterfaceFacts};
use crate::judge::{Judged, fact, verdicts};
use crate::probe::{Mode, Survey};
use crate::subject::{Machine, Needs};

/// The version of the format. A reader refuses others; new fields don't change it.
pub const SCHEMA: &str = "terrace-nic-report/1";

/// A host with its interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// Who wrote it.
    pub tool: Tool,
    /// When the host was asked, RFC 3339.
    pub taken_at: String,
    /// How far it went.
    pub mode: Mode,
    /// The kernel and the CPUs.
    pub host: HostFacts,
    /// By index.
    pub interfaces: Vec<InterfaceReport>,
}

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `terrace`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One interface: its facts, and what they mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceReport {
    /// What is known.
    #[serde(flatten)]
    pub known: InterfaceFacts,
    /// What it can carry.
    #[serde(flatten)]
    pub judged: Judged,
}

/// Why a report can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It can't be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no report.
    #[error("{path} is no report of `terrace nic --json`: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Another version wrote it.
    #[error("{path} has the format {found:?}; this version reads {SCHEMA:?}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: String,
    },
}

impl Report {
    /// Judges a survey.
    pub fn of(survey: Survey, profiles: &Profiles, mode: Mode, taken_at: String) -> Self {
        let machine = Machine {
            host: &survey.host,
            interfaces: &survey.interfaces,
            profiles,
        };
        let judged: Vec<Judged> = survey
            .interfaces
            .iter()
            .map(|iface| verdicts(machine, iface))
            .collect();
        let effects: Vec<Option<String>> = survey
            .interfaces
            .iter()
            .map(|iface| attach_effect(machine, iface))
            .collect();
        let interfaces = survey.interfaces.into_iter().zip(effects);
        let interfaces = interfaces.map(|(known, effect)| with_effect(known, effect));
        let interfaces = interfaces.zip(judged);
        Self {
            schema: SCHEMA.to_owned(),
            tool: Tool {
                name: "terrace".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            taken_at,
            mode,
            host: survey.host,
            interfaces: interfaces
                .map(|(known, judged)| InterfaceReport { known, judged })
                .collect(),
        }
    }

    /// Reads a report of this or another machine.
    pub fn load(path: &Path) -> Result<Self, ReportError> {
        let text = std::fs::read_to_string(path).map_err(|source| ReportError::Read {
            path: path.to_owned(),
            source,
        })?;
        let report: Self = serde_json::from_str(&text).map_err(|source| ReportError::Json {
            path: path.to_owned(),
            source,
        })?;
        if report.schema != SCHEMA {
            return Err(ReportError::Schema {
                path: path.to_owned(),
                found: report.schema,
            });
        }
        Ok(report)
    }

    /// The facts alone: what a planner needs.
    pub fn survey(&self) -> Survey {
        Survey {
            host: self.host.clone(),
            interfaces: self.interfaces.iter().map(|i| i.known.clone()).collect(),
        }
    }

    /// What differs from an older report, one line a fact.
    pub fn changes_since(&self, old: &Self) -> Vec<String> {
        let of = |report: &Self, name: &str| {
            let mut all = report.interfaces.iter();
            all.find(|iface| iface.known.name == name).cloned()
        };
        let mut changes = Vec::new();
        for before in &old.interfaces {
            match of(self, &before.known.name) {
                None => changes.push(format!("{} is gone", before.known.name)),
                Some(now) => changes.extend(differences(before, &now)),
            }
        }
        for now in &self.interfaces {
            if of(old, &now.known.name).is_none() {
                changes.push(format!("{} is new", now.known.name));
            }
        }
        changes
    }
}

/// What attaching a program does to the link, as far as profiles know.
fn attach_effect(machine: Machine<'_>, iface: &InterfaceFacts) -> Option<String> {
    match fact(machine, iface, Needs::default(), "driver.attach_effect")? {
        terrace_nic_profiles::Value::Text(effect) => Some(effect),
        _ => None,
    }
}

/// Who is asked for consent is told what attaching does.
fn with_effect(mut known: InterfaceFacts, effect: Option<String>) -> InterfaceFacts {
    let effect = effect.unwrap_or_else(|| "not known".to_owned());
    let not_run = known.probes.iter_mut();
    for probe in not_run.filter(|probe| probe.name.starts_with("attach_drv")) {
        if let Some(why_not) = &mut probe.why_not
            && !why_not.contains("; effect: ")
        {
            why_not.push_str(&format!("; effect: {effect}"));
        }
    }
    known
}

fn differences(before: &InterfaceReport, now: &InterfaceReport) -> Vec<String> {
    let name = &now.known.name;
    let mut changes = Vec::new();
    let (old, new) = (&before.known.facts, &now.known.facts);
    let keys: std::collections::BTreeSet<&String> = old.0.keys().chain(new.0.keys()).collect();
    for key in keys {
        let (was, is) = (old.value(key), new.value(key));
        if was != is {
            changes.push(format!("{name} {key}: {was} -> {is}"));
        }
    }
    for (was, is) in before.judged.tiers.iter().zip(&now.judged.tiers) {
        if was.verdict != is.verdict {
            let (was, is, tier) = (was.verdict.name(), is.verdict.name(), is.tier);
            changes.push(format!("{name} tier {tier}: {was} -> {is}"));
        }
    }
    changes
}
