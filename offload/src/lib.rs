//! Where each piece of work runs on this host, and why not higher.
//!
//! [`plan`] is pure: capabilities and wishes in, placements out. [`probe`] asks
//! this machine; what it learns are [`facts`], and [`verdict`] is what they mean
//! for each tier.

pub mod ask;
mod capabilities;
pub mod decode;
mod drivers;
pub mod facts;
pub mod judge;
mod native;
mod plan;
pub mod probe;
pub mod report;
mod subject;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod wire;
mod words;

pub use capabilities::{Capabilities, Interface, KernelVersion};
pub use drivers::{Driver, driver};
pub use plan::{Blocker, Placement, Plan, Refusal, plan};
pub use subject::{Machine, Needs};
pub use terrace_nic_profiles::Profiles;
pub use words::{Role, Task, Tier, Wish, Wishes};
