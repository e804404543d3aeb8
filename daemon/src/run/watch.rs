//! Tells when the manifests or deny lists have changed.
//!
//! inotify makes it quick, a look at the files every few seconds makes it
//! certain: a folder that is replaced by another one (ConfigMap volumes, `mv`)
//! has no watch any more, and some file systems send no events at all.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::config::manifests::is_manifest;

const LOOK: Duration = Duration::from_secs(5);
/// An editor or `kubectl` writes several files in one go.
const QUIET: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(1);

/// What must differ for a file to count as changed.
type Stamp = (u64, i64, i64, u64);

/// How a set of files looked at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamps {
    files: BTreeMap<PathBuf, Stamp>,
    /// Folders that can't be listed: what is in them is not gone.
    hidden: Vec<String>,
}

impl Stamps {
    /// Of a folder of manifests and of single files.
    pub fn take(folder: &Path, files: &[PathBuf]) -> Self {
        let mut stamps = Self::default();
        stamps.add_folder(folder);
        for file in files {
            stamps.add_file(file);
        }
        stamps
    }

    /// Files that are new or look different in `now`, and those that are gone.
    pub fn changed_in(&self, now: &Self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let changed = now.files.iter();
        let changed = changed.filter(|(path, stamp)| self.files.get(*path) != Some(stamp));
        let gone = self
            .files
            .keys()
            .filter(|path| !now.files.contains_key(*path));
        (
            changed.map(|(path, _)| path.clone()).collect(),
            gone.cloned().collect(),
        )
    }

    /// What is wrong with folders, one line each. Such a moment must not be
    /// taken for one without files.
    pub fn faults(&self) -> &[String] {
        &self.hidden
    }

    /// How many are manifests and not single files.
    pub fn manifests(&self) -> usize {
        self.files.keys().filter(|path| is_manifest(path)).count()
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    fn add_folder(&mut self, folder: &Path) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let what = format!("{}: can't be read: {error}", folder.display());
                return self.hidden.push(what);
            }
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let hidden = path
                .file_name()
                .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden {
                continue;
            }
            if path.is_dir() {
                self.add_folder(&path);
            } else if is_manifest(&path) {
                self.add_file(&path);
            }
        }
    }

    fn add_file(&mut self, path: &Path) {
        if let Ok(meta) = fs::metadata(path) {
            let stamp = (meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino());
            self.files.insert(path.to_owned(), stamp);
        }
    }
}

/// Watches a folder of manifests and single files, in a task of its own.
/// Dropping it ends the task.
#[derive(Debug)]
pub struct FolderWatch {
    changes: mpsc::Receiver<()>,
}

impl FolderWatch {
    /// Changes count from here on: call it before reading the files.
    pub fn start(folder: &Path, files: &[PathBuf]) -> Self {
        let (send, events) = mpsc::channel(1);
        let watcher = watcher(folder, files, send)
            .inspect_err(|error| {
                tracing::warn!(
                    "no watch on {}: {error}; changes are found within {} s",
                    folder.display(),
                    LOOK.as_secs()
                );
            })
            .ok();
        let task = Task {
            folder: folder.to_owned(),
            files: files.to_owned(),
            seen: Stamps::take(folder, files),
            events,
            _watcher: watcher,
        };
        let (send, changes) = mpsc::channel(1);
        tokio::spawn(task.run(send));
        Self { changes }
    }

    /// Returns when the files differ from when they were last looked at.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

#[derive(Debug)]
struct Task {
    folder: PathBuf,
    files: Vec<PathBuf>,
    seen: Stamps,
    events: mpsc::Receiver<()>,
    /// None when the kernel gives no watches; looking is left.
    _watcher: Option<RecommendedWatcher>,
}

impl Task {
    async fn run(mut self, changes: mpsc::Sender<()>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = changes.closed() => return,
                _ = looks.tick() => {}
                Some(()) = self.events.recv() => self.settle().await,
            }
            let now = block_in_place(|| Stamps::take(&self.folder, &self.files));
            if now != self.seen {
                self.seen = now;
                // A full channel: whoever reads it has not looked yet.
                let _ = changes.try_send(());
            }
        }
    }

    /// Waits until nothing has happened for a moment.
    async fn settle(&mut self) {
        let latest = Instant::now() + PATIENCE;
        loop {
            let quiet = (Instant::now() + QUIET).min(latest);
            match timeout_at(quiet, self.events.recv()).await {
                Ok(Some(())) if Instant::now() < latest => {}
                _ => return,
            }
        }
    }
}

