//! Versions of kernels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kernel's version as far as drivers' abilities depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct KernelVersion(pub u32, pub u32);

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for KernelVersion {
    type Err = String;

    /// Reads the start of `uname -r`: `6.12.43+deb13-amd64` is 6.12.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err(format!("{text:?} is no kernel version")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KernelVersion;

    #[test]
    fn kernel_versions_are_read_from_uname() {
        let rows = [
            ("6.12.43+deb13-amd64", Some(KernelVersion(6, 12))),
            ("6.1-rc2", Some(KernelVersion(6, 1))),
            ("6", None),
            ("x.y", None),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }
}
