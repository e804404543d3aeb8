//! The BPF file system: mounting it, and pins in it.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::ret;

/// Whether `path` is on a BPF file system.
pub fn is_bpffs(path: &Path) -> io::Result<bool> {
    let path = c_path(path)?;
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` is a C string and `stat` has room for one statfs.
    if unsafe { libc::statfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded and filled it in.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_type == libc::BPF_FS_MAGIC as libc::__fsword_t)
}

/// Mounts a BPF file system at `path` unless there is one, with the modes that
/// systemd uses. Processes that do so at once take turns: a second mount would
/// hide the pins of the first.
pub fn mount_bpffs(path: &Path) -> io::Result<()> {
    let turn = File::open("/sys/fs")?;
    turn.lock()?;
    if is_bpffs(path)? {
        return Ok(());
    }
    let path = c_path(path)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;
    // SAFETY: all strings are C strings that outlive the call.
    let result = unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            path.as_ptr(),
            c"bpf".as_ptr(),
            flags,
            c"mode=700".as_ptr().cast(),
        )
    };
    if result != 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

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

/// A descriptor that libbpf has just returned.
pub(super) fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a descriptor that libbpf has just returned belongs to the caller.
    ret(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}
