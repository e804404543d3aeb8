//! The programs that userspace runs on the tables, and grace periods.

use std::os::fd::{AsFd as _, AsRawFd as _};

use libbpf_rs::{MapCore as _, MapFlags, MapHandle, MapType};

use super::Maps;
use crate::error::io;
use crate::object::{Program, run_syscall};
use crate::{Error, Plain as _, sys, types};

/// What became of a packet in [`Maps::run_packet`].
#[derive(Debug, Clone)]
pub struct PacketRun {
    /// The XDP or tc action.
    pub action: u32,
    /// The packet afterwards.
    pub packet: Vec<u8>,
    /// What a dry run found out; zeroes for other programs.
    pub trace: types::trace,
}

impl Maps {
    /// Says that the daemon lives. Returns the time in jiffies.
    pub fn beat(&self) -> Result<u32, Error> {
        run_syscall(self.program("beat")?, &mut [])
    }

    /// The time base of the tables, in jiffies.
    pub fn clock(&self) -> Result<u32, Error> {
        run_syscall(self.program("clock")?, &mut [])
    }

    /// Looks at `n_buckets` buckets of the connection table from `cursor` on
    /// and frees what has timed out. The result's `cursor` is the next one.
    pub fn sweep(&self, cursor: u32, n_buckets: u32) -> Result<types::sweep, Error> {
        let args = types::sweep {
            cursor,
            n_buckets,
            ..Default::default()
        };
        let mut bytes = args.as_bytes().to_vec();
        run_syscall(self.program("sweep")?, &mut bytes)?;
        Ok(types::sweep::from_bytes(&bytes).expect("the program keeps the length"))
    }

    /// Counts what a NIC did for a flow as the host's own, and keeps the flow alive.
    /// False = it is gone, or another one has its key.
    pub fn credit(&self, credit: &types::credit) -> Result<bool, Error> {
        let mut bytes = credit.as_bytes().to_vec();
        run_syscall(self.program("credit")?, &mut bytes)?;
        let done = types::credit::from_bytes(&bytes).expect("the program keeps the length");
        Ok(done.found != 0)
    }

    /// Waits until every program that ran when this was called has ended: what
    /// was taken out of a table before is seen by nobody afterwards.
    ///
    /// The kernel waits for a grace period of RCU after each update of a map of
    /// maps (`maybe_wait_bpf_programs`), so a private one is updated.
    pub fn grace(&self) -> Result<(), Error> {
        let inner = self.grace_inner.as_fd().as_raw_fd() as u32;
        self.grace
            .update(&0u32.to_ne_bytes(), &inner.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| Error::Write {
                table: "grace",
                source: io(error),
            })
    }

    /// Runs a packet program on one packet. `context` is its `struct xdp_md` or
    /// `struct __sk_buff`. The trace is filled in by programs that were loaded
    /// for a dry run; runs of this process take turns.
    pub fn run_packet(
        &self,
        program: &Program,
        packet: &[u8],
        context: &[u8],
    ) -> Result<PacketRun, Error> {
        let _turn = self
            .dry_run
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        self.set("traces", 0, &types::trace::default())?;
        let output =
            sys::test_run(program.as_fd(), packet, Some(context), 1).map_err(|source| {
                Error::Run {
                    program: program.name().to_owned(),
                    source,
                }
            })?;
        let trace = self.get("traces", 0)?;
        Ok(PacketRun {
            action: output.action,
            packet: output.packet,
            trace,
        })
    }

    /// The programs that run on the tables, for their sizes.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    fn program(&self, name: &str) -> Result<&Program, Error> {
        self.programs
            .iter()
            .find(|program| program.name() == name)
            .ok_or_else(|| Error::Missing {
                object: "tables",
                kind: "program",
                name: name.to_owned(),
            })
    }
}

/// A map of maps of one entry that no program has, and its only inner map.
pub(super) fn grace_map() -> Result<(MapHandle, MapHandle), Error> {
    let mut opts = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
        ..Default::default()
    };
    let inner = MapHandle::create(MapType::Array, Some("grace_inner"), 4, 8, 1, &opts);
    let inner = inner.map_err(|error| Error::Write {
        table: "grace",
        source: io(error),
    })?;
    opts.inner_map_fd = inner.as_fd().as_raw_fd() as u32;
    let outer = MapHandle::create(MapType::ArrayOfMaps, Some("grace"), 4, 4, 1, &opts);
    let outer = outer.map_err(|error| Error::Write {
        table: "grace",
        source: io(error),
    })?;
    Ok((outer, inner))
}
