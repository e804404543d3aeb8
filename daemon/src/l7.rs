//! The L7 tier's userspace: the l7 port, and workers that hold, decide and
//! splice HTTP connections.
//!
//! A worker is a plain thread with an AF_XDP socket on one queue of the port.
//! Between two looks at its ring it makes no system call but the wake-ups of
//! rings, takes no lock and allocates nothing: rules are swapped whole, splices
//! and heartbeats are memory that it shares with the BPF programs.

mod clock;
pub mod host;
pub mod inlet;
mod mailbox;
mod orphans;
pub mod port;
pub mod requests;
pub mod rules;
pub mod rung;
pub mod services;
pub mod sources;
pub mod stats;
pub mod tier;
pub mod uplink;
mod wait;
pub mod worker;

pub use stats::Stats;
pub use uplink::UplinkSockets;
pub use wait::Wait;
