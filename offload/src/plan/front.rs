//! Rules that a NIC can take in front of the host: the longest prefix of the
//! ordered list that fits. Nothing is ever reordered, for a later rule may hold
//! only because an earlier one did not.

use serde::{Deserialize, Serialize};
use terrace_nic_profiles::Target;

use super::Site;
use crate::Task;
use crate::judge::of_tier;
use crate::rules::{Hardware, fits};
use crate::verdict::{NicTier, Verdict};

/// What a NIC takes, or could take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Front {
    /// The way into the NIC.
    pub tier: NicTier,
    /// Rules at the start of the list that fit.
    pub fit: usize,
    /// Rules in the list.
    pub of: usize,
    /// The first rule that does not; it and all after it stay on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<Unfit>,
    /// The NIC takes rules this way, whether or not these fit.
    pub is_open: bool,
    /// They are put there; else they only could be.
    pub installed: bool,
    /// The rule of a profile that closes this way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
}

/// Why a rule does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfit {
    /// Its name.
    pub rule: String,
    /// What is in the way.
    pub why: String,
    /// What opens the way, when it is closed as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Ways into a NIC for rules, best first.
const WAYS: [(NicTier, Target); 2] = [
    (NicTier::HwSwitch, Target::HwSwitch),
    (NicTier::HwNic, Target::HwNtuple),
];

impl Site<'_> {
    /// The way that takes the longest prefix of the rules; the better one of two
    /// that take as much.
    pub(super) fn front(&self, task: Task) -> Option<Front> {
        if let Some(front) = self.nic(task).and_then(|state| state.front()) {
            return Some(front);
        }
        let rules = &self.demand.rules;
        if task != Task::Prefilter || rules.is_empty() {
            return None;
        }
        let mut best: Option<Front> = None;
        for (tier, target) in WAYS {
            let front = self.way(tier, target);
            let rank = |front: &Front| (front.fit, front.is_open);
            if best.as_ref().is_none_or(|best| rank(&front) > rank(best)) {
                best = Some(front);
            }
        }
        best
    }

    fn way(&self, tier: NicTier, target: Target) -> Front {
        let rules = &self.demand.rules;
        let closed = self.closed(tier, target);
        let hardware = self.hardware(tier);
        let (fit, unfit) = match &closed {
            Some((unfit, _)) => (0, Some(unfit.clone())),
            None => prefix(rules, &hardware),
        };
        Front {
            tier,
            fit,
            of: rules.len(),
            unfit,
            installed: self.policy.nic_rules && fit > 0,
            is_open: closed.is_none(),
            blocked_by: closed.and_then(|(_, rule)| rule),
        }
    }

    /// The way as a whole is closed.
    fn closed(&self, tier: NicTier, target: Target) -> Option<(Unfit, Option<String>)> {
        let ability = match tier {
            NicTier::HwNic => self.hw_nic(),
            _ => of_tier(&self.subject, &self.abilities, tier),
        };
        let open = ability.verdict == Verdict::Yes
            && (self.policy.trust_profile
                || ability.confidence >= crate::facts::Confidence::Declared);
        if open {
            return None;
        }
        let denials = self.abilities.denials(target);
        let fix = denials.first().and_then(|finding| finding.fix.as_ref());
        let unfit = Unfit {
            rule: self.demand.rules.first()?.name.clone(),
            why: ability.why.join("; "),
            fix: fix
                .map(|fix| format!("`{}`", fix.cmd))
                .filter(|cmd| cmd != "``"),
        };
        Some((
            unfit,
            denials.first().map(|finding| finding.rule.id.clone()),
        ))
    }

    fn hw_nic(&self) -> crate::judge::Ability {
        let ntuple = self.abilities.get(Target::HwNtuple);
        let flower = self.abilities.get(Target::HwFlower);
        if ntuple.verdict <= flower.verdict {
            ntuple.clone()
        } else {
            flower.clone()
        }
    }

    fn hardware(&self, tier: NicTier) -> Hardware {
        let driver = self.subject.known.driver;
        let facts = self.subject.facts();
        let ntuple = self.abilities.get(Target::HwNtuple).verdict == Verdict::Yes;
        let flower = self.abilities.get(Target::HwFlower).verdict == Verdict::Yes;
        let used = facts.int("ntuple.rules").unwrap_or(0);
        Hardware {
            flower: match tier {
                NicTier::HwSwitch => true,
                _ => flower && !ntuple,
            },
            actions: driver.map_or_else(Vec::new, |d| d.hw.tc_flower_actions.clone()),
            ntuple_drop: match self.subject.driver_can("ntuple_drop") {
                Some(can) => can,
                None => facts.bool("ntuple.drop").unwrap_or(false),
            },
            whole_fields: driver.is_some_and(|d| d.name == "i40e"),
            l2_only: driver.is_some_and(|d| d.name == "igb"),
            capacity: match tier {
                NicTier::HwNic if ntuple => facts
                    .int("ntuple.capacity")
                    .map(|all| usize::try_from(all - used).unwrap_or(0)),
                _ => None,
            },
        }
    }
}

/// How many rules at the start fit, and why the next one does not.
fn prefix(rules: &[crate::rules::NicRule], hardware: &Hardware) -> (usize, Option<Unfit>) {
    for (at, rule) in rules.iter().enumerate() {
        let full = hardware.capacity.is_some_and(|capacity| at >= capacity);
        let fitted = match full {
            true => Err(format!("the table of the NIC has room for {at} rules")),
            false => fits(rule, hardware),
        };
        if let Err(why) = fitted {
            let unfit = Unfit {
                rule: rule.name.clone(),
                why,
                fix: None,
            };
            return (at, Some(unfit));
        }
    }
    (rules.len(), None)
}
