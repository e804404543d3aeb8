//! Since which kernel a driver can do something.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// What is known of the first kernel with an ability, in mainline versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Not in any kernel that was read.
    Never,
    /// In exactly this one and later: `5.18`.
    At((u32, u32)),
    /// In this one and later; how much earlier was not read: `<=5.10`.
    AtLatest((u32, u32)),
    /// Not before the first, surely from the second on: `5.11..6.1`.
    Between((u32, u32), (u32, u32)),
    /// What the ports of a stacked device can do: `slave`.
    Ports,
}

impl Since {
    /// Whether a kernel has it; `None` = the sources that were read don't say.
    pub fn at(self, kernel: (u32, u32)) -> Option<bool> {
        match self {
            Self::Never => Some(false),
            Self::At(first) => Some(kernel >= first),
            Self::AtLatest(first) => (kernel >= first).then_some(true),
            Self::Between(left, _) if kernel < left => Some(false),
            Self::Between(_, right) => (kernel >= right).then_some(true),
            Self::Ports => None,
        }
    }

    /// The first kernel that has it for certain.
    pub fn certain(self) -> Option<(u32, u32)> {
        match self {
            Self::At(at) | Self::AtLatest(at) | Self::Between(_, at) => Some(at),
            Self::Never | Self::Ports => None,
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "no" {
            return Ok(Self::Never);
        }
        if text == "slave" {
            return Ok(Self::Ports);
        }
        let bad = || {
            format!(
                "{text:?} is no version range; write \"5.18\", \"<=5.10\", \"5.11..6.1\", \">6.12,<=7.2\" or \"no\""
            )
        };
        let range = if let Some(at) = text.strip_prefix("<=") {
            Self::AtLatest(version(at).ok_or_else(bad)?)
        } else if let Some((left, right)) = text.split_once("..") {
            let (left, right) = (version(left), version(right));
            Self::Between(left.ok_or_else(bad)?, right.ok_or_else(bad)?)
        } else if let Some((left, right)) = text.strip_prefix('>').and_then(|t| t.split_once(",<="))
        {
            let (major, minor) = version(left).ok_or_else(bad)?;
            Self::Between((major, minor + 1), version(right).ok_or_else(bad)?)
        } else {
            Self::At(version(text).ok_or_else(bad)?)
        };
        Ok(range)
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("in no kernel up to 7.3"),
            Self::At((major, minor)) => write!(f, "since Linux {major}.{minor}"),
            Self::AtLatest((major, minor)) => write!(f, "since Linux {major}.{minor} or earlier"),
            Self::Between((a, b), (c, d)) => {
                write!(f, "since some kernel of Linux {a}.{b} to {c}.{d}")
            }
            Self::Ports => f.write_str("where its ports have it"),
        }
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Since;

    #[test]
    fn a_kernel_has_it_has_it_not_or_nobody_knows() {
        let rows = [
            ("no", (7, 3), Some(false)),
            ("5.18", (5, 17), Some(false)),
            ("5.18", (5, 18), Some(true)),
            ("5.18", (6, 1), Some(true)),
            ("<=5.10", (5, 10), Some(true)),
            ("<=5.10", (5, 4), None),
            ("5.11..6.1", (5, 10), Some(false)),
            ("5.11..6.1", (5, 15), None),
            ("5.11..6.1", (6, 1), Some(true)),
            (">6.12,<=7.2", (6, 12), Some(false)),
            (">6.12,<=7.2", (6, 13), None),
            (">6.12,<=7.2", (7, 2), Some(true)),
            ("slave", (7, 3), None),
        ];
        for (text, kernel, expected) in rows {
            let since: Since = text.parse().unwrap();
            assert_eq!(since.at(kernel), expected, "{text} at {kernel:?}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "yes", "5", "5.x", "..6.1", "<5.10", ">6.12"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }
}
