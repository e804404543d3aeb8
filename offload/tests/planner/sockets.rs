//! The tasks of the socket layer, row by row.

use terrace_offload::plan::{HOST, SocketState, SocketTask, place_sockets};
use terrace_offload::{Task, Tier};

fn off() -> SocketState {
    SocketState::Off {
        fix: "write it".to_owned(),
    }
}

fn untried() -> SocketState {
    SocketState::Untried {
        how: "a start tries it".to_owned(),
    }
}

fn armed() -> SocketState {
    SocketState::Armed {
        reason: "12 programs".to_owned(),
    }
}

fn refused() -> SocketState {
    SocketState::Refused {
        why: "no cgroup".to_owned(),
        fix: "mount one".to_owned(),
    }
}

#[test]
fn a_task_of_the_socket_layer_is_there_or_says_what_keeps_it_away() {
    // name | state | required | tier, None = the start fails | fallback | words
    let rows = [
        (
            "armed",
            armed(),
            false,
            Some(Tier::Socket),
            false,
            "12 programs",
        ),
        (
            "armed as required",
            armed(),
            true,
            Some(Tier::Socket),
            false,
            "12 programs",
        ),
        (
            "not tried yet",
            untried(),
            true,
            Some(Tier::Socket),
            false,
            "tries it",
        ),
        (
            "not asked for",
            off(),
            false,
            Some(Tier::Tc),
            false,
            "write it",
        ),
        (
            "refused",
            refused(),
            false,
            Some(Tier::Tc),
            true,
            "no cgroup",
        ),
        (
            "refused, what to do",
            refused(),
            false,
            Some(Tier::Tc),
            true,
            "mount one",
        ),
        (
            "required and refused",
            refused(),
            true,
            None,
            false,
            "no cgroup",
        ),
    ];
    for (name, state, required, tier, fallback, words) in rows {
        for task in [Task::Connect, Task::Shortcut] {
            let state = state.clone();
            let asked = SocketTask {
                task,
                required,
                state,
            };
            let placed = place_sockets(&[asked]).remove(0);
            let said = format!("{placed:?}");
            assert!(
                said.contains(words) && said.contains(HOST),
                "{name}: {said}"
            );
            assert_eq!(placed.as_ref().ok().map(|p| p.tier), tier, "{name}: {said}");
            let falls = placed.as_ref().is_ok_and(|p| p.is_fallback());
            assert_eq!(falls, fallback, "{name}: {said}");
            for blocker in placed.iter().flat_map(|p| &p.blockers) {
                assert!(
                    blocker.tier == Tier::Socket && !blocker.fix.is_empty(),
                    "{name}"
                );
            }
        }
    }
}
