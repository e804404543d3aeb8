//! Links of the shortcut: pinned, so that they outlive the daemon.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use libbpf_rs::MapHandle;
use terrace_abi::sys::{self, SocketHook};
use terrace_abi::{Program, pins};

use crate::{Cgroup, Error};

/// Pins of the shortcut begin so, in `links` and in `maps`.
const LINK_PREFIX: &str = "shortcut-";
const MAP_PREFIX: &str = "shortcut_";
const WATCH: &str = "shortcut-watch";

/// What hangs on a cgroup, by which program.
pub(super) const HOOKS: [(SocketHook, &str); 2] = [
    (SocketHook::SockOps, "terrace_shortcut_ops"),
    (SocketHook::SetSockOpt, "terrace_shortcut_option"),
];

/// A program of the shortcut in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Name of the pin under `<root>/links`.
    pub pin: String,
    /// The kernel's number of the program.
    pub program_id: u32,
    /// An earlier daemon's was replaced.
    pub taken_over: bool,
}

/// The sockets' messages go through `program`; sockets that are joined already
/// keep the program of an earlier daemon, which reads the same tables.
pub(super) fn message(program: &Program, sockets: &MapHandle) -> Result<(), Error> {
    sys::message_attach(program.as_fd(), sockets.as_fd()).map_err(|source| Error::Attach {
        hook: "sk_msg",
        path: "shortcut_sockets".into(),
        source,
    })
}

/// Tracepoints have no link that can be updated: two run for a moment.
pub(super) fn watch(root: &Path, program: &Program) -> Result<Attached, Error> {
    let path = root.join("links").join(WATCH);
    let refused = |source| Error::Attach {
        hook: "tcp_rcv_space_adjust",
        path: path.clone(),
        source,
    };
    let link = sys::tracepoint_attach(program.as_fd()).map_err(refused)?;
    let taken_over = path.exists();
    pins::remove(&path)?;
    sys::pin(link.as_fd(), &path).map_err(refused)?;
    Ok(Attached {
        pin: WATCH.to_owned(),
        program_id: program.info().id,
        taken_over,
    })
}

pub(super) fn cgroup(
    root: &Path,
    cgroup: &Cgroup,
    hook: SocketHook,
    program: &Program,
) -> Result<Attached, Error> {
    let pin = format!("{LINK_PREFIX}{}-{}", hook.name(), cgroup.id());
    let path = root.join("links").join(&pin);
    let refused = |source| Error::Attach {
        hook: hook.name(),
        path: cgroup.path().into(),
        source,
    };
    let old = open(&path, cgroup.id())?;
    let taken_over = old.is_some();
    match old {
        Some(link) => sys::link_update(link.as_fd(), program.as_fd()).map_err(refused)?,
        None => {
            // Of a cgroup of this number that is gone.
            pins::remove(&path)?;
            let link = sys::socket_attach(program.as_fd(), cgroup.as_fd(), hook);
            sys::pin(link.map_err(refused)?.as_fd(), &path).map_err(refused)?;
        }
    }
    Ok(Attached {
        pin,
        program_id: program.info().id,
        taken_over,
    })
}

/// The pinned link if it still is on that cgroup.
fn open(path: &Path, cgroup_id: u64) -> Result<Option<OwnedFd>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let ask = |source| Error::Ask {
        what: path.display().to_string(),
        source,
    };
    let link = sys::open_pin(path).map_err(ask)?;
    let info = sys::socket_link_info(link.as_fd()).map_err(ask)?;
    Ok(info
        .is_some_and(|info| info.target == cgroup_id)
        .then_some(link))
}

/// Takes off all links but these.
pub(super) fn take_off_others(root: &Path, kept: &[Attached]) -> Result<(), Error> {
    for path in pinned(root, "links", LINK_PREFIX)? {
        let name = name_of(&path);
        if kept.iter().any(|kept| kept.pin == name) {
            continue;
        }
        let detach = |source| Error::Detach {
            path: path.clone(),
            source,
        };
        let link = sys::open_pin(&path).map_err(detach)?;
        // A tracepoint's ends with its pin; a cgroup's may have ended with it.
        match sys::link_detach(link.as_fd()) {
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                return Err(detach(source));
            }
            _ => {}
        }
        pins::remove(&path)?;
    }
    Ok(())
}

pub(super) fn remove_maps(root: &Path) -> Result<(), Error> {
    for path in pinned(root, "maps", MAP_PREFIX)? {
        pins::remove(&path)?;
    }
    Ok(())
}

/// Nothing of the shortcut is pinned.
pub(super) fn is_absent(root: &Path) -> Result<bool, Error> {
    Ok(pinned(root, "links", LINK_PREFIX)?.is_empty()
        && pinned(root, "maps", MAP_PREFIX)?.is_empty())
}

fn pinned(root: &Path, folder: &str, prefix: &str) -> Result<Vec<PathBuf>, Error> {
    let mut all = pins::list_folder(&root.join(folder))?;
    all.retain(|path| name_of(path).starts_with(prefix));
    Ok(all)
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
