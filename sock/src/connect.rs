//! Service translation at connect(), and the redirect to a proxy.

use std::path::PathBuf;

use terrace_abi::sys::SocketHook;
use terrace_abi::{Maps, Program, types};

use crate::objects::{self, Own};
use crate::{Attachment, Cgroup, Error, links};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/connect.bpf.o"));

/// The hooks of every mode. The first one takes records back: it is there
/// before the others make any.
const CALLS: [SocketHook; 9] = [
    SocketHook::SockRelease,
    SocketHook::Connect4,
    SocketHook::Connect6,
    SocketHook::GetPeerName4,
    SocketHook::GetPeerName6,
    SocketHook::SendMsg4,
    SocketHook::SendMsg6,
    SocketHook::RecvMsg4,
    SocketHook::RecvMsg6,
];
/// Those that only services need.
const BINDS: [SocketHook; 4] = [
    SocketHook::Bind4,
    SocketHook::Bind6,
    SocketHook::PostBind4,
    SocketHook::PostBind6,
];

/// What the programs do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Cookie of the network namespace whose loopback has the node ports.
    pub host_netns: u64,
    /// Translate service addresses.
    pub services: bool,
    /// Redirect workloads to their proxy.
    pub proxy: bool,
    /// Some workload is known by its cgroup.
    pub cgroups: bool,
    /// Entries of each table: of workloads, and of connected sockets.
    pub max_entries: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host_netns: 0,
            services: true,
            proxy: false,
            cgroups: false,
            max_entries: 65_536,
        }
    }
}

/// The loaded programs, ready to be attached.
#[derive(Debug)]
pub struct ConnectPrograms {
    root: PathBuf,
    options: Options,
    programs: Vec<Program>,
    own: Own,
}

impl ConnectPrograms {
    /// Loads the programs on the tables of `maps`; attaches nothing.
    pub fn load(maps: &Maps, options: &Options) -> Result<Self, Error> {
        let constants = [
            ("host_netns", options.host_netns),
            ("with_services", options.services.into()),
            ("with_proxy", options.proxy.into()),
            ("with_cgroups", options.cgroups.into()),
        ];
        let loaded = objects::load("connect", OBJECT, maps, &constants, options.max_entries)?;
        Ok(Self {
            root: maps.root().into(),
            options: *options,
            programs: loaded.programs,
            own: Own::new(loaded.maps),
        })
    }

    /// Puts the programs on a cgroup and all below it. Those of another mode
    /// are taken off.
    pub fn attach(&self, cgroup: &Cgroup) -> Result<Vec<Attachment>, Error> {
        let binds = self.options.services.then_some(BINDS);
        let mut attached = Vec::new();
        for hook in CALLS.into_iter().chain(binds.into_iter().flatten()) {
            let program = self.program(hook);
            let name = hook.name();
            attached.push(links::attach(&self.root, cgroup, hook, name, program)?);
        }
        if !self.options.services {
            for hook in BINDS {
                links::detach(&self.root, hook.name())?;
            }
        }
        Ok(attached)
    }

    /// The loaded programs, for their sizes.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// The maps of the socket tier.
    pub fn own(&self) -> &Own {
        &self.own
    }

    fn program(&self, hook: SocketHook) -> &Program {
        let name = format!("terrace_{}", hook.name());
        let mut programs = self.programs.iter();
        let found = programs.find(|program| program.name() == name);
        found.expect("connect.bpf.c has a program for each of its hooks")
    }
}

/// Names of the links that [`ConnectPrograms::attach`] makes.
pub fn link_names() -> impl Iterator<Item = &'static str> {
    CALLS.into_iter().chain(BINDS).map(SocketHook::name)
}

/// The kernel's cookie of the calling thread's network namespace.
pub use objects::netns_cookie;

/// One socket that was given another address than it asked for.
pub type Peer = types::peer;
