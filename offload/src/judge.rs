//! What the facts and the profiles of an interface mean for each tier.
//!
//! An ability is *claimed* by the strongest source that speaks of it: a trial,
//! the kernel's word, a profile. Then the rules have their say: one that denies
//! beats the kernel's word (the fact is contradicted, the pessimist plans) but not
//! a trial. What nobody could tell stays unknown; it never becomes a no.

mod ability;
mod claim;
mod finding;
mod tiers;

use serde::{Deserialize, Serialize};

use crate::facts::InterfaceFacts;
use crate::subject::{Machine, Needs, Subject};
use crate::verdict::{Blocker, NicTier, TierVerdict, Verdict};

pub(crate) use ability::{Abilities, Ability};
pub(crate) use finding::Finding;
pub use terrace_nic_profiles::Target;
pub(crate) use tiers::of_tier;

/// What an interface can carry, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The situation, or at least the driver, that is known.
    pub profile: Option<ProfileRef>,
    /// One line a tier, in the order of [`NicTier::ALL`].
    pub tiers: Vec<TierVerdict>,
    /// The best tier that works now and loses to none behind it.
    pub best: Option<NicTier>,
    /// What the rules found; those that deny and have a remedy are numbered.
    pub blockers: Vec<Blocker>,
    /// Rules that could not be checked, and the facts that they would need.
    pub unchecked: Vec<Unchecked>,
}

/// Where knowledge from beforehand came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRef {
    /// `virtio-net-firecracker`, or the driver's name.
    pub id: String,
    /// For people.
    pub title: String,
    /// `verified`, `sourced`, `draft`; of a driver `sourced`.
    pub status: String,
    /// When it was last held against its sources.
    pub reviewed: Option<String>,
    /// Its file in `drivers/`.
    pub driver: String,
}

/// A rule that could not be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchecked {
    /// The rule.
    pub id: String,
    /// The facts that are not known.
    pub needs: Vec<String>,
}

/// Judges one interface, for no use in particular.
pub fn verdicts(machine: Machine<'_>, iface: &InterfaceFacts) -> Judged {
    judge(machine, iface, Needs::default())
}

/// Judges one interface for a program with these needs.
pub fn judge(machine: Machine<'_>, iface: &InterfaceFacts, needs: Needs) -> Judged {
    let subject = Subject::new(machine, iface, needs);
    let abilities = Abilities::of(&subject);
    let mut blockers = finding::blockers(&abilities.findings);
    number(&mut blockers);
    let tiers = tiers::all(&subject, &abilities, &blockers);
    Judged {
        profile: profile(&subject),
        best: best(&tiers, &abilities),
        tiers,
        blockers,
        unchecked: abilities.unchecked,
    }
}

/// A fact as the rules see it: of the machine, of a profile, or of the needs.
pub fn fact(
    machine: Machine<'_>,
    iface: &InterfaceFacts,
    needs: Needs,
    key: &str,
) -> Option<terrace_nic_profiles::Value> {
    Subject::new(machine, iface, needs).value(key)
}

/// Numbers count what has a remedy; the rest is said in the tier's line.
fn number(blockers: &mut [Blocker]) {
    let mut next = 1;
    for blocker in blockers {
        if blocker.effect == crate::verdict::Effect::Deny && blocker.fix.is_some() {
            blocker.number = Some(next);
            next += 1;
        }
    }
}

fn best(tiers: &[TierVerdict], abilities: &Abilities<'_>) -> Option<NicTier> {
    let works = |line: &&TierVerdict| {
        let rules_only = matches!(line.tier, NicTier::HwSwitch | NicTier::HwNic);
        line.verdict == Verdict::Yes && !rules_only && !abilities.loses(line.tier)
    };
    tiers.iter().find(works).map(|line| line.tier)
}

fn profile(subject: &Subject<'_>) -> Option<ProfileRef> {
    if let Some(situation) = subject.known.situation {
        return Some(ProfileRef {
            id: situation.id.clone(),
            title: situation.title.clone(),
            status: situation.status.name().to_owned(),
            reviewed: Some(situation.reviewed.clone()),
            driver: situation.driver.clone(),
        });
    }
    let driver = subject.known.driver?;
    Some(ProfileRef {
        id: driver.name.clone(),
        title: driver.hardware.clone(),
        status: "sourced".to_owned(),
        reviewed: None,
        driver: driver.name.clone(),
    })
}
