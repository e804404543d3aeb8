//! The unix socket itself: where it is, who may use it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;
use tokio::net::{UnixListener, UnixStream, unix};

use super::Refusal;
use crate::api;

/// Whoever is in this group may use the socket.
const GROUP: &str = "terrace";
const MODE: u32 = 0o660;

/// A bound socket; its file is removed on drop.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds, in place of a socket on which nobody listens.
    ///
    /// # Errors
    /// Another daemon has it, or it can't be made.
    pub fn bind(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        remove_stale(path)?;
        // Bound under a name that nobody knows, so that at no moment the socket
        // is there with other rights than it shall have.
        let hidden = path.with_extension(format!("new-{}", std::process::id()));
        let _ = fs::remove_file(&hidden);
        let socket = UnixListener::bind(&hidden)
            .with_context(|| format!("make the control socket {}", path.display()))?;
        let placed = restrict(&hidden)
            .and_then(|()| fs::rename(&hidden, path).context("rename"))
            .with_context(|| format!("make the control socket {}", path.display()));
        if placed.is_err() {
            let _ = fs::remove_file(&hidden);
        }
        placed?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl axum::serve::Listener for Listener {
    type Io = UnixStream;
    type Addr = unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        axum::serve::Listener::accept(&mut self.socket).await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.socket.local_addr()
    }
}

fn remove_stale(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("look at {}", path.display())),
        Ok(meta) if !meta.file_type().is_socket() => {
            bail!(
                "{} is there and is no socket; name another one",
                path.display()
            )
        }
        Ok(_) => {}
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!(
            "another daemon listens on {}; stop it first (systemctl stop terrace)",
            path.display()
        );
    }
    fs::remove_file(path).with_context(|| format!("remove {}", path.display()))
}

fn restrict(path: &Path) -> Result<()> {
    if let Some(group) = group_id()
        && let Err(error) = std::os::unix::fs::chown(path, None, Some(group))
    {
        // Root still gets in; to keep everybody out would be no better.
        tracing::warn!(
            "the control socket is for root alone: give it to the group {GROUP}: {error}; \
             put the daemon into the group (SupplementaryGroups={GROUP})"
        );
    }
    fs::set_permissions(path, fs::Permissions::from_mode(MODE)).context("set its mode")
}

/// The number of the group `terrace`; None when the host has no such group.
/// Only /etc/group is asked: a directory service may be down when the network is.
fn group_id() -> Option<u32> {
    group_in(&fs::read_to_string("/etc/group").ok()?)
}

fn group_in(text: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(GROUP))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    ids: Option<(u32, u32, i32)>,
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        let ids = stream.io().peer_cred().ok();
        Self {
            ids: ids.map(|c| (c.uid(), c.gid(), c.pid().unwrap_or(0))),
        }
    }
}

/// The file's mode already keeps others out; a descriptor that was passed on,
/// or a file whose mode somebody has opened, does not get past this.
pub(super) async fn admit(
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let own = rustix::process::geteuid().as_raw();
    let admitted = peer
        .ids
        .is_some_and(|(uid, gid, pid)| is_admitted(uid, own, || groups_of(gid, pid), group_id()));
    if admitted {
        return Ok(next.run(request).await);
    }
    let error = api::Error {
        error: "not permitted".into(),
        fix: format!("use root, or join the group {GROUP}: usermod -aG {GROUP} $USER"),
        details: Vec::new(),
    };
    Err(Refusal(StatusCode::FORBIDDEN, error))
}

fn is_admitted(uid: u32, own: u32, groups: impl FnOnce() -> Vec<u32>, group: Option<u32>) -> bool {
    uid == 0 || uid == own || group.is_some_and(|group| groups().contains(&group))
}

/// SO_PEERCRED has the primary group only; the others are in /proc. A process
/// that ended meanwhile has none.
fn groups_of(gid: u32, pid: i32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let others = status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .unwrap_or_default();
    others
        .split_whitespace()
        .filter_map(|group| group.parse().ok())
        .chain([gid])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_the_own_user_and_the_group_are_admitted() {
        let rows = [
            ("root", 0, vec![], None, true),
            ("own user", 7, vec![], None, true),
            ("stranger", 1000, vec![1000], None, false),
            ("stranger, group exists", 1000, vec![1000], Some(50), false),
            ("member", 1000, vec![1000, 50], Some(50), true),
        ];
        for (name, uid, groups, group, expected) in rows {
            assert_eq!(is_admitted(uid, 7, || groups, group), expected, "{name}");
        }
    }

    #[test]
    fn the_group_is_found_by_its_exact_name() {
        let text = "root:x:0:\nterraced:x:9:\nterrace:x:42:ann,bob\n";
        assert_eq!(group_in(text), Some(42));
        assert_eq!(group_in("root:x:0:\n"), None);
        assert_eq!(group_in("terrace:x:many:\n"), None);
    }

    #[tokio::test]
    async fn a_socket_replaces_a_dead_one_but_no_live_one_and_no_file() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("run/terrace.sock");
        let first = Listener::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let error = Listener::bind(&path).unwrap_err().to_string();
        assert!(error.contains("another daemon"), "{error}");
        drop(first);
        assert!(!path.exists());
        // As kill -9 leaves it: the file is there, nobody listens.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Listener::bind(&path).unwrap());
        fs::write(&path, "").unwrap();
        let error = Listener::bind(&path).unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
    }
}
