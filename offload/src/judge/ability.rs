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
    /// The strongest source itself said no, whatever the rules say.
    pub claimed_no: bool,
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
    let can = claim.can;
    let tried = claim.confidence == Confidence::Verified;
    let (verdict, confidence, why) = match can {
        Some(true) if tried => (Verdict::Yes, claim.confidence, vec![claim.why]),
        _ if denials.is_empty() => undenied(claim, findings, target),
        _ => denied(claim, &denials),
    };
    Ability {
        verdict,
        confidence,
        why,
        denied_by: match verdict {
            Verdict::Yes => Vec::new(),
            _ => denials.iter().map(|f| f.rule.id.clone()).collect(),
        },
        claimed_no: can == Some(false),
    }
}

type Joined = (Verdict, Confidence, Vec<String>);

/// Nothing is against it; what makes it slower is told.
fn undenied(claim: Claim, findings: &[Finding<'_>], target: Target) -> Joined {
    let verdict = match claim.can {
        Some(true) => Verdict::Yes,
        Some(false) => Verdict::No,
        None => Verdict::Unknown,
    };
    let degrades = |finding: &&Finding<'_>| {
        verdict == Verdict::Yes
            && finding.rule.is_about(target)
            && finding.rule.effect == finding::DEGRADES
    };
    let degrades = findings.iter().filter(degrades);
    let mut why = vec![claim.why];
    why.extend(degrades.map(|finding| finding.why.clone()));
    (verdict, claim.confidence, why)
}

/// Rules are against it: they beat the kernel's word, not a trial, and they can
/// all be mended or not.
fn denied(claim: Claim, denials: &[&Finding<'_>]) -> Joined {
    let fixable = !claim.is_final && denials.iter().all(|finding| finding.has_command());
    let verdict = if fixable {
        Verdict::AfterFix
    } else {
        Verdict::No
    };
    let says_no = claim.can == Some(false);
    let tried = claim.confidence == Confidence::Verified;
    let tells = says_no && (tried || !fixable);
    let confidence = match (tells, claim.can, claim.confidence) {
        (true, _, Confidence::Declared) if claim.is_final => Confidence::Declared,
        (true, _, confidence) => confidence.max(Confidence::Computed),
        (false, Some(true), Confidence::Declared) => Confidence::Contradicted,
        _ => Confidence::Computed,
    };
    let because = denials.iter().map(|finding| finding.why.clone());
    let first = tells.then_some(claim.why);
    (
        verdict,
        confidence,
        first.into_iter().chain(because).collect(),
    )
}
