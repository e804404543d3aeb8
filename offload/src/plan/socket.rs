//! The tasks of the socket layer: one placement each for the whole host. They are
//! done where processes ask for connections; without them packets are served in tc
//! as if they were not there.

use super::block::blocker;
use super::{Blocker, Placement, Refusal};
use crate::facts::Confidence;
use crate::{Task, Tier};

/// Where a placement of the socket layer is: on no interface.
pub const HOST: &str = "host";

/// What is known of one task of the socket layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketTask {
    /// `connect` or `shortcut`.
    pub task: Task,
    /// Whether a start fails without it.
    pub required: bool,
    /// What became of it.
    pub state: SocketState,
}

/// What became of one task of the socket layer; all words are for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketState {
    /// Nobody asks for it, or it was switched off.
    Off {
        /// What to write.
        fix: String,
    },
    /// Asked for; a start tries it.
    Untried {
        /// How.
        how: String,
    },
    /// It is there.
    Armed {
        /// What it does, or what made it possible.
        reason: String,
    },
    /// This host does not let it.
    Refused {
        /// What is in the way.
        why: String,
        /// What the operator can do about it.
        fix: String,
    },
}

/// Places the tasks of the socket layer.
pub fn place_sockets(tasks: &[SocketTask]) -> Vec<Result<Placement, Refusal>> {
    tasks.iter().map(place).collect()
}

fn place(task: &SocketTask) -> Result<Placement, Refusal> {
    match &task.state {
        SocketState::Armed { reason } => Ok(on_sockets(task, reason, Confidence::Verified)),
        SocketState::Untried { how } => Ok(on_sockets(task, how, Confidence::Unknown)),
        SocketState::Off { fix } => {
            let why = "nobody asks for it".to_owned();
            Ok(in_tc(task, blocker(Tier::Socket, why, fix, true)))
        }
        SocketState::Refused { why, fix } if task.required => Err(Refusal {
            task: task.task,
            iface: HOST.to_owned(),
            tier: Tier::Socket,
            why: why.clone(),
            fix: fix.clone(),
        }),
        SocketState::Refused { why, fix } => {
            Ok(in_tc(task, blocker(Tier::Socket, why.clone(), fix, false)))
        }
    }
}

fn on_sockets(task: &SocketTask, reason: &str, confidence: Confidence) -> Placement {
    Placement {
        task: task.task,
        iface: HOST.to_owned(),
        tier: Tier::Socket,
        reason: reason.to_owned(),
        confidence,
        blockers: Vec::new(),
        front: None,
    }
}

fn in_tc(task: &SocketTask, blocker: Blocker) -> Placement {
    let reason = match task.task {
        Task::Shortcut => "payload within the host takes the stack, past the programs of tc",
        _ => "service addresses are translated packet by packet",
    };
    Placement {
        tier: Tier::Tc,
        blockers: vec![blocker],
        ..on_sockets(task, reason, Confidence::Verified)
    }
}
