//! What of the rules the programs match themselves: sets of entries of
//! `head_rules`, each under a number that is never used again.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustc_hash::FxHashSet;
use terrace_abi::types::head_key;
use terrace_abi::{Error, Maps};
use terrace_l7::splice::{HeadRule, Heads, N_SETS, PATH_MAX, ROUTES};

use super::Rules;

/// Entries of one set, that never change.
#[derive(Debug, Default)]
pub struct HeadSet {
    /// 0 = the programs can decide nothing here.
    pub number: u32,
    pub rules: Vec<HeadRule>,
    /// The table could not take all of it: none is there, and it says nothing.
    is_out: AtomicBool,
}

impl HeadSet {
    /// What policy says of requests.
    pub fn of_policy(rules: Vec<HeadRule>) -> Self {
        Self::new(rules, 0)
    }

    /// Where routes lead.
    pub fn of_routes(rules: Vec<HeadRule>) -> Self {
        Self::new(rules, ROUTES)
    }

    fn new(rules: Vec<HeadRule>, kind: u32) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let is_some = rules.iter().any(|rule| rule.value != 0);
        let number = match is_some {
            true => (LAST.fetch_add(1, Ordering::Relaxed) + 1) | kind,
            false => 0,
        };
        Self {
            number,
            rules,
            is_out: AtomicBool::new(false),
        }
    }

    pub fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Relaxed)
    }

    /// All of it, or nothing: of a part, less would decide what more denies.
    fn write(&self, maps: &Maps) -> Result<(), Error> {
        let entries: Vec<_> = self.entries().collect();
        let written = maps.add_head_rules(entries.iter().map(|(key, value)| (key, *value)));
        self.is_out.store(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written {
            maps.remove_head_rules(entries.iter().map(|(key, _)| key))?;
            return Err(error);
        }
        Ok(())
    }

    fn entries(&self) -> impl Iterator<Item = (head_key, u32)> + '_ {
        let rules = self.rules.iter().filter(|_| self.number != 0);
        rules.map(|rule| (self.key(rule), rule.value))
    }

    fn key(&self, rule: &HeadRule) -> head_key {
        let mut path = [0; PATH_MAX];
        path[..rule.path.len()].copy_from_slice(&rule.path);
        head_key {
            bits: 8 * (size_of::<u32>() + 1 + rule.path.len()) as u32,
            set: self.number,
            method: rule.method,
            path,
        }
    }
}

/// The sets that a flow's requests must find something in, as they are named.
#[derive(Debug, Default)]
pub struct Wanted {
    heads: Heads,
    n: usize,
    is_unknown: bool,
}

impl Wanted {
    pub fn add(&mut self, set: &HeadSet, want: u32) {
        if set.number == 0 || set.is_out() || self.n == N_SETS {
            self.is_unknown = true;
            return;
        }
        self.heads.sets[self.n] = (set.number, want);
        self.n += 1;
    }

    /// Nothing where one of the sets can't be asked.
    pub fn heads(&self, generation: u32) -> Heads {
        match self.is_unknown {
            true => Heads::default(),
            false => Heads {
                generation,
                ..self.heads
            },
        }
    }
}

/// Writes the sets that `new` has and the table has not; the workers and the
/// programs hear of them afterwards. One that finds no room stays out, and its
/// requests go to a worker; the next change tries it again.
///
/// # Errors
/// The first one's.
pub fn add(maps: &Maps, old: &Rules, new: &Rules) -> Result<(), Error> {
    // The first rules of this process: what an earlier one left is void.
    if old.generation == 0 {
        maps.remove_head_rules(&maps.head_rules())?;
    }
    let held: FxHashSet<u32> = old
        .head_sets()
        .filter(|set| !set.is_out())
        .map(|set| set.number)
        .collect();
    let lacking = new.head_sets().filter(|set| !held.contains(&set.number));
    // All are tried: a smaller one may find room.
    let outcomes: Vec<_> = lacking.map(|set| set.write(maps)).collect();
    outcomes.into_iter().collect()
}

/// Removes the sets that are gone.
pub fn remove(maps: &Maps, old: &Rules, new: &Rules) -> Result<(), Error> {
    let held: FxHashSet<u32> = new.head_sets().map(|set| set.number).collect();
    for set in old.head_sets().filter(|set| !held.contains(&set.number)) {
        let keys: Vec<_> = set.entries().map(|(key, _)| key).collect();
        maps.remove_head_rules(&keys)?;
    }
    Ok(())
}
