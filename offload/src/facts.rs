//! Facts: what is known of a host and of its interfaces, from whom, and how sure
//! that is.
//!
//! A fact that nobody could tell is *unknown*, which is not *no*: a missing
//! permission or a missing netlink family never reads as a missing ability.

mod host;
mod interface;
pub mod keys;
mod value;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use host::{Family, HostFacts};
pub use interface::{InterfaceFacts, InterfaceRole, Probe, ProbeResult, Queue, SideEffect};
pub use value::Value;

/// How sure a fact is, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Nobody could tell.
    #[default]
    Unknown,
    /// From the profiles of drivers and situations, not from this machine.
    Profile,
    /// The kernel says so; nothing was tried.
    Declared,
    /// A rule concludes it from what the kernel says.
    Computed,
    /// It was tried.
    Verified,
    /// Two sources disagree; the value is the pessimistic one.
    Contradicted,
}

impl Confidence {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Profile => "profile",
            Self::Declared => "declared",
            Self::Computed => "computed",
            Self::Verified => "verified",
            Self::Contradicted => "contradicted",
        }
    }
}

/// One thing known, with its source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact<T = Value> {
    /// What is known. Unknown facts have [`Value::Null`]; null with another
    /// confidence means that the source says "none".
    pub value: T,
    /// How sure it is.
    pub confidence: Confidence,
    /// Who says so: `netdev.DEV_GET.3`, `ioctl.GDRVINFO`, `rule:virtio.guest-offloads-fixed`.
    pub source: String,
    /// What the source said, raw: `0x2b`, `-EOPNOTSUPP`, extended ack text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// Who says otherwise.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<Against<T>>,
    /// May change when a program is attached or a setting changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
}

/// Another source's different answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Against<T = Value> {
    /// Who.
    pub source: String,
    /// What.
    pub value: T,
}

impl Fact {
    /// A fact of any confidence.
    pub fn new(confidence: Confidence, value: impl Into<Value>, source: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            confidence,
            source: source.into(),
            ..Self::default()
        }
    }

    /// The kernel says so.
    pub fn declared(value: impl Into<Value>, source: impl Into<String>) -> Self {
        Self::new(Confidence::Declared, value, source)
    }

    /// It was tried.
    pub fn verified(value: impl Into<Value>, source: impl Into<String>) -> Self {
        Self::new(Confidence::Verified, value, source)
    }

    /// A rule concludes it.
    pub fn computed(value: impl Into<Value>, source: impl Into<String>) -> Self {
        Self::new(Confidence::Computed, value, source)
    }

    /// A profile says so.
    pub fn profile(value: impl Into<Value>, source: impl Into<String>) -> Self {
        Self::new(Confidence::Profile, value, source)
    }

    /// Nobody could tell; the evidence says why.
    pub fn unknown(source: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Confidence::Unknown, Value::Null, source).with(why)
    }

    /// Adds what the source said.
    pub fn with(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = Some(evidence.into());
        self
    }

    /// Marks it as liable to change.
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Joins what another source says of the same thing.
    ///
    /// Unknown gives way to anything; a trial gives way to nothing; the kernel
    /// gives way to no profile. A rule and the kernel that disagree make the
    /// fact contradicted, and its value the pessimistic one.
    pub fn join(self, other: Self) -> Self {
        let (low, high) = if self.confidence <= other.confidence {
            (self, other)
        } else {
            (other, self)
        };
        if low.confidence == Confidence::Unknown || low.value == high.value {
            return high;
        }
        let verified = high.confidence == Confidence::Verified;
        if verified || low.confidence == Confidence::Profile {
            return high.against(low);
        }
        let (kept, dropped) = if low.value.is_below(&high.value) {
            (low, high)
        } else {
            (high, low)
        };
        let mut fact = kept.against(dropped);
        fact.confidence = Confidence::Contradicted;
        fact
    }

    fn against(mut self, other: Self) -> Self {
        self.against.extend(other.against);
        self.against.push(Against {
            source: other.source,
            value: other.value,
        });
        self
    }
}

/// Facts by their dotted keys; [`keys`] lists them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facts(pub BTreeMap<String, Fact>);

impl Facts {
    /// A fact; `None` = nobody asked.
    pub fn get(&self, key: &str) -> Option<&Fact> {
        self.0.get(key)
    }

    /// Its value; null when unknown or not asked.
    pub fn value(&self, key: &str) -> &Value {
        self.get(key).map_or(&Value::Null, |fact| &fact.value)
    }

    /// Yes, no, or `None` = unknown.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.value(key).as_bool()
    }

    /// A number; `None` = unknown or none.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.value(key).as_int()
    }

    /// A text; `None` = unknown or none.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.value(key).as_text()
    }

    /// A list; `None` = unknown.
    pub fn list(&self, key: &str) -> Option<&[String]> {
        self.value(key).as_list()
    }

    /// How sure a fact is.
    pub fn confidence(&self, key: &str) -> Confidence {
        self.get(key).map_or(Confidence::Unknown, |f| f.confidence)
    }

    /// Takes a fact in, joined with what is known already.
    pub fn learn(&mut self, key: impl Into<String>, fact: Fact) {
        let key = key.into();
        debug_assert!(keys::is_known(&key), "{key} is not in the list of keys");
        let fact = match self.0.remove(&key) {
            Some(known) => known.join(fact),
            None => fact,
        };
        self.0.insert(key, fact);
    }
}

#[cfg(test)]
mod tests;
