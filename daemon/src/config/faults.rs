//! What is wrong with a configuration, all of it, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One fault of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub file: PathBuf,
    /// Counts from 1; 0 = the file as a whole.
    pub line: usize,
    /// The key, as `interfaces[0].role`; empty = the file as a whole.
    pub key: String,
    pub what: String,
    /// Empty when `what` says it too.
    pub fix: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// At least one fault, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    pub fn one(file: &Path, what: impl Into<String>, fix: impl Into<String>) -> Faults {
        Faults(vec![Fault {
            file: file.to_owned(),
            line: 0,
            key: String::new(),
            what: what.into(),
            fix: fix.into(),
        }])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
