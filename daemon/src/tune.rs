//! `terrace tune`: the fixes that would unlock better tiers, applied as one
//! transaction that takes itself back unless it is confirmed in time.
//!
//! A journal has each step with its undo before it is run. A guardian, a process
//! with its own session, waits for the confirmation; it takes everything back when
//! that does not come, or when who applies dies half way.

mod guard;
mod journal;
mod run;
mod steps;

use serde::{Deserialize, Serialize};
use terrace_offload::Tier;
use terrace_offload::verdict::Disruption;

pub use guard::{Said, guard, tell};
pub use journal::{Journal, Place};
pub use run::{apply, command, take_back};
pub use steps::steps;

/// One fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The interface.
    pub iface: String,
    /// The tier that it helps to unlock.
    pub tier: Tier,
    /// The rule that asks for it.
    pub rule: String,
    /// Why.
    pub why: String,
    /// What is run.
    pub cmd: String,
    /// What takes it back.
    pub undo: String,
    /// What it does to running traffic.
    pub disruption: Disruption,
    /// How far it is.
    pub state: StepState,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Not run yet.
    Planned,
    /// Being run, or who ran it died: it may have taken effect.
    Begun,
    /// It took effect.
    Done,
    /// It failed.
    Failed,
    /// It was taken back.
    Undone,
    /// It could not be taken back.
    Stuck,
}

impl StepState {
    /// The word in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Undone => "taken back",
            Self::Stuck => "stuck",
        }
    }
}

/// A fix that is left to the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The interface.
    pub iface: String,
    /// The rule that asks for it.
    pub rule: String,
    /// What is in the way.
    pub why: String,
    /// What would help.
    pub fix: String,
    /// Why it is left.
    pub because: String,
}

/// What `terrace tune` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuned {
    /// `planned`, `applied`, `confirmed`, `taken-back`, `nothing-to-do`.
    pub outcome: String,
    /// Seconds until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within: Option<u64>,
    /// In the order in which they are run.
    pub steps: Vec<Step>,
    /// What is left alone, each with the reason.
    #[serde(default)]
    pub left: Vec<Left>,
}
