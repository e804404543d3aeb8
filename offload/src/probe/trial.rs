//! Trials: what is found out by doing it, and undone at once.

use std::collections::BTreeMap;

use super::survey::{Entries, Options};
use crate::ask::{Answers, No, Said};
use crate::facts::HostFacts;

/// Tries one thing on this machine.
pub(crate) fn run(_name: &str, _ifindex: u32, _iface: &str) -> Result<Said, No> {
    Ok(Said::Fields(BTreeMap::new()))
}

/// Tries what the options allow.
pub(super) fn ask(
    _machine: &mut dyn Answers,
    _host: &mut HostFacts,
    _options: &Options,
    _entries: &mut Entries,
) {
}
