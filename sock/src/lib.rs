//! Terrace's socket programs and their loader.
//!
//! They hang on a cgroup, so they see what the processes of this host ask the
//! kernel for before a packet exists. Their links are pinned under
//! `<root>/links`, so that they outlive the daemon, and a new one puts its
//! programs in their place at once.

pub mod connect;
pub mod shortcut;
