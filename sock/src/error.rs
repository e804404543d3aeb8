//! What can go wrong with socket programs, and what to do about it.

use std::io;
use std::path::PathBuf;

/// An error of the socket tier.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tables or an object.
    #[error(transparent)]
    Abi(#[from] terrace_abi::Error),
    /// There is no cgroup v2 where programs could hang.
    #[error(
        "{path}: not a cgroup of version 2, and socket programs can hang on no other: mount one \
         (`mount -t cgroup2 none /sys/fs/cgroup/unified`) and name it in [socket] cgroup, or write \
         mode = \"off\""
    )]
    NotCgroup2 {
        /// What was looked at.
        path: PathBuf,
    },
    /// No cgroup v2 is mounted at any of the usual places.
    #[error(
        "this host has no cgroup of version 2 mounted (only version 1): boot with \
         systemd.unified_cgroup_hierarchy=1, or mount one (`mount -t cgroup2 none \
         /sys/fs/cgroup/unified`) and name it in [socket] cgroup"
    )]
    NoCgroup2,
    /// The cgroup's folder can't be opened.
    #[error("open the cgroup {path}: the service needs to read it (and CAP_NET_ADMIN to use it)")]
    OpenCgroup {
        /// Its folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another program on the cgroup, or above it, allows none beside it.
    #[error(
        "attach {hook} to {path}: {} there or above without BPF_F_ALLOW_MULTI, which allows \
         no other: attach that one with `bpftool cgroup attach ... multi`, or take it off",
        programs(.foreign)
    )]
    Exclusive {
        /// The hook.
        hook: &'static str,
        /// The cgroup.
        path: PathBuf,
        /// Name and number of each.
        foreign: Vec<String>,
        /// The errno.
        source: io::Error,
    },
    /// The kernel refused a program on a cgroup or network namespace.
    #[error("attach {hook} to {path}{}", hint(.source))]
    Attach {
        /// The hook.
        hook: &'static str,
        /// The cgroup or network namespace.
        path: PathBuf,
        /// The errno.
        source: io::Error,
    },
    /// A program could not be taken off.
    #[error("detach {path}")]
    Detach {
        /// Its pin.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The self-test's throw-away cgroup can't be made.
    #[error(
        "make the self-test's cgroup {path}: the service needs to write there (systemd: \
         ProtectControlGroups=no)"
    )]
    MakeCgroup {
        /// Its folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Bytes that a socket has not read yet would be lost with the tables.
    #[error(
        "{sockets} sockets have bytes of the shortcut that their programs have not read yet: it \
         is switched off, no byte is lost; run `terrace detach` again when they have read them, \
         or end those programs (`terrace sockets` names them)"
    )]
    Unread {
        /// How many.
        sockets: u32,
    },
    /// A map of the socket tier.
    #[error("{action} {map}{}", room(.source))]
    Map {
        /// What was tried.
        action: &'static str,
        /// Its name.
        map: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The kernel could not be asked.
    #[error("ask the kernel for {what}")]
    Ask {
        /// For what.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

fn programs(foreign: &[String]) -> String {
    match foreign {
        [] => "a program is".to_owned(),
        [one] => format!("program {one} is"),
        many => format!("programs {} are", many.join(", ")),
    }
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::InvalidInput => {
            ": this kernel has no such hook (it needs Linux 6.1 with CONFIG_CGROUP_BPF)"
        }
        io::ErrorKind::PermissionDenied => ": CAP_NET_ADMIN and CAP_BPF are needed",
        _ => "",
    }
}

fn room(source: &io::Error) -> &'static str {
    const E2BIG: i32 = 7;
    const ENOSPC: i32 = 28;
    match source.raw_os_error() {
        Some(E2BIG | ENOSPC) => ": it is full: raise [socket] max_entries and restart",
        _ => "",
    }
}
