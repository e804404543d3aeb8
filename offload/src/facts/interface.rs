//! What is known of one interface.

use serde::{Deserialize, Serialize};

use super::Facts;

/// One interface: what it is, its facts, and what was asked to learn them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InterfaceFacts {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// What it is to the others.
    pub role: InterfaceRole,
    /// The switch in the NIC that it belongs to, as a number within the report:
    /// equal numbers are the same switch. (The real id is made of a MAC address.)
    pub switch_id: Option<String>,
    /// Interfaces under it.
    pub lower: Vec<String>,
    /// Interfaces above it.
    pub upper: Vec<String>,
    /// Where a program must go to see this interface's packets; itself, if it
    /// can carry one.
    pub attach_to: Vec<String>,
    /// By key.
    pub facts: Facts,
    /// Its queues.
    pub queues: Vec<Queue>,
    /// What was asked, what was not, and what came of it.
    pub probes: Vec<Probe>,
}

/// What an interface is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InterfaceRole {
    /// A physical port, or a VM's only view of one.
    Port,
    /// A port whose NIC's switch is managed by the host.
    Uplink,
    /// The host's handle of a virtual function behind the NIC's switch.
    Representor,
    /// A virtual function.
    Vf,
    /// A scalable function.
    Sf,
    /// Lies on others: bond, VLAN, bridge, macvlan.
    Stacked,
    /// Software only: veth, tap, dummy.
    Virtual,
    /// `lo`.
    Loopback,
    /// Nothing tells.
    #[default]
    Unknown,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Queue {
    /// `rx` or `tx`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its number.
    pub id: u32,
    /// The NAPI instance that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub napi: Option<u32>,
    /// That instance's interrupt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irq: Option<u32>,
    /// Who tells the interrupt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irq_source: Option<String>,
    /// CPUs that serve the interrupt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// An AF_XDP socket is bound here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xsk: Option<bool>,
}

/// One question that was, or was not, asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// `netdev.DEV_GET`, `prog_load_dev_bound`, `attach_drv`.
    pub name: String,
    /// What came of it.
    pub result: ProbeResult,
    /// `EINVAL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// The kernel's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extack: Option<String>,
    /// Why it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// What asking does.
    #[serde(default)]
    pub side_effect: SideEffect,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeResult {
    /// Answered, or accepted.
    Ok,
    /// The kernel or the driver said no.
    Refused,
    /// Not asked.
    #[default]
    NotRun,
    /// Not allowed to ask.
    NoPermission,
    /// The kernel has no such netlink family.
    NoFamily,
    /// Anything else.
    Error,
}

/// What asking does to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SideEffect {
    /// Nothing.
    #[default]
    None,
    /// A program was loaded and freed.
    ProgramLoadedAndFreed,
    /// A rule was added and removed.
    RuleAddedAndRemoved,
    /// A queue was set up anew.
    QueueReset,
    /// The link may have gone down for a moment.
    LinkFlap,
}
