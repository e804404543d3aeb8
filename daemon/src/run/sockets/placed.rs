//! The socket layer's tasks, as the planner shows them.

use terrace_offload::Plan;
use terrace_offload::Task;
use terrace_offload::plan::{SocketState, SocketTask, place_sockets};
use terrace_sock::Cgroup;

use crate::config::{Config, ShortcutMode};
use crate::run::shared::Shared;

/// With what became of them at this daemon's start.
pub fn add_armed(plan: &mut Plan, shared: &Shared) {
    let connect = shared.socket_state.get().cloned();
    let shortcut = shared.shortcut.get().map(|state| match &state.armed {
        Some(armed) if armed.is_enabled().is_ok_and(|on| !on) => SocketState::Off {
            fix: "`terrace shortcut on`, or `terrace move shortcut host socket`".to_owned(),
        },
        Some(_) => SocketState::Armed {
            reason: state.reason.clone(),
        },
        None => SocketState::Refused {
            why: state.reason.clone(),
            fix: SHORTCUT_FIX.to_owned(),
        },
    });
    add(plan, &shared.config, connect, shortcut);
}

/// With what a start would try.
pub fn add_wanted(plan: &mut Plan, config: &Config) {
    add(plan, config, None, None);
}

const SHORTCUT_FIX: &str = "`terrace shortcut` shows the self-test check by check";

fn add(
    plan: &mut Plan,
    config: &Config,
    connect: Option<SocketState>,
    shortcut: Option<SocketState>,
) {
    let tasks = [
        SocketTask {
            task: Task::Connect,
            required: config.socket.require,
            state: match config.socket.is_on() {
                true => connect.unwrap_or_else(|| untried(CONNECT_HOW, config)),
                false => off("[socket] services = true, or proxy = true"),
            },
        },
        SocketTask {
            task: Task::Shortcut,
            required: config.shortcut.mode == ShortcutMode::Require,
            state: match config.shortcut.is_wanted() {
                true => shortcut.unwrap_or_else(|| untried(SHORTCUT_HOW, config)),
                false => off("[shortcut] cgroups = [...] names who may take part"),
            },
        },
    ];
    for placed in place_sockets(&tasks) {
        match placed {
            Ok(placement) => plan.placements.push(placement),
            Err(refusal) => plan.refusals.push(refusal),
        }
    }
}

const CONNECT_HOW: &str = "programs on the cgroup; a start tries it";
const SHORTCUT_HOW: &str = "if the self-test of the start allows it on this kernel";

fn off(fix: &str) -> SocketState {
    SocketState::Off {
        fix: fix.to_owned(),
    }
}

/// Without a cgroup of version 2 no start gets far.
fn untried(how: &str, config: &Config) -> SocketState {
    let cgroup = match &config.socket.cgroup {
        Some(path) => Cgroup::open(path),
        None => Cgroup::find(),
    };
    match cgroup {
        Ok(_) => SocketState::Untried {
            how: how.to_owned(),
        },
        Err(error) => SocketState::Refused {
            why: error.to_string(),
            fix: "see `[socket] cgroup` in sock/README.md".to_owned(),
        },
    }
}
