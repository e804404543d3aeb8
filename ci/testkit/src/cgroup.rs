//! Cgroups of version 2 that go away with their guard.

use crate::{Error, Result, wait};
use rustix::mount::{MountFlags, mount};
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2_MAGIC: u32 = 0x6367_7270;
const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const EMPTY: Duration = Duration::from_secs(10);
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A cgroup `terrace-test-<pid>-<n>`; on drop every process in it is killed and
/// it is removed with all below it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    pub fn new() -> Result<Self> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("terrace-test-{}-{n}", std::process::id());
        Self::make(root()?.join(name))
    }

    /// A cgroup below this one.
    pub fn child(&self, name: &str) -> Result<Self> {
        Self::make(self.path.join(name))
    }

    fn make(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).map_err(Error::io(format!("make {}", path.display())))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command whose process is in this cgroup before the program starts.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg("echo $$ > \"$0/cgroup.procs\" && exec \"$@\"")
            .arg(&self.path)
            .arg(program);
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// The root of the cgroups of version 2; mounts one if nobody has.
pub fn root() -> Result<PathBuf> {
    let is_v2 = |path: &str| {
        rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u32 == CGROUP2_MAGIC)
    };
    if let Some(path) = PLACES.into_iter().find(|path| is_v2(path)) {
        return Ok(path.into());
    }
    let place = PLACES[1];
    fs::create_dir_all(place).map_err(Error::io(format!("make {place}")))?;
    let options: Option<&CStr> = None;
    mount("none", place, "cgroup2", MountFlags::empty(), options)
        .map_err(Error::errno(format!("mount cgroup2 at {place}")))?;
    Ok(place.into())
}

fn remove(path: &Path) {
    let _ = fs::write(path.join("cgroup.kill"), "1");
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.path().is_dir()) {
        remove(&entry.path());
    }
    // Processes that were killed leave when they are reaped.
    let _ = wait::until("an empty cgroup", EMPTY, || fs::remove_dir(path).ok());
}

/// Removes the cgroups of processes that have ended; their names.
pub(crate) fn sweep() -> Vec<String> {
    let Ok(root) = root() else {
        return Vec::new();
    };
    let left = crate::netns::left_overs_in(&root);
    for name in &left {
        remove(&root.join(name));
    }
    left
}
