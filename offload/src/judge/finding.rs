//! Rules that hold for an interface.

use terrace_nic_profiles::{self as profiles, LosesTo, Outcome, Rule, Target};

use super::Unchecked;
use crate::subject::Subject;
use crate::verdict::{Blocker, Disruption, Effect, Fix, NicTier};

/// A rule that fired, with its texts filled.
#[derive(Debug, Clone)]
pub(crate) struct Finding<'p> {
    pub rule: &'p Rule,
    pub why: String,
    pub fix: Option<Fix>,
}

impl Finding<'_> {
    pub fn denies(&self, target: Target) -> bool {
        self.rule.effect == profiles::Effect::Deny && self.rule.is_about(target)
    }

    pub fn loses_to_tc(&self, target: Target) -> bool {
        self.rule.loses_to == Some(LosesTo::Tc) && self.rule.is_about(target)
    }

    /// A command can remove it.
    pub fn has_command(&self) -> bool {
        self.fix.as_ref().is_some_and(|fix| !fix.cmd.is_empty())
    }
}

/// Checks all rules of an interface.
pub(crate) fn check<'p>(subject: &Subject<'p>) -> (Vec<Finding<'p>>, Vec<Unchecked>) {
    let facts = |key: &str| subject.value(key);
    let mut findings = Vec::new();
    let mut unchecked = Vec::new();
    for rule in subject.known.rules() {
        match rule.check(&facts) {
            Outcome::Silent => {}
            Outcome::Fires => findings.push(Finding {
                rule,
                why: rule.text.fill(&facts),
                fix: rule.fix.as_ref().map(|fix| Fix {
                    cmd: fix.cmd.fill(&facts),
                    undo: fix.undo.fill(&facts),
                    note: fix.note.fill(&facts),
                    disruption: disruption(fix.disruption),
                }),
            }),
            Outcome::Unknown(needs) if matters(rule, &needs) => unchecked.push(Unchecked {
                id: rule.id.clone(),
                needs,
            }),
            Outcome::Unknown(_) => {}
        }
    }
    (findings, unchecked)
}

/// Only what would deny; and that a driver is not known is said elsewhere.
fn matters(rule: &Rule, needs: &[String]) -> bool {
    let of_driver = |key: &String| key.starts_with("driver.") && key != "driver.in_tree";
    rule.effect == profiles::Effect::Deny && !needs.iter().any(of_driver)
}

/// Worst first, then as the files have them.
pub(crate) fn blockers(findings: &[Finding<'_>]) -> Vec<Blocker> {
    let mut blockers: Vec<Blocker> = findings.iter().map(blocker).collect();
    blockers.sort_by_key(|blocker| blocker.effect);
    blockers
}

fn blocker(finding: &Finding<'_>) -> Blocker {
    let mut tiers: Vec<NicTier> = finding
        .rule
        .target
        .iter()
        .filter_map(|t| tier(*t))
        .collect();
    tiers.sort_unstable();
    tiers.dedup();
    Blocker {
        number: None,
        id: finding.rule.id.clone(),
        effect: effect(finding.rule.effect),
        tiers,
        why: finding.why.clone(),
        fix: finding.fix.clone(),
        source: finding.rule.source.clone(),
    }
}

/// Abilities that are no tier of their own have none.
fn tier(target: Target) -> Option<NicTier> {
    Some(match target {
        Target::XdpNative => NicTier::XdpNative,
        Target::XdpGeneric => NicTier::XdpGeneric,
        Target::ZeroCopy => NicTier::AfxdpZc,
        Target::Copy => NicTier::AfxdpCopy,
        Target::HwEbpf => NicTier::HwEbpf,
        Target::HwSwitch => NicTier::HwSwitch,
        Target::HwFlower | Target::HwNtuple => NicTier::HwNic,
        Target::Tc => NicTier::Tc,
        Target::XdpFrags | Target::RedirectFrom | Target::RedirectTarget => return None,
    })
}

fn effect(effect: profiles::Effect) -> Effect {
    match effect {
        profiles::Effect::Deny => Effect::Deny,
        profiles::Effect::Degrade => Effect::Degrade,
        profiles::Effect::Warn => Effect::Warn,
        profiles::Effect::Info => Effect::Info,
    }
}

/// Works, slower or less.
pub(crate) const DEGRADES: profiles::Effect = profiles::Effect::Degrade;

pub(crate) fn disruption(disruption: profiles::Disruption) -> Disruption {
    match disruption {
        profiles::Disruption::None => Disruption::None,
        profiles::Disruption::TrafficPause => Disruption::TrafficPause,
        profiles::Disruption::LinkFlap => Disruption::LinkFlap,
        profiles::Disruption::Reboot => Disruption::Reboot,
    }
}
