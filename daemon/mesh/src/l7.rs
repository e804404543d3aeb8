//! What the L7 tier is to enforce: rule sets of policies, routes of Services.
//! The kernel's tables only say which flows are its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::objects::{HttpRule, ObjectName, Route};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct L7 {
    /// By the number in policy values with `POLICY_L7`. A number is never
    /// given to another content.
    pub sets: FxHashMap<u32, Arc<RuleSet>>,
    /// By the pool of the Service port that has the routes.
    pub routed: BTreeMap<u32, PortRoutes>,
}

/// A request must pass one of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RuleSet {
    pub rules: Vec<SetRule>,
}

impl RuleSet {
    /// Numbers of the policy rules that it is made of.
    pub fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.rules.iter().map(|rule| rule.number).collect();
        numbers.dedup();
        numbers
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SetRule {
    /// Number of the policy rule.
    pub number: u32,
    /// Place in its `rules.http`.
    pub index: u32,
    /// Without its line.
    pub rule: HttpRule,
}

/// The routes of one port of a Service, for one address family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRoutes {
    pub service: ObjectName,
    pub port: u16,
    pub routes: Vec<Arc<Route>>,
    /// Pools of the Service ports that they name; one that is missing has no
    /// backends in this family.
    pub pools: BTreeMap<(ObjectName, u16), u32>,
}

impl L7 {
    /// Whether there is nothing to enforce.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.routed.is_empty()
    }
}
