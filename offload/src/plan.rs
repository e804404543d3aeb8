//! The planner: each task of each interface on the best tier that can do it.

use serde::{Deserialize, Serialize};

use crate::native::{generic_blocker, native_blocker};
use crate::{Capabilities, Interface, Role, Task, Tier, Wish, Wishes, driver};

/// Where one task of one interface runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The task.
    pub task: Task,
    /// The interface.
    pub iface: String,
    /// Where it runs.
    pub tier: Tier,
    /// Why there.
    pub reason: String,
    /// Why not on a better tier, best tier first.
    pub blockers: Vec<Blocker>,
}

impl Placement {
    /// Whether something on this machine keeps the task from a better tier:
    /// worth an event, unlike what is so by design or by wish.
    pub fn is_fallback(&self) -> bool {
        self.blockers.iter().any(|blocker| !blocker.by_design)
    }
}

/// What keeps a task from a tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    /// The tier.
    pub tier: Tier,
    /// What is in the way.
    pub why: String,
    /// What the operator can do about it.
    pub fix: String,
    /// So by Terrace's design or by the operator's own wish.
    pub by_design: bool,
}

/// A wish that can't be met; the start fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The task.
    pub task: Task,
    /// The interface.
    pub iface: String,
    /// The tier that is required, or the last one that is left.
    pub tier: Tier,
    /// What is in the way.
    pub why: String,
    /// What the operator can do about it.
    pub fix: String,
}

/// All placements of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// By interface, then by task.
    pub placements: Vec<Placement>,
    /// Wishes that can't be met.
    pub refusals: Vec<Refusal>,
}

impl Plan {
    /// The tier of the XDP program of an interface; `None` = it gets none.
    pub fn xdp(&self, iface: &str) -> Option<Tier> {
        let mut tiers = self
            .placements
            .iter()
            .filter(|p| p.iface == iface)
            .map(|p| p.tier);
        tiers.find(|tier| matches!(tier, Tier::XdpNative | Tier::XdpGeneric))
    }
}

/// The tiers that this version places packets on, best first.
const LADDER: [Tier; 4] = [Tier::Nic, Tier::XdpNative, Tier::XdpGeneric, Tier::Tc];

/// Places every task of every interface. tc is armed on all of them whatever
/// the plan says; XDP goes in front of it.
pub fn plan(host: &Capabilities, wishes: &Wishes) -> Plan {
    let mut plan = Plan::default();
    for iface in &host.interfaces {
        for &task in iface.role.tasks() {
            match place(host, wishes, iface, task) {
                Ok(placement) => plan.placements.push(placement),
                Err(refusal) => plan.refusals.push(refusal),
            }
        }
    }
    plan
}

fn place(
    host: &Capabilities,
    wishes: &Wishes,
    iface: &Interface,
    task: Task,
) -> Result<Placement, Refusal> {
    let required = required(wishes, iface, task);
    if let [(a, first), (b, second), ..] = required[..]
        && first != second
    {
        return Err(conflict(iface, task, (a, first), (b, second)));
    }
    let required = required.first().copied();
    if let Some((_, tier)) = required
        && !LADDER.contains(&tier)
    {
        return Err(refusal(iface, task, required, &[]));
    }
    let mut blockers = Vec::new();
    for tier in LADDER {
        let blocker = match required {
            Some((by, required)) if required != tier => {
                Some(other_required(iface, task, by, required, tier))
            }
            _ => blocker(host, wishes, iface, task, tier, required.is_some()),
        };
        let Some(blocker) = blocker else {
            let reason = reason(host, iface, task, tier, required.is_some());
            return Ok(Placement {
                task,
                iface: iface.name.clone(),
                tier,
                reason,
                blockers,
            });
        };
        blockers.push(blocker);
    }
    Err(refusal(iface, task, required, &blockers))
}

/// Tasks that one XDP program does together: what holds for one of them holds
/// for both.
fn companions(task: Task, role: Role) -> &'static [Task] {
    match (task, role) {
        (Task::Prefilter | Task::Steer, Role::Uplink) => &[Task::Prefilter, Task::Steer],
        (Task::Prefilter, Role::Workload) => &[Task::Prefilter],
        (Task::Steer, Role::Workload) => &[Task::Steer],
        (Task::Policy, _) => &[Task::Policy],
        (Task::Deliver, _) => &[Task::Deliver],
    }
}

/// The tasks of one program that require a tier, this one first.
fn required(wishes: &Wishes, iface: &Interface, task: Task) -> Vec<(Task, Tier)> {
    const TIERS: [Tier; 6] = [
        Tier::Nic,
        Tier::XdpNative,
        Tier::XdpGeneric,
        Tier::Tc,
        Tier::Socket,
        Tier::Worker,
    ];
    let others = companions(task, iface.role)
        .iter()
        .filter(|&&other| other != task);
    std::iter::once(&task)
        .chain(others)
        .filter_map(|&task| {
            let is_required = |tier: &Tier| wishes.of(&iface.name, task, *tier) == Wish::Require;
            Some((task, TIERS.into_iter().find(is_required)?))
        })
        .collect()
}

