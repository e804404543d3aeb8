//! `terrace run`: the daemon.

mod carrier;
pub mod change;
mod daemon;
pub mod events;
pub mod facts;
pub mod hardware;
pub mod hooks;
mod host;
pub mod interfaces;
pub mod l7;
mod moves;
pub mod neighbours;
mod news;
mod only;
mod owners;
pub mod placement;
pub mod pulse;
mod report;
pub mod ring;
pub mod shared;
pub mod shortcut;
mod signals;
pub mod sockets;
mod start;
mod targets;
pub mod watch;

pub use change::Refused;
pub use start::{Planning, profiles, run};
pub use targets::{health_targets, withheld};
