//! Numbers of rules, kept while the policy has the rule.

use rustc_hash::{FxHashMap, FxHashSet};
use terrace_abi::consts::POLICY_L7;

use super::super::full;
use super::super::model::Model;
use crate::error::Error;
use crate::objects::{ObjectName, Policy, PolicyKind, Rule};
use crate::tables::Tables;

/// Rule numbers are the upper 24 bits of a policy value.
const MAX_RULE: u32 = 0x00ff_ffff;

type RuleKey = (PolicyKind, ObjectName, String);

#[derive(Debug, Default)]
pub struct Numbers {
    numbers: FxHashMap<RuleKey, u32>,
    last: u32,
}

fn key(policy: &Policy, rule: &Rule) -> RuleKey {
    (policy.kind, policy.name.clone(), rule.path.clone())
}

impl Numbers {
    /// Numbers of rule sets that former tables hold are not given again.
    pub fn after(tables: &Tables) -> Self {
        let values = tables.policy.iter().map(|(_, value)| value);
        let sets = values.filter(|value| value & POLICY_L7 != 0);
        Self {
            last: sets.map(|value| value >> 8).max().unwrap_or(0),
            ..Self::default()
        }
    }

    /// Gives every rule a number; rules that are gone lose theirs.
    pub fn number(&mut self, model: &Model) -> Result<(), Error> {
        let mut seen = FxHashSet::default();
        for policy in model.policies.values().flatten() {
            for rule in policy.parts.iter().flat_map(|part| &part.rules) {
                let key = key(policy, rule);
                if !self.numbers.contains_key(&key) {
                    let number = self.fresh()?;
                    self.numbers.insert(key.clone(), number);
                }
                seen.insert(key);
            }
        }
        self.numbers.retain(|key, _| seen.contains(key));
        Ok(())
    }

    /// A number that no rule and no rule set has had.
    pub fn fresh(&mut self) -> Result<u32, Error> {
        if self.last == MAX_RULE {
            return Err(full("policy_cells", "policy rules"));
        }
        self.last += 1;
        Ok(self.last)
    }

    pub fn of(&self, policy: &Policy, rule: &Rule) -> u32 {
        self.numbers.get(&key(policy, rule)).copied().unwrap_or(0)
    }
}
