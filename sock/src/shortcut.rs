//! The same-host shortcut: payload from socket to socket, past the stack.
//!
//! [`Shortcut::load`] loads the programs on the pinned tables,
//! [`Shortcut::attach`] hangs them on the chosen cgroups. Everything is pinned:
//! pairs live on without the daemon, and the next one takes over.
//! [`check::run`] tries out on this kernel what joined sockets can't do, and
//! [`check::Report::decide`] says whether the shortcut may be used at all.

mod attach;
pub mod check;
mod counters;
mod pairs;
mod settings;
pub mod sizes;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libbpf_rs::MapHandle;
use terrace_abi::{Maps, OwnMap, Plain, Program, sys, types};

use crate::{Cgroup, Error};

pub use attach::Attached;
pub use counters::{Counters, Reason, ReasonCount};
pub use pairs::{Direction, End, Pair};
pub use settings::Settings;

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shortcut.bpf.o"));

/// How often a look at the pairs is taken while they drain.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// The loaded programs and their tables.
#[derive(Debug)]
pub struct Shortcut {
    root: PathBuf,
    hz: u32,
    programs: Vec<Program>,
    maps: OwnMaps,
}

/// What a look at all pairs found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Pairs, of one or two sockets.
    pub pairs: u32,
    /// Sockets with bytes that came by socket and are not read yet.
    pub unread: u32,
    /// Pairs removed whose sockets had gone without a word.
    pub swept: u32,
}

#[derive(Debug)]
struct OwnMaps {
    sockets: MapHandle,
    pairs: MapHandle,
    config: MapHandle,
    ports: MapHandle,
    stats: MapHandle,
    events: MapHandle,
}

impl Shortcut {
    /// Loads the programs; attaches nothing. At most `max_pairs` connections
    /// have a place; those beyond go through the stack.
    pub fn load(maps: &Maps, max_pairs: u32) -> Result<Self, Error> {
        let loaded = terrace_abi::load_with(
            "shortcut",
            OBJECT,
            maps,
            &system_calls(),
            &own_maps(max_pairs),
        )?;
        let mut own = loaded.maps;
        let mut take = |name: &'static str| {
            own.remove(name)
                .expect("load_with() returns every map that it was told of")
        };
        Ok(Self {
            root: maps.root().into(),
            hz: maps.config()?.hz,
            programs: loaded.programs,
            maps: OwnMaps {
                sockets: take("shortcut_sockets"),
                pairs: take("shortcut_pairs"),
                config: take("shortcut_config"),
                ports: take("shortcut_ports"),
                stats: take("shortcut_stats"),
                events: take("shortcut_events"),
            },
        })
    }

    /// Hangs the programs on these cgroups and all below them, and takes them
    /// off others; an earlier daemon's are replaced without a gap.
    pub fn attach(&self, cgroups: &[Cgroup]) -> Result<Vec<Attached>, Error> {
        let message = self.program("terrace_shortcut_message");
        attach::message(message, &self.maps.sockets)?;
        let watch = self.program("terrace_shortcut_watch");
        let mut attached = vec![attach::watch(&self.root, watch)?];
        for cgroup in cgroups {
            for (hook, program) in attach::HOOKS {
                let program = self.program(program);
                attached.push(attach::cgroup(&self.root, cgroup, hook, program)?);
            }
        }
        attach::take_off_others(&self.root, &attached)?;
        Ok(attached)
    }

    /// The loaded programs, for their sizes.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Looks at all pairs; removes those whose sockets are gone.
    pub fn observe(&self) -> Result<Observed, Error> {
        let mut found = types::shortcut_observed::default();
        let mut bytes = found.as_bytes().to_vec();
        let program = self.program("terrace_shortcut_observe");
        sys::test_run_syscall(program_fd(program), &mut bytes).map_err(|source| Error::Ask {
            what: "the pairs of the shortcut".to_owned(),
            source,
        })?;
        found = types::shortcut_observed::from_bytes(&bytes).expect("the size has not changed");
        Ok(Observed {
            pairs: found.pairs,
            unread: found.unread,
            swept: found.swept,
        })
    }

    /// Switches it off and waits until all that went by socket is read.
    pub fn drain(&self, limit: Duration) -> Result<Observed, Error> {
        self.set_enabled(false)?;
        let end = Instant::now() + limit;
        loop {
            let observed = self.observe()?;
            if observed.unread == 0 || Instant::now() >= end {
                return Ok(observed);
            }
            std::thread::sleep(DRAIN_STEP);
        }
    }

    fn program(&self, name: &str) -> &Program {
        let found = self.programs.iter().find(|program| program.name() == name);
        found.expect("shortcut.bpf.c has all five programs")
    }
}

fn program_fd(program: &Program) -> std::os::fd::BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(program)
}

/// Takes everything of the shortcut away. Bytes that a socket has not read yet
/// would be lost with the tables: so new data takes the stack at once, and the
/// tables go when all is read. If a reader takes longer than `limit`, they stay
/// and the error says so; established connections go on in any case.
pub fn detach(root: &Path, limit: Duration) -> Result<(), Error> {
    if attach::is_absent(root)? {
        return Ok(());
    }
    let unread = match Maps::open_existing(root) {
        Ok(maps) => {
            let shortcut = Shortcut::load(&maps, 0)?;
            attach::take_off_others(root, &[])?;
            shortcut.drain(limit)?.unread
        }
        Err(_) => 0,
    };
    attach::take_off_others(root, &[])?;
    if unread > 0 {
        return Err(Error::Unread { sockets: unread });
    }
    attach::remove_maps(root)
}

fn own_maps(max_pairs: u32) -> [OwnMap; 8] {
    let own = |name, value_size, entries| OwnMap {
        name,
        entries,
        value_size,
    };
    let sockets = max_pairs.saturating_mul(2);
    let place = size_of::<types::shortcut_socket_key>();
    [
        own("shortcut_sockets", size_of::<u64>(), sockets),
        own(
            "shortcut_pairs",
            size_of::<types::shortcut_pair>(),
            max_pairs,
        ),
        own("shortcut_places", place, sockets),
        own("shortcut_storage", place, 0),
        own("shortcut_config", size_of::<types::shortcut_config>(), 0),
        own("shortcut_ports", size_of::<u64>(), 0),
        own("shortcut_stats", size_of::<types::shortcut_stats>(), 0),
        own("shortcut_events", size_of::<u64>(), 0),
    ]
}

/// The numbers of system calls that the programs tell apart. On machines that
/// call.h does not know they stay 0, and the self-test sees the difference.
fn system_calls() -> [terrace_abi::Constant; 7] {
    let known = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    let call = |name, number: libc::c_long| (name, if known { number as u64 } else { 0 });
    [
        call("call_splice", libc::SYS_splice),
        call("call_sendto", libc::SYS_sendto),
        call("call_sendmsg", libc::SYS_sendmsg),
        call("call_sendmmsg", libc::SYS_sendmmsg),
        call("call_recvfrom", libc::SYS_recvfrom),
        call("call_recvmsg", libc::SYS_recvmsg),
        call("call_recvmmsg", libc::SYS_recvmmsg),
    ]
}
