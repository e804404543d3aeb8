//! Making the rules in a NIC's table what they should be.

use std::collections::BTreeSet;

use terrace_abi::sys::{self, FlowSpec};

use super::rule::{Kind, Rule, is_same, spec};
use crate::ask::No;

/// The table of one NIC; a test has another one.
pub trait Table {
    /// All rules, whosever they are, each with its place.
    fn held(&mut self) -> Result<Vec<FlowSpec>, No>;
    /// Adds a rule; that it succeeds says nothing of the NIC.
    fn add(&mut self, spec: &FlowSpec) -> Result<(), No>;
    /// Removes the rule at a place.
    fn remove(&mut self, place: u32) -> Result<(), No>;
}

/// A NIC of this host.
#[derive(Debug, Clone)]
pub struct Nic {
    /// Its interface.
    pub iface: String,
}

impl Table for Nic {
    fn held(&mut self) -> Result<Vec<FlowSpec>, No> {
        let mut held = Vec::new();
        for place in sys::classify_places(&self.iface)? {
            match sys::classify_rule(&self.iface, place) {
                Ok(spec) => held.push(FlowSpec {
                    location: place,
                    ..spec
                }),
                // It has gone since.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(held)
    }

    /// The end of the table, as the front may be others': the lower place wins.
    fn add(&mut self, spec: &FlowSpec) -> Result<(), No> {
        let table = sys::classify_table(&self.iface)?;
        let place = if table.any_place || table.capacity == 0 {
            None
        } else {
            let taken: BTreeSet<u32> = sys::classify_places(&self.iface)?.into_iter().collect();
            let mut free = (0..table.capacity).rev().filter(|at| !taken.contains(at));
            Some(free.next().ok_or_else(|| No::errno(libc::ENOSPC))?)
        };
        sys::classify_add(&self.iface, spec, place)?;
        Ok(())
    }

    fn remove(&mut self, place: u32) -> Result<(), No> {
        Ok(sys::classify_remove(&self.iface, place)?)
    }
}

/// Why a rule is not in the NIC; all behind it are not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The rule.
    pub rule: Rule,
    /// The driver's words.
    pub no: No,
}

/// What is in the NIC now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Rules that it holds, also those that somebody else has put there.
    pub held: usize,
    /// Those that are Terrace's.
    pub owned: BTreeSet<Rule>,
    /// The first that it does not take.
    pub refused: Option<Refused>,
}

/// Makes Terrace's rules of one kind those of `wanted`. `owned` are those of the record;
/// `note` writes it, before anything is added. A rule that somebody else has put there
/// already is left alone and does its work.
///
/// # Errors
/// The table or the record cannot be read or written. What is in the NIC is in the
/// record then all the same.
pub fn sync(
    table: &mut impl Table,
    kind: Kind,
    (owned, wanted): (&BTreeSet<Rule>, &[Rule]),
    note: &mut dyn FnMut(&BTreeSet<Rule>) -> Result<(), No>,
) -> Result<Outcome, No> {
    let held = table.held()?;
    let known: BTreeSet<Rule> = wanted.iter().copied().collect();
    let mut ours: BTreeSet<Rule> = of_kind(owned, kind)
        .filter(|rule| is_in(&held, rule))
        .collect();
    for rule in of_kind(owned, kind).filter(|rule| !known.contains(rule)) {
        let place = held.iter().find(|held| is_same(held, &spec(&rule)));
        if let Some(held) = place {
            table.remove(held.location)?;
        }
        ours.remove(&rule);
    }
    let missing: Vec<Rule> = known_in_order(wanted)
        .filter(|rule| !is_in(&held, rule))
        .collect();
    let mut outcome = Outcome::default();
    if !missing.is_empty() {
        let all: BTreeSet<Rule> = ours.iter().chain(&missing).copied().collect();
        note(&all)?;
        outcome.refused = add(table, &missing)?;
    }
    let held = table.held()?;
    ours.extend(missing.iter().filter(|rule| is_in(&held, rule)));
    note(&ours)?;
    outcome.owned = ours;
    outcome.held = known.iter().filter(|rule| is_in(&held, rule)).count();
    Ok(outcome)
}

/// Adds rules up to the first that the NIC does not take, and says why not.
fn add(table: &mut impl Table, missing: &[Rule]) -> Result<Option<Refused>, No> {
    for (n, rule) in missing.iter().enumerate() {
        if let Err(no) = table.add(&spec(rule)) {
            return Ok(Some(Refused { rule: *rule, no }));
        }
        // The first one tells whether a yes means anything.
        if n == 0 && !is_in(&table.held()?, rule) {
            return Ok(Some(unlisted(*rule)));
        }
    }
    let held = table.held()?;
    let lost = missing.iter().find(|rule| !is_in(&held, rule));
    Ok(lost.map(|rule| unlisted(*rule)))
}

fn unlisted(rule: Rule) -> Refused {
    let no = No {
        no: "ENOENT".to_owned(),
        extack: Some("the driver took the rule, but the NIC does not list it".to_owned()),
    };
    Refused { rule, no }
}

/// Removes all rules of a record from a NIC.
///
/// # Errors
/// The driver refuses.
pub fn clear(table: &mut impl Table, owned: &BTreeSet<Rule>) -> Result<(), No> {
    if owned.is_empty() {
        return Ok(());
    }
    for rule in owned {
        let held = table.held()?;
        if let Some(held) = held.iter().find(|held| is_same(held, &spec(rule))) {
            table.remove(held.location)?;
        }
    }
    Ok(())
}

/// Whether the NIC has all of them.
///
/// # Errors
/// The table cannot be read.
pub fn holds(table: &mut impl Table, rules: &BTreeSet<Rule>) -> Result<bool, No> {
    let held = table.held()?;
    Ok(rules.iter().all(|rule| is_in(&held, rule)))
}

fn of_kind(rules: &BTreeSet<Rule>, kind: Kind) -> impl Iterator<Item = Rule> {
    let rules = rules.iter().copied();
    rules.filter(move |rule| rule.kind() == kind)
}

/// Each once.
fn known_in_order(rules: &[Rule]) -> impl Iterator<Item = Rule> {
    let mut seen = BTreeSet::new();
    rules.iter().copied().filter(move |rule| seen.insert(*rule))
}

fn is_in(held: &[FlowSpec], rule: &Rule) -> bool {
    let spec = spec(rule);
    held.iter().any(|held| is_same(held, &spec))
}

#[cfg(test)]
mod tests;
