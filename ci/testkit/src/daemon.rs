//! `terrace run` in a folder of its own, started and asked as a user would.

use crate::{Background, Error, Netns, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

const CONFIG: &str = "terrace.toml";
const MANIFESTS: &str = "manifests";

/// The configuration, the manifests and, while it runs, the process.
#[derive(Debug)]
pub struct Daemon {
    binary: PathBuf,
    running: Option<Background>,
    folder: TempDir,
}

impl Daemon {
    /// A folder without manifests; nothing runs yet.
    pub fn new(binary: impl Into<PathBuf>, label: &str) -> Result<Self> {
        let folder = TempDir::with_prefix(format!("terrace-{label}-"))
            .map_err(Error::io("a folder for terrace"))?;
        std::fs::create_dir(folder.path().join(MANIFESTS))
            .map_err(Error::io("a folder for manifests"))?;
        Ok(Self {
            binary: binary.into(),
            running: None,
            folder,
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path(CONFIG)
    }

    pub fn configure(&self, text: &str) -> Result<()> {
        std::fs::write(self.config(), text).map_err(Error::io("write terrace.toml"))
    }

    /// Puts a manifest in place, whole.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let hidden = self.path(file);
        std::fs::write(&hidden, text).map_err(Error::io(format!("write {file}")))?;
        std::fs::rename(&hidden, self.path(MANIFESTS).join(file))
            .map_err(Error::io(format!("place {file}")))
    }

    pub fn remove(&self, file: &str) -> Result<()> {
        let path = self.path(MANIFESTS).join(file);
        std::fs::remove_file(path).map_err(Error::io(format!("remove {file}")))
    }

    /// `terrace ARGS --config` of this folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--config").arg(self.config());
        command
    }

    /// Keeps the process of a [`command`](Self::command), and waits until it
    /// says that it is ready.
    pub fn start(&mut self, running: Background, limit: Duration) -> Result<()> {
        self.running.insert(running).wait_for_log("ready: ", limit)
    }

    /// The process.
    pub fn running(&mut self) -> Result<&mut Background> {
        self.running.as_mut().ok_or_else(none_runs)
    }

    pub fn pid(&self) -> Result<u32> {
        Ok(self.running.as_ref().ok_or_else(none_runs)?.pid())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.running.take().ok_or_else(none_runs)?.kill();
        Ok(())
    }

    /// SIGTERM; it must end with 0.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        let mut running = self.running.take().ok_or_else(none_runs)?;
        let status = running.stop(limit)?;
        if status.success() {
            return Ok(());
        }
        Err(Error::wrong(format!("{status}:\n{}", running.log())))
    }

    /// Everything that it has said since it was started last.
    pub fn log(&self) -> String {
        self.running
            .as_ref()
            .map_or_else(String::new, Background::log)
    }

    /// What another command of `terrace` says of it.
    pub fn ask(&self, host: &Netns, args: &[&str]) -> Result<Output> {
        host.output(&mut self.command(args))
    }
}

fn none_runs() -> Error {
    Error::wrong("no terrace is running")
}
