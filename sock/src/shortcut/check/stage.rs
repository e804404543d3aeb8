//! Where the self-test plays: a cgroup and tables that are thrown away.

use std::fs;
use std::path::PathBuf;
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
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("terrace-selftest-{}-{n}", std::process::id());
        let folder = Folder(parent.path().join(&name));
        fs::create_dir(&folder.0).map_err(|source| Error::MakeCgroup {
            path: folder.0.clone(),
            source,
        })?;
        let pins = Pins(PathBuf::from("/sys/fs/bpf").join(&name));
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