fn watcher(
    folder: &Path,
    files: &[PathBuf],
    send: mpsc::Sender<()>,
) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the files makes events too.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            // A full channel has told already.
            let _ = send.try_send(());
        }
    })?;
    watcher.watch(folder, RecursiveMode::Recursive)?;
    for file in files {
        // Editors replace a file: the watch has to be on its folder.
        let parent = file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        watcher.watch(
            parent.unwrap_or(Path::new(".")),
            RecursiveMode::NonRecursive,
        )?;
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "multi_thread")]
    async fn every_way_to_change_a_file_is_seen() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = tmp.path().join("manifests");
        let deny = tmp.path().join("deny.txt");
        fs::create_dir(&folder).unwrap();
        fs::write(&deny, "").unwrap();
        let mut watch = FolderWatch::start(&folder, std::slice::from_ref(&deny));
        type Step<'a> = (&'a str, &'a dyn Fn());
        let steps: [Step<'_>; 7] = [
            ("new", &|| fs::write(folder.join("a.yaml"), "a").unwrap()),
            ("appended", &|| {
                fs::write(folder.join("a.yaml"), "ab").unwrap()
            }),
            ("replaced", &|| {
                fs::write(folder.join(".tmp"), "cd").unwrap();
                fs::rename(folder.join(".tmp"), folder.join("a.yaml")).unwrap();
            }),
            ("in a new folder", &|| {
                fs::create_dir(folder.join("sub")).unwrap();
                fs::write(folder.join("sub/b.yml"), "b").unwrap();
            }),
            ("deny list", &|| fs::write(&deny, "10.0.0.0/8").unwrap()),
            ("removed", &|| {
                fs::remove_file(folder.join("a.yaml")).unwrap()
            }),
            ("folder replaced", &|| {
                fs::rename(&folder, tmp.path().join("old")).unwrap();
                fs::create_dir(&folder).unwrap();
            }),
        ];
        for (name, step) in steps {
            step();
            let changed = timeout(LIMIT, watch.changed()).await;
            assert!(changed.is_ok(), "{name} was not seen");
        }
    }

    #[test]
    fn changed_new_and_removed_files_are_told_apart() {
        let stamp = |n| (n, 0, 0, 0);
        let of = |files: &[(&str, u64)]| {
            let files = files.iter().map(|(name, n)| ((*name).into(), stamp(*n)));
            Stamps {
                files: files.collect(),
                hidden: Vec::new(),
            }
        };
        let old = of(&[("a", 1), ("b", 1), ("c", 1)]);
        let new = of(&[("a", 1), ("b", 2), ("d", 1)]);
        let (changed, gone) = old.changed_in(&new);
        assert_eq!(changed, [PathBuf::from("b"), "d".into()]);
        assert_eq!(gone, [PathBuf::from("c")]);
        assert_eq!(new.changed_in(&new), (vec![], vec![]));
    }

    #[test]
    fn only_manifests_and_named_files_have_a_stamp() {
        let tmp = tempfile::tempdir().unwrap();
        for name in ["a.yaml", "b.json", "c.txt", ".d.yaml", "deny"] {
            fs::write(tmp.path().join(name), "x").unwrap();
        }
        let deny = tmp.path().join("deny");
        let names: Vec<_> = Stamps::take(tmp.path(), &[deny])
            .paths()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["a.yaml", "b.json", "deny"]);
    }
}
