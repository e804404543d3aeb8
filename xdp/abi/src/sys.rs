//! The system calls that libbpf-rs 0.25 has no safe wrapper for, one thin safe
//! function each. With `plain.rs` this folder is the only unsafe code of the
//! tables and the loaders.

mod clock;
mod iface;
mod link;
mod map;
mod mount;
mod program;
mod xdp;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

pub use clock::hz;
pub use iface::{ethtool_driver, ethtool_flags, interfaces};
pub use link::{
    LinkInfo, TcxPoint, create_clsact, destroy_clsact, link_detach, link_info, link_update,
    tcx_attach, tcx_query,
};
pub use map::{Words, lookup_batch, lookup_percpu_batch, possible_cpus};
pub use mount::{is_bpffs, mount_bpffs};
pub use program::{
    ProgramInfo, RunOutput, program_by_id, program_info, test_run, test_run_syscall,
};
pub use xdp::{XdpMode, XdpState, xdp_attach, xdp_detach, xdp_query};

/// Pins a map, program or link in a BPF file system.
pub fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: `path` is a C string that outlives the call.
    ret(unsafe { libbpf_sys::bpf_obj_pin(fd.as_raw_fd(), path.as_ptr()) }).map(drop)
}

/// Opens what is pinned at `path`.
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: `path` is a C string that outlives the call.
    owned(unsafe { libbpf_sys::bpf_obj_get(path.as_ptr()) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// A libbpf return value: negative is an errno.
fn ret(value: i32) -> io::Result<i32> {
    if value < 0 {
        Err(io::Error::from_raw_os_error(-value))
    } else {
        Ok(value)
    }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a descriptor that libbpf has just returned belongs to the caller.
    ret(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}
