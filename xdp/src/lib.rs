//! Terrace's XDP programs and their loader.
//!
//! A root program is attached to each interface once, through netlink with the
//! mode named, and is pinned under `<root>/progs`, so that a restarted daemon
//! knows it for its own. It calls what is in the pinned map `xdp_programs`:
//! exchanging that entry changes the program everywhere at once, and no driver
//! ever resets its rings for it. An empty entry passes every packet to tc.

mod attach;
mod error;
pub mod nic;
pub mod port;
mod programs;
#[cfg(test)]
mod tests;
pub mod xsk;

use std::fmt;
use std::path::Path;

use terrace_abi::sys;

pub use error::Error;
pub use programs::{DryRun, XdpPrograms, uninstall};

/// Where XDP runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack, on any device; slower than tc for most work.
    Generic,
}

impl Mode {
    fn of_name(name: &str) -> Option<Self> {
        match name {
            "native" => Some(Self::Native),
            "generic" => Some(Self::Generic),
            _ => None,
        }
    }
}

impl From<Mode> for sys::XdpMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Native => Self::Native,
            Mode::Generic => Self::Generic,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// A root program of Terrace on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The interface.
    pub iface: String,
    /// Its index.
    pub ifindex: u32,
    /// Where it runs.
    pub mode: Mode,
    /// The kernel's number of the root program.
    pub program_id: u32,
    /// It was there already, of an earlier daemon.
    pub taken_over: bool,
}

/// Every XDP program of Terrace on the interfaces of this network namespace.
pub fn list() -> Result<Vec<Attachment>, Error> {
    let interfaces = sys::interfaces().map_err(|source| Error::Ask {
        what: "the interfaces".to_owned(),
        source,
    })?;
    let mut found = Vec::new();
    for (ifindex, iface) in interfaces {
        found.extend(attach::ours(&iface, ifindex)?);
    }
    Ok(found)
}

/// Terrace's programs on one interface; somebody else's don't count.
pub fn attached(iface: &str, ifindex: u32) -> Result<Vec<Attachment>, Error> {
    attach::ours(iface, ifindex)
}

/// Takes Terrace's program off one interface; none there, or somebody else's,
/// is no error.
pub fn detach(iface: &str, ifindex: u32) -> Result<(), Error> {
    attach::ours(iface, ifindex)?
        .iter()
        .try_for_each(attach::detach)
}

/// Takes all of Terrace's XDP programs off, wherever they are in this network
/// namespace, and removes the pinned root program.
pub fn detach_all(root: &Path) -> Result<(), Error> {
    list()?.iter().try_for_each(attach::detach)?;
    Ok(terrace_abi::pins::remove(&programs::root_pin(root))?)
}
