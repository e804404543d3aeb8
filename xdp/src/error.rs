//! What can go wrong with XDP programs, and what to do about it.

use std::io;

use crate::Mode;

/// An error of the XDP loader.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tables or an object.
    #[error(transparent)]
    Abi(#[from] terrace_abi::Error),
    /// The kernel or the driver refused the program.
    #[error("attach XDP to {iface} in {mode} mode{}", words(.reason))]
    Attach {
        /// The interface.
        iface: String,
        /// In which mode.
        mode: Mode,
        /// The kernel's or the driver's own words (extack); may be empty.
        reason: String,
        /// The errno.
        source: io::Error,
    },
    /// Somebody else's program is there.
    #[error(
        "attach XDP to {iface}: program `{program}` (id {id}) of somebody else runs there in \
         {mode} mode: remove it with `ip link set dev {iface} xdp off` (or {command}), or forbid \
         XDP on this interface",
        command = command(mode, iface)
    )]
    Foreign {
        /// The interface.
        iface: String,
        /// Its name.
        program: String,
        /// Its number.
        id: u32,
        /// "native", "generic" or "offloaded".
        mode: &'static str,
    },
    /// A program could not be taken off.
    #[error("detach XDP from {iface}{}", words(.reason))]
    Detach {
        /// The interface.
        iface: String,
        /// The kernel's own words; may be empty.
        reason: String,
        /// Why not.
        source: io::Error,
    },
    /// The programs could not be exchanged.
    #[error(
        "install the XDP program: the pinned root program does not accept it; run `terrace \
         detach`, then start again"
    )]
    Install {
        /// Why not.
        source: libbpf_rs::Error,
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

fn words(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

fn command(mode: &str, iface: &str) -> String {
    let keyword = match mode {
        "generic" => "xdpgeneric",
        "offloaded" => "xdpoffload",
        _ => "xdpdrv",
    };
    format!("`ip link set dev {iface} {keyword} off`")
}
