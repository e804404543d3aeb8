//! The clsact qdisc: for kernels without TCX. A filter belongs to its
//! interface, so it outlives the daemon by itself; nothing is pinned but a
//! mark that the qdisc is of Terrace's making.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use libbpf_rs::{TC_EGRESS, TC_INGRESS, TcHook};
use terrace_abi::{Program, messages, pins, sys};

use crate::{Attachment, Direction, Error, Kind, PREFIX, program_name};

/// First of all filters.
const PRIORITY: u32 = 1;
/// Where among the filters of that priority.
const HANDLE: u32 = 0x7e44;
/// End of the name of the mark.
const MARK: &str = "-tc-clsact";

pub(crate) fn attach(
    root: &Path,
    iface: &str,
    ifindex: u32,
    direction: Direction,
    program: &Program,
) -> Result<Attachment, Error> {
    let before = self::program(ifindex, direction);
    if let Some(id) = before
        && let Some(program) = program_name(id).filter(|name| !name.starts_with(PREFIX))
    {
        return Err(Error::Foreign {
            iface: iface.to_owned(),
            direction,
            program,
            id,
        });
    }
    let attach_error = |reason, source| Error::Attach {
        iface: iface.to_owned(),
        direction,
        kind: Kind::Clsact,
        reason,
        source,
    };
    make_qdisc(root, iface, ifindex, program)?;
    let mut hook = hook(program.as_fd(), ifindex, direction);
    let (result, log) = messages::capture(|| hook.replace(before.is_some()).attach());
    let reason = messages::extack(&log).unwrap_or_default();
    result.map_err(|error| attach_error(reason, into_io(&error)))?;
    Ok(Attachment {
        iface: iface.to_owned(),
        ifindex,
        direction,
        kind: Kind::Clsact,
        program_id: program.info().id,
        taken_over: before.is_some(),
    })
}

/// Makes the qdisc unless it is there, and leaves a mark that it is Terrace's.
pub(crate) fn make_qdisc(
    root: &Path,
    iface: &str,
    ifindex: u32,
    program: &Program,
) -> Result<(), Error> {
    let failed = |source| Error::Attach {
        iface: iface.to_owned(),
        direction: Direction::Ingress,
        kind: Kind::Clsact,
        reason: "make the qdisc".to_owned(),
        source,
    };
    if sys::create_clsact(ifindex).map_err(failed)? {
        let mark = mark(root, iface);
        pins::remove(&mark)?;
        sys::pin(program.as_fd(), &mark).map_err(failed)?;
    }
    Ok(())
}

/// Number of the program in the place of Terrace's filter.
pub(crate) fn program(ifindex: u32, direction: Direction) -> Option<u32> {
    let stdin = std::io::stdin();
    // The descriptor takes no part in a query.
    let mut hook = hook(stdin.as_fd(), ifindex, direction);
    let (id, _) = messages::capture(|| hook.query());
    id.ok().filter(|&id| id != 0)
}

/// Removes Terrace's filter; none there is no error.
pub(crate) fn detach(iface: &str, ifindex: u32, direction: Direction) -> Result<(), Error> {
    let Some(id) = program(ifindex, direction) else {
        return Ok(());
    };
    if !crate::is_ours(id) {
        return Ok(());
    }
    let stdin = std::io::stdin();
    let mut hook = hook(stdin.as_fd(), ifindex, direction);
    let (result, _) = messages::capture(|| hook.detach());
    result.map_err(|error| Error::Detach {
        iface: iface.to_owned(),
        direction,
        source: into_io(&error),
    })
}

/// Removes the qdisc if Terrace made it and has no filter there any more.
pub(crate) fn remove_qdisc(root: &Path, iface: &str, ifindex: u32) -> Result<(), Error> {
    let mark = mark(root, iface);
    let in_use = Direction::ALL
        .iter()
        .any(|&direction| program(ifindex, direction).is_some());
    if in_use || !mark.exists() {
        return Ok(());
    }
    let (result, _) = messages::capture(|| sys::destroy_clsact(ifindex));
    match result {
        // The interface is gone, or somebody else removed the qdisc.
        Err(source) if source.kind() != io::ErrorKind::NotFound && !is_invalid(&source) => {
            let direction = Direction::Ingress;
            Err(Error::Detach {
                iface: iface.to_owned(),
                direction,
                source,
            })
        }
        _ => Ok(pins::remove(&mark)?),
    }
}

/// Removes what is left of qdiscs that Terrace made: without filters, or of
/// interfaces that are gone.
pub(crate) fn remove_marks(root: &Path) -> Result<(), Error> {
    let interfaces = sys::interfaces().map_err(|source| Error::Ask {
        what: "the interfaces".to_owned(),
        source,
    })?;
    let pinned = pins::list_folder(&root.join("links"))?;
    for (ifindex, iface) in interfaces {
        if pinned.contains(&mark(root, &iface)) {
            remove_qdisc(root, &iface, ifindex)?;
        }
    }
    for path in pins::list_folder(&root.join("links"))? {
        if path.to_string_lossy().ends_with(MARK) {
            pins::remove(&path)?;
        }
    }
    Ok(())
}

fn is_invalid(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

fn hook(program: BorrowedFd<'_>, ifindex: u32, direction: Direction) -> TcHook {
    let mut hook = TcHook::new(program);
    let point = match direction {
        Direction::Ingress => TC_INGRESS,
        Direction::Egress => TC_EGRESS,
    };
    hook.ifindex(ifindex as i32)
        .attach_point(point)
        .priority(PRIORITY)
        .handle(HANDLE);
    hook
}

fn mark(root: &Path, iface: &str) -> PathBuf {
    root.join("links")
        .join(format!("{}{MARK}", pins::escape(iface)))
}

fn into_io(error: &libbpf_rs::Error) -> io::Error {
    io::Error::other(format!("{error:#}"))
}
