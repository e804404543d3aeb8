//! The same-host shortcut.

use serde::{Deserialize, Serialize};
pub use terrace_sock::shortcut::check::{Check, Verdict};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shortcut {
    /// `auto`, `off` or `require`, as configured.
    pub mode: String,
    /// The programs are armed: connections have a place in the tables.
    pub armed: bool,
    /// New data may take it.
    pub enabled: bool,
    /// Why it is armed, or is not.
    pub reason: String,
    pub cgroups: Vec<String>,
    /// Ports of servers; empty = any.
    pub ports: Vec<u16>,
    /// Failures of the self-test that the configuration accepts.
    pub accepted: Vec<String>,
    /// The self-test of this start; empty when it did not run.
    pub checks: Vec<Check>,
    /// Connections in the tables.
    pub pairs: u64,
    /// Messages since the tables were made, by the reason of their way.
    pub reasons: Vec<ShortcutReason>,
    /// Connections that a policy change gave back to the stack.
    pub split: u64,
    /// Socket options refused to sockets in the tables.
    pub refused: u64,
    /// Connections that found no room.
    pub full: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShortcutReason {
    /// `joined` = from socket to socket; all others took the stack.
    pub reason: String,
    pub text: String,
    pub messages: u64,
    pub bytes: u64,
}

/// The live switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortcutSwitch {
    pub enabled: bool,
}
