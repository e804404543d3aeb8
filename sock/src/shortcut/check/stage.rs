//! Where the self-test plays: a cgroup and tables that are thrown away.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use terrace_abi::{Limits, Maps, pins};

use super::super::{Settings, Shortcut, detach};
use crate::{Cgroup, Error};

/// Connections at once are few; those of 10,000 short ones come and go.
const PAIRS: u32 = 4096;
/// A cgroup can be removed when the kernel has reaped its processes.
const REMOVAL: Duration = Duration::from_secs(2);

/// Then the pid, and a number.
const NAME: &str = "terrace-selftest-";
const BPFFS: &str = "/sys/fs/bpf";

/// Taken down when dropped.
#[derive(Debug)]
pub(super) struct Stage {
    folder: Folder,
    pins: Pins,
    shortcut: Shortcut,
}

#[derive(Debug)]
struct Folder(PathBuf);

#[derive(Debug)]
struct Pins(PathBuf);

impl Stage {
    pub(super) fn build(parent: &Cgroup) -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep(parent);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{NAME}{}-{n}", std::process::id());
        let folder = Folder(parent.path().join(&name));
        fs::create_dir(&folder.0).map_err(|source| Error::MakeCgroup {
            path: folder.0.clone(),
            source,
        })?;
        let pins = Pins(Path::new(BPFFS).join(&name));
        let maps = Maps::open(&pins.0, &Limits::small())?;
        let shortcut = Shortcut::load(&maps, PAIRS)?;
        shortcut.configure(&Settings {
            bulk_bytes: 0,
            refresh_secs: 0,
            ..Settings::default()
        })?;
        shortcut.attach(&[Cgroup::open(&folder.0)?])?;
        Ok(Self {
            folder,
            pins,
            shortcut,
        })
    }

    /// What the child needs to know.
    pub(super) fn ticket(&self) -> String {
        let pins = self.pins.0.join("maps");
        format!(
            "{}\n{}\n{}",
            self.folder.0.display(),
            pins.join("shortcut_stats").display(),
            pins.join("shortcut_pairs").display()
        )
    }
}

/// Removes what self-tests left whose process was killed.
fn sweep(parent: &Cgroup) {
    for left in left_in(Path::new(BPFFS)) {
        let pins = Pins(left);
        drop(detach(&pins.0, Duration::ZERO));
    }
    left_in(parent.path())
        .into_iter()
        .for_each(|left| drop(Folder(left)));
}

fn left_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_left))
        .map(|entry| entry.path())
        .collect()
}

/// Of a self-test whose process is no more.
fn is_left(name: &str) -> bool {
    let pid = name
        .strip_prefix(NAME)
        .and_then(|rest| rest.split('-').next());
    let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The child is gone and with it every socket: nothing is unread.
        drop(self.shortcut.set_enabled(false));
        drop(detach(&self.pins.0, Duration::ZERO));
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        drop(pins::remove_all(&self.0));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let end = Instant::now() + REMOVAL;
        while fs::remove_dir(&self.0).is_err() && self.0.exists() && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
    }
}
