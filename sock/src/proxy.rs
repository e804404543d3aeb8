//! The proxy's side of the redirect: SO_ORIGINAL_DST, and what comes in.

use std::path::PathBuf;

use terrace_abi::sys::SocketHook;
use terrace_abi::{Maps, Program};

use crate::netns::Namespace;
use crate::{Attachment, Cgroup, Error, links, objects};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/proxy.bpf.o"));

const HOOKS: [(SocketHook, &str); 2] = [
    (SocketHook::GetSockOpt, "proxy-getsockopt"),
    (SocketHook::SockOps, "proxy-sockops"),
];
/// Pins on network namespaces: this and the namespace's cookie.
const INBOUND: &str = "proxy-inbound-";

/// The loaded programs, ready to be attached.
#[derive(Debug)]
pub struct ProxyPrograms {
    root: PathBuf,
    programs: Vec<Program>,
}

impl ProxyPrograms {
    /// Loads the programs on the maps of the socket tier; attaches nothing.
    pub fn load(maps: &Maps, max_entries: u32) -> Result<Self, Error> {
        let loaded = objects::load("proxy", OBJECT, maps, &[], max_entries)?;
        Ok(Self {
            root: maps.root().into(),
            programs: loaded.programs,
        })
    }

    /// Puts the programs on a cgroup and all below it.
    pub fn attach(&self, cgroup: &Cgroup) -> Result<Vec<Attachment>, Error> {
        let attach = |(hook, name): (SocketHook, &str)| {
            links::attach(&self.root, cgroup, hook, name, self.program(hook))
        };
        HOOKS.into_iter().map(attach).collect()
    }

    /// Gives what comes in from elsewhere to the proxy of this namespace.
    pub fn attach_inbound(&self, namespace: &Namespace, cookie: u64) -> Result<Attachment, Error> {
        let file = namespace.open()?;
        let name = format!("{INBOUND}{cookie:x}");
        let program = self.program(SocketHook::SkLookup);
        links::attach_netns(&self.root, (&file, namespace.inode), &name, program)
    }

    /// The loaded programs, for their sizes.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    fn program(&self, hook: SocketHook) -> &Program {
        let name = format!("terrace_{}", hook.name());
        let mut programs = self.programs.iter();
        let found = programs.find(|program| program.name() == name);
        found.expect("proxy.bpf.c has a program for each of its hooks")
    }
}

/// The cookie of the namespace that a link of this name is on.
pub fn inbound_cookie(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(INBOUND)?, 16).ok()
}

/// Whether a link of this name is one of the proxy's.
pub fn is_ours(name: &str) -> bool {
    name.starts_with("proxy-")
}
