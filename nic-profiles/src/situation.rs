//! A situation that a driver is met in: what a machine does, why, and how to
//! change it, where that is more than the driver's source tells.

use serde::{Deserialize, Serialize};

use crate::expr::Predicate;
use crate::rule::Rule;
use crate::value::{Lookup, Value};

/// One file of `situations/`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Situation {
    /// The version of this format.
    pub schema: String,
    /// The name of the file.
    pub id: String,
    /// For people.
    pub title: String,
    /// How sure it is.
    pub status: Status,
    /// When it was last held against its sources: `2026-11-22`.
    pub reviewed: String,
    /// A name in `drivers/`: versions, limits and actions come from there.
    pub driver: String,
    /// Never planned on, whatever it claims.
    #[serde(default)]
    pub test_only: bool,
    /// When it is this one.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Where it knows better than the driver's file.
    #[serde(default, rename = "cap")]
    pub caps: Vec<Cap>,
    /// Its quirks as rules; one with the id of a driver's rule replaces it.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
    /// How this driver says no.
    #[serde(default, rename = "error")]
    pub errors: Vec<Means>,
    /// Which active probes are safe.
    #[serde(default)]
    pub probe: Probe,
}

/// How sure a situation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Terrace ran on it.
    Verified,
    /// Read in code and documents.
    Sourced,
    /// Neither.
    Draft,
}

impl Status {
    /// The name in files and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Sourced => "sourced",
            Self::Draft => "draft",
        }
    }
}

/// When it is this situation: all that is written must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// One of these names of a driver.
    #[serde(default)]
    pub driver: Vec<String>,
    /// One of these `vendor:device` ids.
    #[serde(default)]
    pub pci: Vec<String>,
    /// All of these.
    #[serde(default)]
    pub when: Vec<Predicate>,
}

impl Match {
    /// How many conditions hold; `None` = one does not, or is not known.
    pub fn score(&self, facts: Lookup<'_>) -> Option<usize> {
        let one_of = |key: &str, names: &[String]| match facts(key) {
            Some(Value::Text(value)) => names.contains(&value),
            _ => false,
        };
        let mut score = self.when.len();
        for (key, names) in [("id.driver", &self.driver), ("id.pci", &self.pci)] {
            if !names.is_empty() {
                if !one_of(key, names) {
                    return None;
                }
                score += 1;
            }
        }
        let holds = |predicate: &Predicate| predicate.holds(facts) == Ok(true);
        self.when.iter().all(holds).then_some(score)
    }
}

/// A fact that the situation knows better.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// `driver.native`, `driver.zero_copy`, ...
    pub fact: String,
    /// What it is.
    pub value: Value,
    /// Why.
    pub why: String,
    /// Where it was read.
    pub source: Vec<String>,
}

/// An answer of the driver, and the rule that explains it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Means {
    /// The probe: `attach_drv`, `xsk_bind_zerocopy`, ...
    pub stage: String,
    /// What it answered.
    pub errno: String,
    /// A part of the text with it; none = whatever the text.
    #[serde(default)]
    pub extack: String,
    /// The id of the rule.
    pub means: String,
}

/// Which active probes are safe.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Without asking.
    #[serde(default)]
    pub safe: Vec<String>,
    /// After asking.
    #[serde(default)]
    pub consent: Vec<String>,
    /// Not at all.
    #[serde(default)]
    pub never: Vec<String>,
    /// What proves that it works.
    #[serde(default)]
    pub verify: Vec<String>,
}