fn other_required(iface: &Interface, task: Task, by: Task, required: Tier, tier: Tier) -> Blocker {
    let shared = if by == task {
        String::new()
    } else {
        format!(", and {task} runs in the same program")
    };
    Blocker {
        tier,
        why: format!(
            "the configuration requires {required} for {by} on {}{shared}",
            iface.name
        ),
        fix: format!("set tiers.{by}.{required} to \"auto\""),
        by_design: true,
    }
}

/// What keeps a task from a tier; `None` = nothing.
fn blocker(
    host: &Capabilities,
    wishes: &Wishes,
    iface: &Interface,
    task: Task,
    tier: Tier,
    required: bool,
) -> Option<Blocker> {
    let design = |why: String, fix: &str| {
        Some(Blocker {
            tier,
            why,
            fix: fix.to_owned(),
            by_design: true,
        })
    };
    let forbids = |other: &&Task| wishes.of(&iface.name, **other, tier) == Wish::Forbid;
    if let Some(by) = companions(task, iface.role).iter().find(forbids) {
        let why = format!(
            "the configuration forbids {tier} for {by} on {}",
            iface.name
        );
        return design(why, &format!("set tiers.{by}.{tier} to \"auto\""));
    }
    let nothing = "nothing to do";
    match (tier, iface.role, task) {
        (Tier::Tc, ..) => None,
        (Tier::Nic, ..) => design("this version puts no work into NICs".to_owned(), nothing),
        (_, Role::Workload, _) if iface.is_veth() => design(
            "XDP on veth loses GSO, GRO and checksum offload: slower than tc".to_owned(),
            nothing,
        ),
        (_, Role::Workload, _) => design(
            "workloads are served in tc, where GSO and checksum offload stay".to_owned(),
            nothing,
        ),
        (_, Role::Uplink, Task::Policy | Task::Deliver) => design(
            format!(
                "XDP passes packets of local workloads on to tc, where {task} keeps their offloads"
            ),
            nothing,
        ),
        (Tier::XdpNative, Role::Uplink, _) => native_blocker(host, iface, required),
        (_, Role::Uplink, _) if required => generic_blocker(iface),
        _ => design(
            "generic XDP is slower than tc, and is taken only when it is asked for".to_owned(),
            &format!("set tiers.{task}.{tier} to \"require\" to have it all the same"),
        ),
    }
}

fn reason(
    host: &Capabilities,
    iface: &Interface,
    task: Task,
    tier: Tier,
    required: bool,
) -> String {
    let asked = if required {
        "required by the configuration; "
    } else {
        ""
    };
    let by = if host.tcx {
        "TCX"
    } else {
        "clsact, as this kernel has no TCX"
    };
    match tier {
        Tier::XdpNative => match driver(&iface.driver) {
            Some(known) => {
                let care = if known.interrupts {
                    " (attaching once interrupts the link for a moment)"
                } else {
                    ""
                };
                format!(
                    "{asked}driver {} runs XDP natively{care}; tc stays armed behind it",
                    iface.driver
                )
            }
            None => format!(
                "{asked}tried, as nothing is known of driver {}",
                iface.driver
            ),
        },
        Tier::XdpGeneric => format!("{asked}runs on any driver; tc stays armed behind it"),
        _ if iface.role == Role::Workload => {
            format!(
                "{asked}armed by {by}: keeps GSO and checksum offload of {}",
                iface.name
            )
        }
        _ if matches!(task, Task::Policy | Task::Deliver) => {
            format!("{asked}armed by {by}: local workloads are reached from tc")
        }
        _ => format!(
            "{asked}armed by {by}: the best tier that is left on {}",
            iface.name
        ),
    }
}

fn conflict(iface: &Interface, task: Task, a: (Task, Tier), b: (Task, Tier)) -> Refusal {
    Refusal {
        task,
        iface: iface.name.clone(),
        tier: a.1,
        why: format!(
            "the configuration requires {} for {} and {} for {}, which run in the same program",
            a.1, a.0, b.1, b.0
        ),
        fix: "require one tier for both".to_owned(),
    }
}

fn refusal(
    iface: &Interface,
    task: Task,
    required: Option<(Task, Tier)>,
    blockers: &[Blocker],
) -> Refusal {
    let tier = required.map_or(Tier::Tc, |(_, tier)| tier);
    let (why, fix) = match blockers.iter().find(|blocker| blocker.tier == tier) {
        Some(blocker) => (blocker.why.clone(), blocker.fix.clone()),
        None => (
            format!("{task} never runs on tier {tier}"),
            format!("set tiers.{task}.{tier} to \"auto\""),
        ),
    };
    Refusal {
        task,
        iface: iface.name.clone(),
        tier,
        why,
        fix,
    }
}
