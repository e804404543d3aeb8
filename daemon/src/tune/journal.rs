//! The record of a transaction, on disk before anything is run.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Step;

/// The steps of one transaction and how far they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// In the order in which they are run.
    pub steps: Vec<Step>,
    /// The guardian's process; 0 = not yet there.
    pub guardian: u32,
}

/// Where the journal and the guardian's socket are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(PathBuf);

impl Place {
    /// Beside the control socket.
    pub fn beside(socket: &Path) -> Self {
        let folder = socket.parent().unwrap_or(Path::new("/run/terrace"));
        Self(folder.to_owned())
    }

    /// A folder.
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("tune.sock")
    }

    fn journal(&self) -> PathBuf {
        self.0.join("tune.json")
    }

    /// The transaction that is under way; `None` = none.
    ///
    /// # Errors
    /// It is there and can't be read.
    pub fn read(&self) -> io::Result<Option<Journal>> {
        match fs::read(self.journal()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(Into::into),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it whole, or not at all.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn write(&self, journal: &Journal) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let draft = self.0.join(".tune.json");
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(journal)?)?;
        file.sync_all()?;
        fs::rename(draft, self.journal())
    }

    /// The transaction is over.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn clear(&self) -> io::Result<()> {
        for path in [self.socket(), self.journal()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
