//! A private place in the BPF file system for each test.

use crate::{Error, Result};
use rustix::mount::{MountFlags, mount};
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the BPF file system is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` of linux/magic.h.
const BPFFS_MAGIC: u32 = 0xcafe_4a11;
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder `/sys/fs/bpf/terrace-test-<pid>-<n>`; removed with every pin in it
/// on drop, which detaches what is only held by a pinned link.
#[derive(Debug)]
pub struct PinRoot {
    path: PathBuf,
}

impl PinRoot {
    pub fn new() -> Result<Self> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("terrace-test-{}-{n}", std::process::id()))
    }

    /// A folder of exactly this name under [`BPFFS`].
    pub fn named(name: &str) -> Result<Self> {
        mount_bpffs()?;
        let path = Path::new(BPFFS).join(name);
        fs::create_dir(&path).map_err(Error::io(format!("make {}", path.display())))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PinRoot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Mounts the BPF file system if nobody has; leaves it mounted.
pub fn mount_bpffs() -> Result<()> {
    let stat = rustix::fs::statfs(BPFFS).map_err(Error::errno(format!("statfs {BPFFS}")))?;
    if stat.f_type as u32 == BPFFS_MAGIC {
        return Ok(());
    }
    let options: Option<&CStr> = None;
    mount("bpf", BPFFS, "bpf", MountFlags::empty(), options)
        .map_err(Error::errno(format!("mount bpf at {BPFFS}")))
}

/// Removes the pin roots of processes that have ended; their names.
pub(crate) fn sweep() -> Vec<String> {
    let left = crate::netns::left_overs_in(Path::new(BPFFS));
    for name in &left {
        let _ = fs::remove_dir_all(Path::new(BPFFS).join(name));
    }
    left
}
