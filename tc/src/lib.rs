//! Terrace's tc programs and their loader.
//!
//! The programs sit on TCX links, pinned under `<root>/links`, so that they
//! outlive the daemon and a new one puts its programs in their place at once.
//! Kernels without TCX get a clsact filter instead. Loading needs the tables;
//! listing and detaching don't, so that a broken state can always be removed.

mod clsact;
mod error;
mod programs;
mod tcx;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use terrace_abi::sys;

pub use error::Error;
pub use programs::{DryRun, Options, TcPrograms, Via};

/// What an interface is to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Towards the network.
    Uplink,
    /// The host's side of a workload.
    Workload,
}

/// Which packets of an interface a program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Those that the interface receives; from the workload for a workload's.
    Ingress,
    /// Those that it sends.
    Egress,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    fn point(self) -> sys::TcxPoint {
        match self {
            Self::Ingress => sys::TcxPoint::Ingress,
            Self::Egress => sys::TcxPoint::Egress,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// By a TCX link (Linux 6.6).
    Tcx,
    /// By a filter of the clsact qdisc.
    Clsact,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// A program of Terrace on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The interface.
    pub iface: String,
    /// Its index.
    pub ifindex: u32,
    /// Which side of it.
    pub direction: Direction,
    /// How.
    pub kind: Kind,
    /// The kernel's number of the program.
    pub program_id: u32,
    /// A program of an earlier daemon was replaced without a gap.
    pub taken_over: bool,
}

/// The programs' common name; the kernel keeps 15 bytes of the rest.
const PREFIX: &str = "terrace_tc_";

/// Every tc program of Terrace on the interfaces of this network namespace.
pub fn list() -> Result<Vec<Attachment>, Error> {
    let interfaces = sys::interfaces().map_err(|source| Error::Ask {
        what: "the interfaces".to_owned(),
        source,
    })?;
    let mut found = Vec::new();
    for (ifindex, iface) in interfaces {
        for direction in Direction::ALL {
            let tcx = tcx::programs(ifindex, direction)
                .into_iter()
                .map(|id| (id, Kind::Tcx));
            let clsact = clsact::program(ifindex, direction).map(|id| (id, Kind::Clsact));
            let ours = tcx.chain(clsact).filter(|(id, _)| is_ours(*id));
            found.extend(ours.map(|(program_id, kind)| Attachment {
                iface: iface.clone(),
                ifindex,
                direction,
                kind,
                program_id,
                taken_over: false,
            }));
        }
    }
    Ok(found)
}

/// Takes Terrace's tc programs off one interface; nothing there is no error.
pub fn detach(root: &Path, iface: &str, ifindex: u32) -> Result<(), Error> {
    for direction in Direction::ALL {
        tcx::detach(root, iface, ifindex, direction)?;
        clsact::detach(iface, ifindex, direction)?;
    }
    clsact::remove_qdisc(root, iface, ifindex)
}

/// Removes the clsact qdisc of an interface if Terrace made it and has no program
/// there; who else has filters in it loses them.
pub fn remove_qdisc(root: &Path, iface: &str, ifindex: u32) -> Result<(), Error> {
    clsact::remove_qdisc(root, iface, ifindex)
}

/// Takes all of Terrace's tc programs off, wherever they are in this network
/// namespace, and removes their pins. What [`list`] still finds afterwards is
/// held by another pin root or process.
pub fn detach_all(root: &Path) -> Result<(), Error> {
    for attachment in list()? {
        detach(root, &attachment.iface, attachment.ifindex)?;
    }
    tcx::remove_pins(root)?;
    clsact::remove_marks(root)
}

/// Name of a loaded program, if it still is there.
fn program_name(id: u32) -> Option<String> {
    let program = sys::program_by_id(id).ok()?;
    Some(
        sys::program_info(std::os::fd::AsFd::as_fd(&program))
            .ok()?
            .name,
    )
}

fn is_ours(id: u32) -> bool {
    program_name(id).is_some_and(|name| name.starts_with(PREFIX))
}
