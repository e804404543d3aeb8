//! Terrace's socket programs and their loader.
//!
//! They hang on a cgroup, so they see what the processes of this host ask the
//! kernel for before a packet exists. Their links are pinned under
//! `<root>/links`, so that they outlive the daemon, and a new one puts its
//! programs in their place at once.

mod cgroup;
pub mod connect;
mod error;
pub mod explain;
pub mod links;
pub mod netns;
mod objects;
pub mod proxy;
pub mod records;
pub mod shortcut;
pub mod sockets;
pub mod workloads;

pub use cgroup::{Cgroup, cgroup_id};
pub use error::Error;
pub use links::Attachment;
pub use objects::Own;
