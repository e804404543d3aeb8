//! Numbers of rules, kept while the policy has the rule.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::full;
use super::super::model::Model;
use crate::error::Error;
use crate::objects::{ObjectName, Policy, PolicyKind, Rule};

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
    /// Gives every rule a number; rules that are gone lose theirs.
    pub fn number(&mut self, model: &Model) -> Result<(), Error> {
        let mut seen = FxHashSet::default();
        for policy in model.policies.values().flatten() {
            for rule in policy.parts.iter().flat_map(|part| &part.rules) {
                let key = key(policy, rule);
                if !self.numbers.contains_key(&key) {
                    if self.last == MAX_RULE {
                        return Err(full("policy_cells", "policy rules"));
                    }
                    self.last += 1;
                    self.numbers.insert(key.clone(), self.last);
                }
                seen.insert(key);
            }
        }
        self.numbers.retain(|key, _| seen.contains(key));
        Ok(())
    }

    pub fn of(&self, policy: &Policy, rule: &Rule) -> u32 {
        self.numbers.get(&key(policy, rule)).copied().unwrap_or(0)
    }
}
