//! Where each piece of work runs on this host, and why not higher.
//!
//! [`plan`] is pure: capabilities and wishes in, placements out. [`probe`] asks
//! this machine; what it learns are [`facts`], and [`verdict`] is what they mean
//! for each tier.

pub mod ask;
pub mod classifier;
pub mod damper;
pub mod decode;
pub mod facts;
pub mod flower;
pub mod judge;
mod kernel;
pub mod plan;
pub mod probe;
pub mod promote;
pub mod report;
pub mod rules;
mod subject;
pub mod verdict;
pub mod wire;
mod words;

pub use kernel::KernelVersion;
pub use plan::{Blocker, Demand, Placement, Plan, Policy, Refusal, plan};
pub use subject::{Machine, Needs};
pub use terrace_nic_profiles::Profiles;
pub use words::{Role, Task, Tier, Wish, Wishes};
