//! Making the NIC's rules what they should be, and counting what they do.

use std::collections::{BTreeMap, BTreeSet};

use super::{Held, Kind, Place, Rule, add, clsact, cookie, delete, read};
use crate::ask::{Ask, No, Socket};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const NLM_F_EXCL_CREATE: u16 = 0x600;

/// The filters of one interface; a test has another one.
pub trait Table {
    /// Terrace's rules there.
    fn held(&mut self) -> Result<Vec<Held>, No>;
    /// Adds a rule; that it succeeds says nothing of the NIC.
    fn add(&mut self, place: Place, rule: &Rule) -> Result<(), No>;
    /// Removes a rule.
    fn remove(&mut self, place: Place) -> Result<(), No>;
}

/// An interface of this host.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// Its number.
    pub ifindex: u32,
}

impl Table for Port {
    fn held(&mut self) -> Result<Vec<Held>, No> {
        let mut socket = Socket::route()?;
        let ask = Ask::filters(self.ifindex, "", false);
        let messages = socket.dump(ask.command, &ask.body)?;
        Ok(messages
            .iter()
            .filter_map(|message| read(message))
            .collect())
    }

    fn add(&mut self, place: Place, rule: &Rule) -> Result<(), No> {
        let mut socket = Socket::route()?;
        let qdisc = clsact(self.ifindex);
        let made = match socket.request(RTM_NEWQDISC, NLM_F_EXCL_CREATE, &qdisc) {
            Ok(_) => true,
            Err(no) if no.no == "EEXIST" => false,
            Err(no) => return Err(no),
        };
        let rule = add(self.ifindex, place, rule);
        let done = socket.request(RTM_NEWTFILTER, NLM_F_EXCL_CREATE, &rule);
        if done.is_err() && made {
            // What was made for nothing goes again; a failure here tells less.
            let _ = socket.request(RTM_DELQDISC, 0, &qdisc);
        }
        done.map(drop)
    }

    fn remove(&mut self, place: Place) -> Result<(), No> {
        let mut socket = Socket::route()?;
        let rule = delete(self.ifindex, place);
        socket.request(RTM_DELTFILTER, 0, &rule).map(drop)
    }
}

/// Why a rule is not in the NIC; all behind it are not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The rule.
    pub rule: Rule,
    /// The kernel's words.
    pub why: String,
}

/// What is in the NIC now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Rules that it holds.
    pub held: usize,
    /// Those that were put there just now.
    pub added: usize,
    /// Those that were taken away: not wanted any more, or not in the NIC.
    pub removed: usize,
    /// The first that it does not take.
    pub refused: Option<Refused>,
}

/// Makes the rules of one kind those of `wanted`, at most `budget` of them. What is not in the NIC is removed again: a rule there that only looks like one would hide
/// that the host does the work.
///
/// # Errors
/// The kernel does not tell what is there.
pub fn sync(
    table: &mut impl Table,
    kind: Kind,
    wanted: &[Rule],
    budget: usize,
) -> Result<Outcome, No> {
    let mut outcome = Outcome::default();
    let mut seen = BTreeSet::new();
    let chosen = wanted.iter().take(budget).map(|rule| (cookie(rule), rule));
    let mut missing: BTreeMap<[u8; 16], &Rule> = chosen.collect();
    let mut used = BTreeSet::new();
    for held in of_kind(table, kind)? {
        let wanted = missing.contains_key(&held.cookie) && held.in_hw;
        if wanted && seen.insert(held.cookie) {
            used.insert(held.place);
        } else {
            table.remove(held.place)?;
            outcome.removed += 1;
        }
    }
    missing.retain(|cookie, _| !seen.contains(cookie));
    // In the order of the list: what does not fit is its end.
    for rule in wanted {
        if missing.remove(&cookie(rule)).is_none() {
            continue;
        }
        let place = free_place(rule, &used);
        used.insert(place);
        if let Err(no) = table.add(place, rule) {
            outcome.refused = Some(refused(rule, no.evidence()));
            break;
        }
        outcome.added += 1;
        // The first one tells whether the NIC takes any.
        if outcome.added == 1 && !prove(table, kind, wanted, &mut outcome)? {
            break;
        }
    }
    prove(table, kind, wanted, &mut outcome)?;
    outcome.held = seen.len() + outcome.added;
    Ok(outcome)
}

/// The rules of one kind.
pub fn of_kind(table: &mut impl Table, kind: Kind) -> Result<Vec<Held>, No> {
    let mut held = table.held()?;
    held.retain(|held| held.place.kind == kind);
    Ok(held)
}

fn refused(rule: &Rule, why: String) -> Refused {
    let rule = rule.clone();
    Refused { rule, why }
}

fn free_place(rule: &Rule, used: &BTreeSet<Place>) -> Place {
    let mut places = (1..).map(|handle| Place::of(rule, handle));
    let free = places.find(|place| !used.contains(place));
    free.unwrap_or(Place::of(rule, u32::MAX))
}

/// Reads the rules back, and takes out those that are not in the NIC; false = there
/// were some.
fn prove(
    table: &mut impl Table,
    kind: Kind,
    wanted: &[Rule],
    outcome: &mut Outcome,
) -> Result<bool, No> {
    if outcome.added == 0 {
        return Ok(true);
    }
    let mut proved = true;
    let held = of_kind(table, kind)?;
    for held in held.into_iter().filter(|held| !held.in_hw) {
        table.remove(held.place)?;
        outcome.added -= 1;
        proved = false;
        let rule = wanted.iter().find(|rule| cookie(rule) == held.cookie);
        let why = "the kernel took the rule, but the NIC does not hold it".to_owned();
        outcome.refused = rule.map(|rule| refused(rule, why));
    }
    Ok(proved)
}

/// Packets and bytes that the NIC has met, over all rules that were ever there. The
/// NIC's own counters may begin anew with each rule, reset or reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    last: BTreeMap<[u8; 16], (u64, u64)>,
    /// All of them.
    pub packets: u64,
    /// All of them.
    pub bytes: u64,
}

impl Counts {
    /// Takes in what the rules show now; what each has met since the last time.
    pub fn note(&mut self, held: &[Held]) -> BTreeMap<[u8; 16], (u64, u64)> {
        let mut now = BTreeMap::new();
        let mut more = BTreeMap::new();
        for rule in held {
            let (packets, bytes) = self.last.get(&rule.cookie).copied().unwrap_or_default();
            let began_anew = rule.packets < packets || rule.bytes < bytes;
            let (packets, bytes) = if began_anew { (0, 0) } else { (packets, bytes) };
            let (packets, bytes) = (rule.packets - packets, rule.bytes - bytes);
            self.packets += packets;
            self.bytes += bytes;
            more.insert(rule.cookie, (packets, bytes));
            now.insert(rule.cookie, (rule.packets, rule.bytes));
        }
        self.last = now;
        more
    }
}

#[cfg(test)]
mod tests;
