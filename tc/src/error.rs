//! What can go wrong with tc programs, and what to do about it.

use std::io;

use crate::{Direction, Kind};

/// An error of the tc loader.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tables or an object.
    #[error(transparent)]
    Abi(#[from] terrace_abi::Error),
    /// The kernel refused a program on an interface.
    #[error("attach to {iface} at tc {direction} by {kind}{}", words(.reason))]
    Attach {
        /// The interface.
        iface: String,
        /// Which side of it.
        direction: Direction,
        /// How.
        kind: Kind,
        /// The kernel's own words; may be empty.
        reason: String,
        /// The errno.
        source: io::Error,
    },
    /// TCX was required and the kernel has none.
    #[error(
        "attach to {iface} by tcx: this kernel has no TCX (Linux 6.6 with CONFIG_NET_XGRESS): \
         choose clsact"
    )]
    NoTcx {
        /// The interface.
        iface: String,
    },
    /// Somebody else's filter sits where Terrace's goes.
    #[error(
        "attach to {iface} at tc {direction}: program `{program}` (id {id}) of somebody else has \
         the place of Terrace's filter (priority 1, handle 0x7e44): remove it with `tc filter del \
         dev {iface} {direction} pref 1`"
    )]
    Foreign {
        /// The interface.
        iface: String,
        /// Which side of it.
        direction: Direction,
        /// Its name.
        program: String,
        /// Its number.
        id: u32,
    },
    /// A program could not be taken off.
    #[error("detach tc {direction} of {iface}")]
    Detach {
        /// The interface.
        iface: String,
        /// Which side of it.
        direction: Direction,
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

fn words(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}
