//! Pre-flight rules: what will be refused or will be slow, said before it is
//! tried.

use serde::{Deserialize, Serialize};

use crate::expr::{Assignment, Predicate, Template};
use crate::value::Lookup;

/// One rule, as data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `driver.what`; unique.
    pub id: String,
    /// All must hold; none = always.
    #[serde(default)]
    pub when: Vec<Predicate>,
    /// How bad it is.
    pub effect: Effect,
    /// What it is about.
    pub target: Vec<Target>,
    /// It works, and the named tier does the same for less: the planner takes that
    /// one. Only `tc` stands behind all tiers.
    pub loses_to: Option<LosesTo>,
    /// What the kernel answers when it is tried all the same.
    pub errno: Option<String>,
    /// Why, for people.
    pub text: Template,
    /// What can be done.
    pub fix: Option<Fix>,
    /// Where it was read: kernel files, issues, documents.
    pub source: Vec<String>,
}

/// How bad it is when a rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Worth knowing.
    Info,
    /// Works, with a risk.
    Warn,
    /// Works, slower or less.
    Degrade,
    /// Will be refused, or would do nothing.
    Deny,
}

/// The tier that is better than one that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LosesTo {
    /// tc.
    Tc,
}

/// The ability that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// A program in the driver.
    #[serde(rename = "xdp.native")]
    XdpNative,
    /// Programs of several buffers a packet.
    #[serde(rename = "xdp.frags")]
    XdpFrags,
    /// Redirecting from this device.
    #[serde(rename = "xdp.redirect_from")]
    RedirectFrom,
    /// Being redirected to.
    #[serde(rename = "xdp.redirect_target")]
    RedirectTarget,
    /// A program in the stack.
    #[serde(rename = "xdp.generic")]
    XdpGeneric,
    /// AF_XDP without a copy.
    #[serde(rename = "af_xdp.zero_copy")]
    ZeroCopy,
    /// AF_XDP with a copy.
    #[serde(rename = "af_xdp.copy")]
    Copy,
    /// A program in the NIC.
    #[serde(rename = "hw.ebpf")]
    HwEbpf,
    /// Rules in an embedded switch.
    #[serde(rename = "hw.switch")]
    HwSwitch,
    /// tc flower rules in the NIC.
    #[serde(rename = "hw.flower")]
    HwFlower,
    /// Rules of the receive classifier.
    #[serde(rename = "hw.ntuple")]
    HwNtuple,
    /// Programs at tc.
    #[serde(rename = "tc")]
    Tc,
}

/// How an operator makes a rule not fire.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fix {
    /// The command; none = only the note helps.
    #[serde(default)]
    pub cmd: Template,
    /// The command that takes it back.
    #[serde(default)]
    pub undo: Template,
    /// What it does to traffic.
    pub disruption: Disruption,
    /// What else is to be done or known.
    #[serde(default)]
    pub note: Template,
    /// What the facts are afterwards.
    #[serde(default)]
    pub sets: Vec<Assignment>,
}

/// What a step does to the traffic of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disruption {
    /// Nothing.
    None,
    /// Packets are lost for a moment.
    TrafficPause,
    /// The link goes down and comes up.
    LinkFlap,
    /// The machine, or the VM, starts anew.
    Reboot,
}

impl Disruption {
    /// The name in files, reports and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::TrafficPause => "traffic_pause",
            Self::LinkFlap => "link_flap",
            Self::Reboot => "reboot",
        }
    }
}

/// What a rule says of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All conditions hold.
    Fires,
    /// One does not.
    Silent,
    /// It depends on these facts, which are not known.
    Unknown(Vec<String>),
}

impl Rule {
    /// Checks it on the facts of an interface.
    pub fn check(&self, facts: Lookup<'_>) -> Outcome {
        let mut unknown = Vec::new();
        for predicate in &self.when {
            match predicate.holds(facts) {
                Ok(true) => {}
                Ok(false) => return Outcome::Silent,
                Err(keys) => unknown.extend(keys),
            }
        }
        match unknown.is_empty() {
            true => Outcome::Fires,
            false => Outcome::Unknown(unknown),
        }
    }

    /// Whether it is about an ability.
    pub fn is_about(&self, target: Target) -> bool {
        self.target.contains(&target)
    }
}
