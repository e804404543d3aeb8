//! The cgroup that the programs hang on.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::Error;

/// Where cgroup v2 is mounted: alone, or beside version 1.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2_MAGIC: u32 = 0x6367_7270;

/// A cgroup of version 2.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    folder: File,
    id: u64,
}

impl Cgroup {
    /// Opens a cgroup by its folder.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::OpenCgroup {
            path: path.into(),
            source,
        };
        let folder = File::open(path).map_err(failed)?;
        let found = rustix::fs::fstatfs(&folder).map_err(|errno| failed(errno.into()))?;
        if found.f_type as u32 != CGROUP2_MAGIC {
            return Err(Error::NotCgroup2 { path: path.into() });
        }
        let id = folder.metadata().map_err(failed)?.ino();
        Ok(Self {
            path: path.into(),
            folder,
            id,
        })
    }

    /// The root of the host's cgroups of version 2.
    pub fn find() -> Result<Self, Error> {
        let found = USUAL.iter().find_map(|path| Self::open(path.as_ref()).ok());
        found.ok_or(Error::NoCgroup2)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kernel's number of it; its inode number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Those above it, nearest first, as far as they are cgroups.
    pub(crate) fn with_ancestors(&self) -> impl Iterator<Item = Self> {
        let above = self.path.ancestors().map(Path::to_owned);
        above.map_while(|path| Self::open(&path).ok())
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// The number of the cgroup at `path`, without opening it for good.
pub fn cgroup_id(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.ino())
}
