//! Where things are pinned: `<root>/maps`, `<root>/links`, `<root>/progs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, sys};

const BPFFS: &str = "/sys/fs/bpf";

/// The folders of a pin root.
pub const FOLDERS: [&str; 3] = ["links", "progs", "maps"];

/// Makes the folders of `root`, mounting the BPF file system if it is missing.
pub fn prepare(root: &Path) -> Result<(), Error> {
    let bpffs = Path::new(BPFFS);
    if root.starts_with(bpffs) && !on_bpffs(bpffs)? {
        sys::mount_bpffs(bpffs).map_err(|source| Error::Mount {
            path: bpffs.into(),
            source,
        })?;
    }
    for folder in FOLDERS {
        let path = root.join(folder);
        let existing = path.ancestors().find(|path| path.exists()).unwrap_or(bpffs);
        if !on_bpffs(existing)? {
            return Err(Error::NotBpffs { path: root.into() });
        }
        fs::create_dir_all(&path).map_err(|source| error("make", &path, source))?;
    }
    Ok(())
}

fn on_bpffs(path: &Path) -> Result<bool, Error> {
    match sys::is_bpffs(path) {
        Ok(answer) => Ok(answer),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(error("look at", path, source)),
    }
}

/// Everything pinned under `root`; empty if there is nothing.
pub fn list(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        found.extend(list_folder(&root.join(folder))?);
    }
    Ok(found)
}

/// Everything pinned in one folder, sorted by name; empty if there is none.
pub fn list_folder(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(error("list", folder, source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        found.push(
            entry
                .map_err(|source| error("list", folder, source))?
                .path(),
        );
    }
    found.sort();
    Ok(found)
}

/// An interface's name as part of a pin's: bpffs refuses dots.
pub fn escape(iface: &str) -> String {
    iface.replace('%', "%25").replace('.', "%2e")
}

/// Removes one pin; one that is not there is no error.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(error("remove", path, source))
        }
        _ => Ok(()),
    }
}

/// Removes `root` with everything pinned there. Links end with their pins;
/// programs attached through netlink and clsact stay: detach those first.
pub fn remove_all(root: &Path) -> Result<(), Error> {
    for path in list(root)? {
        remove(&path)?;
    }
    for folder in FOLDERS
        .map(|folder| root.join(folder))
        .iter()
        .map(PathBuf::as_path)
        .chain([root])
    {
        match fs::remove_dir(folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(error("remove", folder, source));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Pin {
        action,
        path: path.into(),
        source,
    }
}
