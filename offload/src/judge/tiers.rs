//! Abilities to the tiers of a report.

use terrace_nic_profiles::Target;

use super::ability::{Abilities, Ability};
use crate::facts::Confidence;
use crate::subject::Subject;
use crate::verdict::{Blocker, NicTier, TierVerdict, Verdict};

/// One line a tier, best first.
pub fn all(
    subject: &Subject<'_>,
    abilities: &Abilities<'_>,
    blockers: &[Blocker],
) -> Vec<TierVerdict> {
    let line = |tier: NicTier| {
        let ability = of_tier(subject, abilities, tier);
        let ability = lose(abilities, tier, ability);
        TierVerdict {
            tier,
            verdict: ability.verdict,
            why: ability.why,
            confidence: ability.confidence,
            blockers: numbers(blockers, &ability.denied_by),
        }
    };
    NicTier::ALL.into_iter().map(line).collect()
}

/// The ability that a tier stands for; some need two.
pub(crate) fn of_tier(subject: &Subject<'_>, abilities: &Abilities<'_>, tier: NicTier) -> Ability {
    match tier {
        NicTier::HwEbpf => abilities.get(Target::HwEbpf).clone(),
        NicTier::HwSwitch => abilities.get(Target::HwSwitch).clone(),
        NicTier::HwNic => hw_nic(abilities),
        NicTier::AfxdpZc => zero_copy(subject, abilities),
        NicTier::XdpNative => abilities.get(Target::XdpNative).clone(),
        NicTier::Tc => abilities.get(Target::Tc).clone(),
        NicTier::AfxdpCopy => abilities.get(Target::Copy).clone(),
        NicTier::XdpGeneric => abilities.get(Target::XdpGeneric).clone(),
    }
}

/// Flower on a port or the receive classifier: the better of both.
fn hw_nic(abilities: &Abilities<'_>) -> Ability {
    let (flower, ntuple) = (
        abilities.get(Target::HwFlower),
        abilities.get(Target::HwNtuple),
    );
    let mut one = if ntuple.verdict <= flower.verdict {
        ntuple.clone()
    } else {
        flower.clone()
    };
    if matches!(one.verdict, Verdict::No) {
        one.why = flower
            .why
            .iter()
            .take(1)
            .chain(ntuple.why.iter().take(1))
            .cloned()
            .collect();
        one.confidence = flower.confidence.min(ntuple.confidence);
        one.denied_by.extend(flower.denied_by.iter().cloned());
    }
    one
}

/// Zero-copy sockets live on a native program.
fn zero_copy(subject: &Subject<'_>, abilities: &Abilities<'_>) -> Ability {
    let native = abilities.get(Target::XdpNative);
    let zero_copy = abilities.get(Target::ZeroCopy);
    let leased = subject.facts().text("id.kind") == Some("netkit");
    let missing = matches!(
        native.verdict,
        Verdict::No | Verdict::AfterFix | Verdict::Unknown
    );
    let own = zero_copy.confidence == Confidence::Verified || zero_copy.claimed_no;
    if leased || own || !missing {
        return zero_copy.clone();
    }
    Ability {
        verdict: native.verdict.max(zero_copy.verdict),
        confidence: match native.verdict {
            Verdict::Unknown => Confidence::Unknown,
            _ => Confidence::Computed,
        },
        why: vec!["needs native XDP".to_owned()],
        denied_by: native.denied_by.clone(),
        claimed_no: false,
    }
}

/// A tier that works and loses to tc is a partial yes.
fn lose(abilities: &Abilities<'_>, tier: NicTier, mut ability: Ability) -> Ability {
    if tier == NicTier::XdpNative && abilities.loses(tier) && ability.verdict == Verdict::Yes {
        ability.verdict = Verdict::Partial;
        ability.why.push("tc does the same for less".to_owned());
    }
    ability
}

fn numbers(blockers: &[Blocker], ids: &[String]) -> Vec<u32> {
    let mut numbers: Vec<u32> = blockers
        .iter()
        .filter(|blocker| ids.contains(&blocker.id))
        .filter_map(|blocker| blocker.number)
        .collect();
    numbers.sort_unstable();
    numbers
}
