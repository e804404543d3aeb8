//! What a plan would change of what runs.

use serde::{Deserialize, Serialize};

use super::Plan;
use crate::{Task, Tier};

/// One task that would move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The interface.
    pub iface: String,
    /// The task.
    pub task: Task,
    /// Where it runs; `None` = nowhere yet.
    pub from: Option<Tier>,
    /// Where it would run; `None` = nowhere any more.
    pub to: Option<Tier>,
    /// How it gets there.
    pub step: Step,
}

/// How a task moves. tc is armed before and after each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Programs are put on the interface.
    Arm,
    /// XDP goes in front of tc.
    AttachXdp,
    /// XDP goes away; tc takes over first.
    DetachXdp,
    /// XDP changes its mode: detach, then attach, with tc in between.
    ChangeMode,
    /// Rules of the NIC change.
    NicRules,
    /// Programs are taken off the interface.
    Disarm,
}

impl Step {
    fn of(from: Option<Tier>, to: Option<Tier>) -> Self {
        let is_xdp = |tier| matches!(tier, Tier::XdpNative | Tier::XdpGeneric);
        match (from, to) {
            (None, _) => Self::Arm,
            (_, None) => Self::Disarm,
            (Some(Tier::Nic), _) | (_, Some(Tier::Nic)) => Self::NicRules,
            (Some(a), Some(b)) if is_xdp(a) && is_xdp(b) => Self::ChangeMode,
            (_, Some(to)) if is_xdp(to) => Self::AttachXdp,
            _ => Self::DetachXdp,
        }
    }

    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arm => "arm",
            Self::AttachXdp => "attach XDP",
            Self::DetachXdp => "detach XDP",
            Self::ChangeMode => "change the mode of XDP",
            Self::NicRules => "rules of the NIC",
            Self::Disarm => "disarm",
        }
    }
}

/// Tasks that run elsewhere than planned, by interface and task.
pub fn changes(running: &Plan, planned: &Plan) -> Vec<Change> {
    let tier_in = |plan: &Plan, iface: &str, task: Task| {
        let mut placements = plan.placements.iter();
        let found = placements.find(|p| p.iface == iface && p.task == task);
        found.map(|placement| placement.tier)
    };
    let both = running.placements.iter().chain(&planned.placements);
    let mut keys: Vec<(&str, Task)> = both.map(|p| (p.iface.as_str(), p.task)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter_map(|(iface, task)| {
            let from = tier_in(running, iface, task);
            let to = tier_in(planned, iface, task);
            (from != to).then(|| Change {
                iface: iface.to_owned(),
                task,
                from,
                to,
                step: Step::of(from, to),
            })
        })
        .collect()
}
