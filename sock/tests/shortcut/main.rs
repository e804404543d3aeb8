//! The same-host shortcut under real programs, in namespaces and cgroups.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod closing;
mod guards;
mod life;
mod payload;
mod policy;
mod programs;
mod scope;
mod stage;
mod switch;
