//! TCX links: pinned, so that they outlive the daemon, and updated in place.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use terrace_abi::{Program, pins, sys};

use crate::{Attachment, Direction, Error, Kind};

/// Whether the kernel has TCX: without it the question itself is invalid.
pub(crate) fn is_supported(ifindex: u32) -> bool {
    sys::tcx_query(ifindex, sys::TcxPoint::Ingress).is_ok()
}

/// Numbers of all programs on a TCX hook; none without TCX.
pub(crate) fn programs(ifindex: u32, direction: Direction) -> Vec<u32> {
    sys::tcx_query(ifindex, direction.point()).unwrap_or_default()
}

pub(crate) fn attach(
    root: &Path,
    iface: &str,
    ifindex: u32,
    direction: Direction,
    program: &Program,
) -> Result<Attachment, Error> {
    let attach_error = |source| Error::Attach {
        iface: iface.to_owned(),
        direction,
        kind: Kind::Tcx,
        reason: String::new(),
        source,
    };
    let existing = pinned(root)?
        .into_iter()
        .find(|pin| pin.info.ifindex == ifindex && pin.info.point == direction.point());
    let taken_over = existing.is_some();
    match existing {
        Some(pin) => sys::link_update(pin.link.as_fd(), program.as_fd()).map_err(attach_error)?,
        None => {
            let path = pin_path(root, iface, direction);
            // Of an interface of this name that is gone.
            pins::remove(&path)?;
            let link = sys::tcx_attach(program.as_fd(), ifindex, direction.point())
                .map_err(attach_error)?;
            sys::pin(link.as_fd(), &path).map_err(attach_error)?;
        }
    }
    Ok(Attachment {
        iface: iface.to_owned(),
        ifindex,
        direction,
        kind: Kind::Tcx,
        program_id: program.info().id,
        taken_over,
    })
}

pub(crate) fn detach(
    root: &Path,
    iface: &str,
    ifindex: u32,
    direction: Direction,
) -> Result<(), Error> {
    let named = pin_path(root, iface, direction);
    for pin in pinned(root)? {
        let gone = pin.info.ifindex == 0 && pin.path == named;
        if gone || (pin.info.ifindex == ifindex && pin.info.point == direction.point()) {
            remove(&pin, iface, direction)?;
        }
    }
    Ok(())
}

/// Removes every pinned link, also of interfaces that are gone.
pub(crate) fn remove_pins(root: &Path) -> Result<(), Error> {
    for pin in pinned(root)? {
        let direction = match pin.info.point {
            sys::TcxPoint::Ingress => Direction::Ingress,
            sys::TcxPoint::Egress => Direction::Egress,
        };
        remove(&pin, &pin.path.display().to_string(), direction)?;
    }
    Ok(())
}

fn remove(pin: &Pin, iface: &str, direction: Direction) -> Result<(), Error> {
    match sys::link_detach(pin.link.as_fd()) {
        // Its interface is gone, and the link with it.
        Err(source) if !is_dead(&source) => {
            return Err(Error::Detach {
                iface: iface.to_owned(),
                direction,
                source,
            });
        }
        _ => {}
    }
    Ok(pins::remove(&pin.path)?)
}

fn is_dead(error: &io::Error) -> bool {
    const ENOLINK: i32 = 67;
    const ENODEV: i32 = 19;
    const ENOENT: i32 = 2;
    error
        .raw_os_error()
        .is_some_and(|errno| [ENOLINK, ENODEV, ENOENT].contains(&errno))
}

struct Pin {
    path: PathBuf,
    link: OwnedFd,
    info: sys::LinkInfo,
}

/// All pinned TCX links of a root.
fn pinned(root: &Path) -> Result<Vec<Pin>, Error> {
    let ask = |path: &Path, source| Error::Ask {
        what: path.display().to_string(),
        source,
    };
    let mut found = Vec::new();
    for path in pins::list_folder(&root.join("links"))? {
        let link = sys::open_pin(&path).map_err(|source| ask(&path, source))?;
        // Other things are pinned there too, and are no links.
        if let Ok(Some(info)) = sys::link_info(link.as_fd()) {
            found.push(Pin { path, link, info });
        }
    }
    Ok(found)
}

fn pin_path(root: &Path, iface: &str, direction: Direction) -> PathBuf {
    root.join("links")
        .join(format!("{}-tc-{direction}", pins::escape(iface)))
}
