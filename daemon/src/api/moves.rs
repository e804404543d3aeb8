//! Moving a task by hand.

use serde::{Deserialize, Serialize};

use super::{Change, Task, Tier};

/// Where an operator wants a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRequest {
    pub task: Task,
    /// An interface, or `host` for the shortcut.
    pub iface: String,
    /// None = where the planner puts it.
    pub tier: Option<Tier>,
}

/// What a move has moved; tasks of one program move together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    pub changes: Vec<Change>,
}
