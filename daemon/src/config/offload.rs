//! `[offload]`: work that goes into NICs.

use super::section::Section;
use super::values::{integer, word};

/// What NICs are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offload {
    /// How the deny list may get into the NICs of uplinks.
    pub deny_list: Into,
    /// Entries of each NIC, at most.
    pub entries: u32,
}

/// A way into a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// None.
    Off,
    /// A program where the NIC runs one, else rules.
    Auto,
    /// A program only.
    Program,
    /// Rules of tc flower only.
    Flower,
}

impl Into {
    const NAMES: [(&str, Self); 4] = [
        ("off", Self::Off),
        ("auto", Self::Auto),
        ("program", Self::Program),
        ("flower", Self::Flower),
    ];
}

impl Default for Offload {
    fn default() -> Self {
        Self {
            deny_list: Into::Auto,
            entries: 1_024,
        }
    }
}

pub(super) fn read(section: Section<'_>) -> Offload {
    let default = Offload::default();
    let offload = Offload {
        deny_list: section.read("deny_list", default.deny_list, |v| word(v, &Into::NAMES)),
        entries: section.read("entries", default.entries, |v| integer(v, 1..=65_536)),
    };
    section.refuse_unknown();
    offload
}
