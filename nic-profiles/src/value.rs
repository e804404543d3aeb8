//! Values of facts, as rules see them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A count, a size, or a version as `major * 1000 + minor`.
    Int(i64),
    /// A name, or the state of a feature: `on`, `off`, `on-fixed`, `off-fixed`.
    Text(String),
    /// Names: feature bits, modes.
    List(Vec<String>),
}

/// The facts of one interface, by key; `None` = not known.
pub type Lookup<'l> = &'l dyn Fn(&str) -> Option<Value>;

impl Value {
    /// A kernel's version in the form that compares.
    pub fn version(major: u32, minor: u32) -> Self {
        Self::Int(i64::from(major) * 1000 + i64::from(minor))
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(true) => f.pad("yes"),
            Self::Bool(false) => f.pad("no"),
            Self::Int(n) => n.fmt(f),
            Self::Text(text) => f.pad(text),
            Self::List(names) => f.pad(&names.join(", ")),
        }
    }
}
