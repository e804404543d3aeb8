//! Tiers that the operator requires, and refusals.

use super::block::NOTHING;
use super::{Blocker, LADDER, Refusal, Site, companions};
use crate::verdict::Disruption;
use crate::{Task, Tier, Wish};

const TIERS: [Tier; 6] = [
    Tier::Nic,
    Tier::XdpNative,
    Tier::XdpGeneric,
    Tier::Tc,
    Tier::Socket,
    Tier::Worker,
];

impl Site<'_> {
    /// The tier that is required for a task, and for which task of the same
    /// program.
    pub(super) fn required(&self, task: Task) -> Result<Option<(Task, Tier)>, Refusal> {
        let required = self.all_required(task);
        if let [(a, first), (b, second), ..] = required[..]
            && first != second
        {
            return Err(self.conflict(task, (a, first), (b, second)));
        }
        let required = required.first().copied();
        match required {
            Some((_, tier)) if !LADDER.contains(&tier) => Err(self.refusal(task, required, &[])),
            _ => Ok(required),
        }
    }

    /// The tasks of one program that require a tier, this one first.
    fn all_required(&self, task: Task) -> Vec<(Task, Tier)> {
        let others = companions(task, self.demand.role);
        let others = others.iter().filter(|&&other| other != task);
        std::iter::once(&task)
            .chain(others)
            .filter_map(|&other| {
                // What a NIC does is in front of the program, not in it.
                let is_alone = |tier: &Tier| *tier == Tier::Nic && other != task;
                let is_required =
                    |tier: &Tier| !is_alone(tier) && self.wish(other, *tier) == Wish::Require;
                Some((other, TIERS.into_iter().find(is_required)?))
            })
            .collect()
    }

    pub(super) fn other_required(
        &self,
        task: Task,
        by: Task,
        required: Tier,
        tier: Tier,
    ) -> Blocker {
        let shared = if by == task {
            String::new()
        } else {
            format!(", and {task} runs in the same program")
        };
        Blocker {
            tier,
            why: format!(
                "the configuration requires {required} for {by} on {}{shared}",
                self.name()
            ),
            fix: format!("set tiers.{by}.{required} to \"auto\""),
            undo: String::new(),
            disruption: Disruption::None,
            rules: Vec::new(),
            by_design: true,
        }
    }

    fn conflict(&self, task: Task, a: (Task, Tier), b: (Task, Tier)) -> Refusal {
        Refusal {
            task,
            iface: self.name().to_owned(),
            tier: a.1,
            why: format!(
                "the configuration requires {} for {} and {} for {}, which run in the same program",
                a.1, a.0, b.1, b.0
            ),
            fix: "require one tier for both".to_owned(),
        }
    }

    pub(super) fn refusal(
        &self,
        task: Task,
        required: Option<(Task, Tier)>,
        blockers: &[Blocker],
    ) -> Refusal {
        let tier = required.map_or(Tier::Tc, |(_, tier)| tier);
        let unwish = format!("set tiers.{task}.{tier} to \"auto\"");
        let (why, fix) = match blockers.iter().find(|blocker| blocker.tier == tier) {
            // The wish itself is all that can be changed then.
            Some(blocker) if blocker.fix == NOTHING => (blocker.why.clone(), unwish),
            Some(blocker) => (blocker.why.clone(), blocker.fix.clone()),
            None => (format!("{task} never runs on tier {tier}"), unwish),
        };
        Refusal {
            task,
            iface: self.name().to_owned(),
            tier,
            why,
            fix,
        }
    }
}
