//! Rule sets: the HTTP rules that hold together for one subject, peer and port
//! class. A set's number stands for its content and is never given to another.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::numbers::Numbers;
use crate::error::Error;
use crate::l7::{RuleSet, SetRule};
use crate::objects::HttpRule;

#[derive(Debug, Default)]
pub struct Sets {
    known: FxHashMap<Arc<RuleSet>, u32>,
    /// Content without a number yet, by the place that stands for it.
    used: FxHashMap<u32, Arc<RuleSet>>,
}

/// The HTTP rules of one policy rule, by its number.
pub type Part<'r> = (u32, &'r [HttpRule]);

impl Sets {
    /// What follows is everything that is used.
    pub fn begin(&mut self) {
        self.used.clear();
    }

    /// The number of the union of the parts.
    pub fn number(&mut self, parts: &[Part<'_>], numbers: &mut Numbers) -> Result<u32, Error> {
        let set = RuleSet {
            rules: parts.iter().flat_map(|part| set_rules(*part)).collect(),
        };
        let number = match self.known.get(&set) {
            Some(number) => *number,
            None => numbers.fresh()?,
        };
        let set = Arc::new(set);
        self.known.insert(Arc::clone(&set), number);
        self.used.insert(number, set);
        Ok(number)
    }

    /// Forgets what was not used since `begin`; the rest by number.
    pub fn finish(&mut self) -> &FxHashMap<u32, Arc<RuleSet>> {
        let used = &self.used;
        self.known.retain(|_, number| used.contains_key(number));
        used
    }
}

/// Lines move without a change of meaning, so they are no part of a set.
fn set_rules((number, rules): Part<'_>) -> impl Iterator<Item = SetRule> + '_ {
    (0..).zip(rules).map(move |(index, rule)| SetRule {
        number,
        index,
        rule: HttpRule {
            line: 0,
            ..rule.clone()
        },
    })
}
