//! All that is known: the shipped files, and an operator's over them.

mod read;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use crate::driver::Driver;
use crate::fault::Faults;
use crate::rule::Rule;
use crate::situation::Situation;
use crate::value::{Lookup, Value};

/// Drivers, situations, and the rules that hold for all drivers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profiles {
    pub(crate) drivers: BTreeMap<String, Driver>,
    pub(crate) situations: BTreeMap<String, Situation>,
    pub(crate) rules: Vec<Rule>,
}

/// What is known of one interface.
#[derive(Debug, Clone, Copy)]
pub struct Known<'p> {
    /// Its driver; `None` = nothing is known of it.
    pub driver: Option<&'p Driver>,
    /// The most specific situation that it is in.
    pub situation: Option<&'p Situation>,
    profiles: &'p Profiles,
}

impl Profiles {
    /// What Terrace ships.
    pub fn shipped() -> &'static Self {
        static SHIPPED: OnceLock<Profiles> = OnceLock::new();
        SHIPPED.get_or_init(|| read::shipped().expect("a test reads every shipped file"))
    }

    /// The same, with an operator's files merged over it; no folder = none.
    ///
    /// # Errors
    /// Every fault of every file.
    pub fn load(folder: &Path) -> Result<Self, Faults> {
        read::with_folder(folder)
    }

    /// The same with texts in the place of files: name and content.
    ///
    /// # Errors
    /// Every fault of every text.
    pub fn with(files: &[(String, String)]) -> Result<Self, Faults> {
        read::with_files(files)
    }

    /// All drivers, by name.
    pub fn drivers(&self) -> impl Iterator<Item = &Driver> {
        self.drivers.values()
    }

    /// All situations, by id.
    pub fn situations(&self) -> impl Iterator<Item = &Situation> {
        self.situations.values()
    }

    /// The rules of all drivers together.
    pub fn common_rules(&self) -> &[Rule] {
        &self.rules
    }

    /// A driver under one of its names. Where several have it, the PCI id
    /// decides, then the file's own name.
    pub fn driver(&self, name: &str, pci: Option<&str>) -> Option<&Driver> {
        let named = |driver: &&Driver| driver.names.iter().any(|known| known == name);
        let has_pci = |driver: &&Driver| {
            pci.is_some_and(|pci| driver.pci_ids.iter().any(|known| known == pci))
        };
        let of_name = || self.drivers.values().filter(named);
        of_name()
            .find(has_pci)
            .or_else(|| of_name().find(|driver| driver.name == name))
            .or_else(|| of_name().next())
    }

    /// What is known of the interface with these facts.
    pub fn known(&self, facts: Lookup<'_>) -> Known<'_> {
        let text = |key: &str| match facts(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        };
        let pci = text("id.pci");
        let driver = text("id.driver").and_then(|name| self.driver(&name, pci.as_deref()));
        let scored = self
            .situations
            .values()
            .filter_map(|situation| Some((situation.matches.score(facts)?, situation)));
        let situation = scored.max_by_key(|(score, _)| *score);
        let situation = situation.map(|(_, situation)| situation);
        // A situation may say more exactly which driver it is (BlueField).
        let driver = situation
            .and_then(|situation| self.drivers.get(&situation.driver))
            .or(driver);
        Known {
            driver,
            situation,
            profiles: self,
        }
    }
}

impl<'p> Known<'p> {
    /// What rules ask under `driver.`: the situation's word, else the driver's.
    pub fn fact(&self, name: &str, kernel: (u32, u32), page_size: u32) -> Option<Value> {
        if let Some(cap) = self.cap(name) {
            return Some(cap.value.clone());
        }
        self.driver?.fact(name, kernel, page_size)
    }

    /// The situation's better knowledge of `driver.NAME`.
    pub fn cap(&self, name: &str) -> Option<&'p crate::Cap> {
        let mut caps = self.situation?.caps.iter();
        caps.find(|cap| cap.fact.strip_prefix("driver.") == Some(name))
    }

    /// All rules that are to be checked: the situation's, then the driver's,
    /// then the common ones; an id counts where it comes first.
    pub fn rules(&self) -> impl Iterator<Item = &'p Rule> {
        let own: &[Rule] = self.situation.map_or(&[], |situation| &situation.rules);
        let driver: &[Rule] = self.driver.map_or(&[], |driver| &driver.rules);
        let has = |rules: &[Rule], id: &str| rules.iter().any(|rule| rule.id == id);
        let of_driver = driver.iter().filter(move |rule| !has(own, &rule.id));
        let common = self.profiles.rules.iter();
        let common = common.filter(move |rule| !has(own, &rule.id) && !has(driver, &rule.id));
        own.iter().chain(of_driver).chain(common)
    }

    /// The rule that explains an answer of the driver.
    pub fn explain(&self, stage: &str, errno: &str, extack: &str) -> Option<&'p Rule> {
        let mut errors = self.situation?.errors.iter();
        let means = errors.find(|error| {
            error.stage == stage && error.errno == errno && extack.contains(&error.extack)
        })?;
        self.rules().find(|rule| rule.id == means.means)
    }

    /// The same for a text with the driver's words somewhere in it.
    pub fn explain_text(&self, stage: &str, text: &str) -> Option<&'p Rule> {
        let mut errors = self.situation?.errors.iter();
        let means = errors.find(|error| {
            error.stage == stage && !error.extack.is_empty() && text.contains(&error.extack)
        })?;
        self.rules().find(|rule| rule.id == means.means)
    }

    /// A device that must never carry a plan.
    pub fn is_test_only(&self) -> bool {
        self.situation.is_some_and(|situation| situation.test_only)
            || self.driver.is_some_and(|driver| driver.kind == "test")
    }
}

#[cfg(test)]
mod tests;
