//! Rules and verdicts, row by row.

#![allow(clippy::unwrap_used, reason = "tests")]

mod case;
mod fixtures;
mod plans;
mod rules;
mod sockets;
mod tiers;
