//! Links of socket programs: pinned, so that they outlive the daemon, and
//! updated in place by the next one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use terrace_abi::sys::{self, SocketHook};
use terrace_abi::{Program, pins};

use crate::{Cgroup, Error};

/// Pins of socket programs begin so.
const PREFIX: &str = "sock-";

/// A program of Terrace on a cgroup or network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the pin: `sock-connect4`.
    pub pin: String,
    /// The kernel's number of the program.
    pub program_id: u32,
    /// The cgroup's number, or the network namespace's; 0 when it is gone.
    pub target: u64,
    /// A program of an earlier daemon was replaced without a gap.
    pub taken_over: bool,
}

/// Puts a program on a cgroup, beside the programs of others and after them;
/// in place of an earlier daemon's without a gap. The pin is
/// `<root>/links/sock-<name>`.
pub fn attach(
    root: &Path,
    cgroup: &Cgroup,
    hook: SocketHook,
    name: &str,
    program: &Program,
) -> Result<Attachment, Error> {
    let refused = |source| refusal(cgroup, hook, source);
    place(
        root,
        cgroup.as_fd(),
        cgroup.id(),
        hook,
        name,
        program,
        &refused,
    )
}

/// The same on the network namespace of `target`; `id` is its inode number.
pub fn attach_netns(
    root: &Path,
    (target, id): (&impl AsFd, u64),
    name: &str,
    program: &Program,
) -> Result<Attachment, Error> {
    let hook = SocketHook::SkLookup;
    let refused = |source| Error::Attach {
        hook: hook.name(),
        path: format!("net:[{id}]").into(),
        source,
    };
    place(root, target.as_fd(), id, hook, name, program, &refused)
}

fn place(
    root: &Path,
    target: std::os::fd::BorrowedFd<'_>,
    target_id: u64,
    hook: SocketHook,
    name: &str,
    program: &Program,
    refused: &dyn Fn(io::Error) -> Error,
) -> Result<Attachment, Error> {
    let pin = format!("{PREFIX}{name}");
    let path = root.join("links").join(&pin);
    let old = open(&path)?;
    let taken_over = match &old {
        Some((link, info)) if info.target == target_id => {
            sys::link_update(link.as_fd(), program.as_fd()).map_err(refused)?;
            true
        }
        _ => {
            // The new one first: no call goes unseen in between.
            let link = sys::socket_attach(program.as_fd(), target, hook).map_err(refused)?;
            if old.is_some() {
                remove(&path)?;
            }
            sys::pin(link.as_fd(), &path).map_err(refused)?;
            false
        }
    };
    Ok(Attachment {
        pin,
        program_id: program.info().id,
        target: target_id,
        taken_over,
    })
}

/// EPERM of somebody who may attach says that another program is alone there.
fn refusal(cgroup: &Cgroup, hook: SocketHook, source: io::Error) -> Error {
    let (path, name) = (cgroup.path().to_owned(), hook.name());
    let foreign: Vec<String> = cgroup
        .with_ancestors()
        .filter_map(|cgroup| sys::socket_query(cgroup.as_fd(), hook).ok())
        .flatten()
        .map(describe)
        .collect();
    if source.kind() == io::ErrorKind::PermissionDenied && !foreign.is_empty() {
        return Error::Exclusive {
            hook: name,
            path,
            foreign,
            source,
        };
    }
    Error::Attach {
        hook: name,
        path,
        source,
    }
}

fn describe(id: u32) -> String {
    let program = sys::program_by_id(id).and_then(|program| sys::program_info(program.as_fd()));
    let name = program.map(|info| info.name).unwrap_or_default();
    format!("`{name}` (id {id})")
}

fn open(path: &Path) -> Result<Option<(OwnedFd, sys::SocketLink)>, Error> {
    let ask = |source| Error::Ask {
        what: path.display().to_string(),
        source,
    };
    if !path.exists() {
        return Ok(None);
    }
    let link = sys::open_pin(path).map_err(ask)?;
    let info = sys::socket_link_info(link.as_fd()).map_err(ask)?;
    Ok(info.map(|info| (link, info)))
}

/// Every pinned link of the socket tier.
pub fn list(root: &Path) -> Result<Vec<Attachment>, Error> {
    let mut found = Vec::new();
    for path in ours(root)? {
        if let Some((_, info)) = open(&path)? {
            found.push(Attachment {
                pin: name_of(&path),
                program_id: info.program_id,
                target: info.target,
                taken_over: false,
            });
        }
    }
    Ok(found)
}

fn ours(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut all = pins::list_folder(&root.join("links"))?;
    all.retain(|path| name_of(path).starts_with(PREFIX));
    Ok(all)
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Takes one off by the name that it was attached with; nothing there is no
/// error.
pub fn detach(root: &Path, name: &str) -> Result<(), Error> {
    let path = root.join("links").join(format!("{PREFIX}{name}"));
    match path.exists() {
        true => remove(&path),
        false => Ok(()),
    }
}

/// Takes off every socket program whose name is not kept.
pub fn detach_others(root: &Path, keep: impl Fn(&str) -> bool) -> Result<(), Error> {
    for path in ours(root)? {
        if !keep(name_of(&path).trim_start_matches(PREFIX)) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Takes off everything of the socket tier: for sockets opened from now on it
/// is as if Terrace were not there; established connections go on.
pub fn detach_all(root: &Path) -> Result<(), Error> {
    detach_others(root, |_| false)
}

fn remove(path: &Path) -> Result<(), Error> {
    let detach = |source| Error::Detach {
        path: path.into(),
        source,
    };
    let link = sys::open_pin(path).map_err(detach)?;
    match sys::link_detach(link.as_fd()) {
        // The cgroup or namespace is gone, and the link with it.
        Err(source) if !is_dead(&source) => return Err(detach(source)),
        _ => {}
    }
    Ok(pins::remove(path)?)
}

fn is_dead(error: &io::Error) -> bool {
    const ENOLINK: i32 = 67;
    const ENOENT: i32 = 2;
    error
        .raw_os_error()
        .is_some_and(|errno| [ENOLINK, ENOENT].contains(&errno))
}
