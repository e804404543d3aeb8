//! Claims and rules joined: what an interface can do.

use std::collections::BTreeMap;

use terrace_nic_profiles::Target;

use super::claim::{self, Claim};
use super::finding::{Finding, check};
use super::{Unchecked, finding};
use crate::facts::Confidence;
use crate::subject::Subject;
use crate::verdict::{Disruption, NicTier, Verdict};

const TARGETS: [Target; 12] = [
    Target::XdpNative,
    Target::XdpFrags,
    Target::RedirectFrom,
    Target::RedirectTarget,
    Target::XdpGeneric,
    Target::ZeroCopy,
    Target::Copy,
    Target::HwEbpf,
    Target::HwSwitch,
    Target::HwFlower,
    Target::HwNtuple,
    Target::Tc,
];

/// One ability of an interface.
#[derive(Debug, Clone)]
pub(crate) struct Ability {
    pub verdict: Verdict,
    pub confidence: Confidence,
    /// Most important first.
    pub why: Vec<String>,
    /// Ids of the rules that deny it.
    pub denied_by: Vec<String>,
}

/// All abilities of an interface.
#[derive(Debug)]
pub(crate) struct Abilities<'p> {
    pub findings: Vec<Finding<'p>>,
    pub unchecked: Vec<Unchecked>,
    by_target: BTreeMap<Target, Ability>,
}

impl<'p> Abilities<'p> {
    pub fn of(subject: &Subject<'p>) -> Self {
        let (findings, unchecked) = check(subject);
        let join = |target| (target, join(claim::of(subject, target), &findings, target));
        let by_target = TARGETS.into_iter().map(join).collect();
        Self {
            findings,
            unchecked,
            by_target,
        }
    }

    pub fn get(&self, target: Target) -> &Ability {
        &self.by_target[&target]
    }

    /// Whether tc does the same for less.
    pub fn loses(&self, tier: NicTier) -> bool {
        let target = match tier {
            NicTier::XdpNative => Target::XdpNative,
            NicTier::XdpGeneric => Target::XdpGeneric,
            NicTier::AfxdpZc => Target::ZeroCopy,
            NicTier::AfxdpCopy => Target::Copy,
            _ => return false,
        };
        self.findings
            .iter()
            .any(|finding| finding.loses_to_tc(target))
    }
}

impl<'p> Abilities<'p> {
    /// What denies an ability, what has no remedy first.
    pub fn denials(&self, target: Target) -> Vec<&Finding<'p>> {
        let mut denials: Vec<_> = self.findings.iter().filter(|f| f.denies(target)).collect();
        denials.sort_by_key(|finding| worst(finding));
        denials
    }
}

/// What has no remedy weighs most: it is told first.
fn worst(finding: &Finding<'_>) -> std::cmp::Reverse<(bool, Disruption)> {
    let fix = finding.fix.as_ref();
    let disruption = fix.map_or(Disruption::Reboot, |fix| fix.disruption);
    std::cmp::Reverse((!finding.has_command(), disruption))
}

fn join(claim: Claim, findings: &[Finding<'_>], target: Target) -> Ability {
    let mut denials: Vec<&Finding<'_>> = findings.iter().filter(|f| f.denies(target)).collect();
    denials.sort_by_key(|finding| worst(finding));
    let denied_by: Vec<String> = denials.iter().map(|f| f.rule.id.clone()).collect();
    let because = || denials.iter().map(|finding| finding.why.clone());
    let Claim {
        can,
        confidence,
        why,
    } = claim;
    let verified = confidence == Confidence::Verified;
    if verified && can == Some(true) {
        return ability(Verdict::Yes, confidence, vec![why], Vec::new());
    }
    if denials.is_empty() {
        let verdict = match can {
            Some(true) => Verdict::Yes,
            Some(false) => Verdict::No,
            None => Verdict::Unknown,
        };
        let degrades = findings
            .iter()
            .filter(|f| f.rule.is_about(target) && f.rule.effect == finding::DEGRADES);
        let mut told = vec![why];
        told.extend(degrades.map(|finding| finding.why.clone()));
        return ability(verdict, confidence, told, denied_by);
    }
    let fixable = denials.iter().all(|finding| finding.has_command());
    let verdict = if fixable {
        Verdict::AfterFix
    } else {
        Verdict::No
    };
    let says_no = can == Some(false) && confidence >= Confidence::Declared;
    let lists_it = can == Some(true) && confidence == Confidence::Declared;
    let first = (says_no && (!fixable || verified)).then_some(why);
    let confidence = match (first.is_some(), lists_it) {
        (true, _) => confidence,
        (false, true) => Confidence::Contradicted,
        (false, false) => Confidence::Computed,
    };
    let told = first.into_iter().chain(because()).collect();
    ability(verdict, confidence, told, denied_by)
}

fn ability(
    verdict: Verdict,
    confidence: Confidence,
    why: Vec<String>,
    denied_by: Vec<String>,
) -> Ability {
    Ability {
        verdict,
        confidence,
        why,
        denied_by,
    }
}
