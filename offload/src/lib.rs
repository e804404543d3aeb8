//! Where each piece of work runs on this host, and why not higher.
//!
//! [`plan`] is pure: capabilities and wishes in, placements out. [`probe`] asks
//! this machine. Nothing here attaches anything.

mod capabilities;
mod drivers;
mod native;
mod plan;
pub mod probe;
#[cfg(test)]
mod tests;
mod words;

pub use capabilities::{Capabilities, Interface, KernelVersion};
pub use drivers::{Driver, driver};
pub use plan::{Blocker, Placement, Plan, Refusal, plan};
pub use words::{Role, Task, Tier, Wish, Wishes};
