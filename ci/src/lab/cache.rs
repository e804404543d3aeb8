//! The folder outside the repository where fetched and built things stay, by
//! version. It may be removed at any time.

use super::apt::Apt;
use super::kernel::{self, Kernel};
use super::list::Lab;
use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where it is, if not in the user's cache folder.
const VARIABLE: &str = "TERRACE_LAB_CACHE";
const JOBS: &str = "jobs";

pub struct Cache {
    pub dir: PathBuf,
    /// QEMU and the guest's own programs.
    pub tools: PathBuf,
    /// One lab at a time: virtual machines want the whole machine.
    _lock: File,
}

impl Cache {
    /// Fetches the tools that are not there yet. An error is a reason to skip.
    pub fn open(lab: &Lab) -> Result<Self> {
        Self::open_in(folder()?, lab)
    }

    pub fn open_in(dir: PathBuf, lab: &Lab) -> Result<Self> {
        for name in ["kernels", "tools", JOBS] {
            let path = dir.join(name);
            fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        }
        let lock = File::create(dir.join("lock")).context("the lab's lock")?;
        wait_alone(&lock, &dir)?;
        remove_jobs(&dir);
        let tools = tools(&dir, lab)?;
        Ok(Self {
            dir,
            tools,
            _lock: lock,
        })
    }

    pub fn jobs(&self) -> PathBuf {
        self.dir.join(JOBS)
    }

    /// Today's kernel of this name, ready to boot.
    pub fn kernel(&self, lab: &Lab, name: &str) -> Result<Kernel> {
        let choice = lab.kernel(name)?;
        let apt = apt(&self.dir, lab, &choice.archive)?;
        let builder = match &choice.builder {
            Some(builder) => Some(self::apt(&self.dir, lab, &builder.archive)?),
            None => None,
        };
        kernel::get(self, &apt, builder.as_ref(), lab, choice)
    }

    /// The folder as the guest sees it.
    pub fn in_guest(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.dir).unwrap_or(path);
        Path::new("/share/lab").join(below)
    }
}

fn wait_alone(lock: &File, dir: &Path) -> Result<()> {
    if flock(lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        eprintln!(
            "lab: waiting for another lab that uses {} to end ({VARIABLE} names another place)",
            dir.display()
        );
        flock(lock, FlockOperation::LockExclusive).context("wait for another lab to end")?;
    }
    Ok(())
}

/// What killed labs have left; nobody else is here.
fn remove_jobs(dir: &Path) {
    let left = fs::read_dir(dir.join(JOBS)).into_iter().flatten().flatten();
    for job in left {
        let _ = fs::remove_dir_all(job.path());
    }
}

fn folder() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(VARIABLE) {
        return Ok(dir.into());
    }
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(Path::new(&dir).join("terrace-lab"));
    }
    match std::env::var_os("HOME") {
        Some(home) => Ok(Path::new(&home).join(".cache/terrace-lab")),
        None => bail!("no HOME: say in {VARIABLE} where fetched kernels may stay"),
    }
}

fn apt(dir: &Path, lab: &Lab, archive: &str) -> Result<Apt> {
    Apt::open(&dir.join(format!("apt-{archive}")), lab.archive(archive)?)
}

fn tools(dir: &Path, lab: &Lab) -> Result<PathBuf> {
    let wanted = &lab.tools;
    let apt = apt(dir, lab, &wanted.archive)?;
    let mut key = apt.version(&wanted.packages[0], &wanted.release)?;
    key.retain(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
    let place = dir.join("tools").join(key);
    once(&place, |new| {
        eprintln!("lab: fetching {}", wanted.packages.join(" "));
        apt.unpack_closure(&wanted.release, &wanted.packages, new)
    })?;
    Ok(place)
}

/// Makes a folder whole or not at all.
pub fn once(place: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if place.exists() {
        return Ok(());
    }
    let parent = place.parent().context("a folder has a parent")?;
    let new = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)
        .with_context(|| format!("make a folder in {}", parent.display()))?;
    make(new.path())?;
    // 9p serves it to a guest as the user who runs QEMU.
    let path = new.keep();
    fs::rename(&path, place).with_context(|| format!("make {}", place.display()))
}
