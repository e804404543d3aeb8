//! The planner: each task of each interface on the best tier that can do it.
//!
//! Pure: facts, demands, wishes and a policy in; placements with reasons out. What
//! sources disagree on is planned pessimistically; nothing that would interrupt
//! traffic is planned without consent; a wish that can't be met is a refusal.

mod block;
mod changes;
mod front;
mod nic;
mod reason;
mod require;
mod socket;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::Confidence;
use crate::judge::Abilities;
use crate::rules::NicRule;
use crate::subject::{Machine, Needs, Subject};
use crate::verdict::{Disruption, NicTier};
use crate::{Role, Task, Tier, Wish, Wishes};

pub use changes::{Change, Step, changes};
pub use front::{Front, Unfit};
pub use nic::{NicState, Way, Ways, way};
pub use socket::{HOST, SocketState, SocketTask, place_sockets};

/// What the configuration wants of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The interface.
    pub iface: String,
    /// What it is to the host.
    pub role: Role,
    /// The programs take packets of several buffers.
    pub frags: bool,
    /// Rules that the NIC could take off the host, in the order in which they
    /// hold.
    pub rules: Vec<NicRule>,
    /// Where a program of ours runs now, as XDP; `None` = at tc only.
    pub running: Option<Tier>,
    /// Programs of ours serve it already: an interruption would be felt.
    pub served: bool,
    /// Tiers that the kernel refused when it was tried, with its reason.
    pub refused: BTreeMap<Tier, String>,
    /// Why no better tier than the running one is to be taken now.
    pub held: Option<Held>,
    /// What became of the deny list in its NIC; `None` = nobody was asked.
    pub nic: Option<NicState>,
    /// What became of drops of policy in the interface's NIC.
    pub nic_policy: Option<NicState>,
    /// What became of hot flows there.
    pub nic_flows: Option<NicState>,
}

/// A move that has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Why.
    pub why: String,
    /// It moved too often; else the better tier only has to last a while.
    pub flaps: bool,
}

impl Demand {
    /// An interface that nothing runs on yet.
    pub fn new(iface: impl Into<String>, role: Role) -> Self {
        Self {
            iface: iface.into(),
            role,
            frags: false,
            rules: Vec::new(),
            running: None,
            served: false,
            refused: BTreeMap::new(),
            held: None,
            nic: None,
            nic_policy: None,
            nic_flows: None,
        }
    }

    /// What the programs need of the interface.
    pub fn needs(&self) -> Needs {
        Needs {
            role: Some(self.role),
            frags: self.frags,
            redirect: self.role == Role::Uplink,
            redirect_target: self.role == Role::Uplink,
            worker: false,
        }
    }
}

/// What the operator lets the planner do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The worst that attaching may do to an interface that is served. Nothing is
    /// lost on one that is not yet.
    pub consent: Disruption,
    /// Plan on what only a profile says. Where the plan is carried out the attach
    /// itself is the proof, with a fall back; elsewhere nobody proves it.
    pub trust_profile: bool,
    /// Rules go into NICs.
    pub nic_rules: bool,
}

impl Policy {
    /// Of a daemon, where each attach is a proof.
    pub fn of_daemon(consent: Disruption) -> Self {
        Self {
            consent,
            trust_profile: true,
            nic_rules: false,
        }
    }
}

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
    /// How sure it is that it can.
    pub confidence: Confidence,
    /// Why not on a better tier, best tier first.
    pub blockers: Vec<Blocker>,
    /// Rules that the NIC takes, or could take, in front of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<Front>,
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
    /// What takes that back; empty = nothing, or nothing is needed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub undo: String,
    /// What the fix does to running traffic.
    #[serde(default)]
    pub disruption: Disruption,
    /// The rules that say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
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
    /// Tasks that run elsewhere now, where that was compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Of the Services that the L7 tier serves, where a daemon knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceRung>,
    /// Of the uplinks, where a daemon has workers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
}

/// How what is for workers comes from an uplink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The uplink.
    pub iface: String,
    /// So many of its queues are read by workers; 0 = it comes by the l7 port.
    pub queues: usize,
    /// `copy` or `zero-copy`; empty = it comes by the l7 port.
    pub mode: String,
    /// Why not in a better way; empty = it is the best.
    pub why: String,
}

/// Where on the L7 ladder a Service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRung {
    /// `namespace/name`, with `:port-name` when it has one.
    pub service: String,
    /// `in-kernel`, `splice`, or both where some rules need a worker.
    pub rung: String,
    pub why: String,
    /// Why a worker reads some or all requests; empty = it does not.
    pub not_in_kernel: String,
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

/// One interface while it is planned.
pub(crate) struct Site<'s> {
    subject: Subject<'s>,
    abilities: Abilities<'s>,
    demand: &'s Demand,
    wishes: &'s Wishes,
    policy: Policy,
}

/// Places every task of every interface. tc is armed on all of them whatever
/// the plan says; XDP goes in front of it, and rules of a NIC in front of that.
/// An interface without facts can do what tc can.
pub fn plan(machine: Machine<'_>, demands: &[Demand], wishes: &Wishes, policy: Policy) -> Plan {
    let mut plan = Plan::default();
    for demand in demands {
        let mut known = machine.interfaces.iter();
        let unknown = crate::facts::InterfaceFacts {
            name: demand.iface.clone(),
            ..Default::default()
        };
        let facts = known
            .find(|facts| facts.name == demand.iface)
            .unwrap_or(&unknown);
        let subject = Subject::new(machine, facts, demand.needs());
        let abilities = Abilities::of(&subject);
        let site = Site {
            subject,
            abilities,
            demand,
            wishes,
            policy,
        };
        for &task in demand.role.tasks() {
            match site.place(task) {
                Ok(placement) => plan.placements.push(placement),
                Err(refusal) => plan.refusals.push(refusal),
            }
        }
    }
    plan
}

impl Site<'_> {
    fn place(&self, task: Task) -> Result<Placement, Refusal> {
        let required = self.required(task)?;
        let front = self.front(task);
        let mut blockers = Vec::new();
        for tier in LADDER {
            let blocker = match required {
                Some((by, required)) if required != tier => {
                    Some(self.other_required(task, by, required, tier))
                }
                _ => self.blocker(task, tier, required.is_some(), front.as_ref()),
            };
            let Some(blocker) = blocker else {
                return Ok(Placement {
                    task,
                    iface: self.demand.iface.clone(),
                    tier,
                    reason: self.reason(task, tier, required.is_some()),
                    confidence: self.confidence(tier),
                    blockers,
                    front,
                });
            };
            blockers.push(blocker);
        }
        Err(self.refusal(task, required, &blockers))
    }

    fn confidence(&self, tier: Tier) -> Confidence {
        let held = self.demand.nic.as_ref().is_some_and(NicState::is_held);
        if self.demand.running == Some(tier) || (tier == Tier::Nic && held) {
            return Confidence::Verified;
        }
        let tier = match tier {
            Tier::XdpNative => NicTier::XdpNative,
            Tier::XdpGeneric => NicTier::XdpGeneric,
            Tier::Nic => NicTier::HwNic,
            _ => NicTier::Tc,
        };
        crate::judge::of_tier(&self.subject, &self.abilities, tier).confidence
    }

    fn name(&self) -> &str {
        &self.demand.iface
    }

    fn wish(&self, task: Task, tier: Tier) -> Wish {
        self.wishes.of(self.name(), task, tier)
    }
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
        // Of the host, not of an interface.
        (Task::Connect | Task::Shortcut, _) => &[],
    }
}
