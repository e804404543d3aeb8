//! Programs on a map of sockets, and on tracepoints.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::{owned, ret};

/// Gives a sockhash the program that its sockets' messages go through, in
/// place of an earlier one. Sockets that are in it keep the one they came with.
pub fn message_attach(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes descriptors and numbers only.
    ret(unsafe {
        libbpf_sys::bpf_prog_attach(
            program.as_raw_fd(),
            map.as_raw_fd(),
            libbpf_sys::BPF_SK_MSG_VERDICT,
            0,
        )
    })
    .map(drop)
}

/// Attaches a program to the tracepoint that it was loaded for.
pub fn tracepoint_attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: a null name is allowed: the program knows its tracepoint.
    owned(unsafe { libbpf_sys::bpf_raw_tracepoint_open(std::ptr::null(), program.as_raw_fd()) })
}
