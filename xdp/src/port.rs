//! The program on the far end of the l7 port, which gives packets to workers.

use std::os::fd::{AsFd as _, RawFd};

use libbpf_rs::{MapCore as _, MapFlags, MapHandle};
use terrace_abi::{Maps, OwnMap, Program};

use crate::{Error, Mode, attach};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/port.bpf.o"));
const PROGRAM: &str = "terrace_xdp_port";
const SOCKETS: OwnMap = OwnMap {
    name: "l7_sockets",
    entries: 0,
    value_size: 4,
};
/// Queues that a port can have: entries of `l7_sockets`.
pub const MAX_QUEUES: u32 = 64;

/// The loaded program and its sockets.
#[derive(Debug)]
pub struct PortProgram {
    program: Program,
    sockets: MapHandle,
}

impl PortProgram {
    /// Loads the program; attaches nothing.
    pub fn load(maps: &Maps) -> Result<Self, Error> {
        let loaded = terrace_abi::load_with("port", OBJECT, maps, &[], &[SOCKETS])?;
        let missing = |kind, name: &str| terrace_abi::Error::Missing {
            object: "port",
            kind,
            name: name.to_owned(),
        };
        let mut programs = loaded.programs.into_iter();
        let program = programs.find(|program| program.name() == PROGRAM);
        let mut own = loaded.maps;
        Ok(Self {
            program: program.ok_or_else(|| missing("program", PROGRAM))?,
            sockets: own
                .remove(SOCKETS.name)
                .ok_or_else(|| missing("map", SOCKETS.name))?,
        })
    }

    /// Puts the program on an interface, in the place of an earlier one.
    pub fn attach(&self, iface: &str, ifindex: u32) -> Result<(), Error> {
        let id = self.program.info().id;
        attach::attach(iface, ifindex, self.program.as_fd(), id, Mode::Native).map(drop)
    }

    /// Packets of a queue go to a socket from now on; the kernel takes it out
    /// when the socket closes.
    pub fn give(&self, queue: u32, socket: RawFd) -> Result<(), Error> {
        let socket = (socket as u32).to_ne_bytes();
        self.sockets
            .update(&queue.to_ne_bytes(), &socket, MapFlags::ANY)
            .map_err(|source| Error::Install { source })
    }
}
