//! Finds and reads the manifests of a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Fault, Faults};

const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// Kubernetes refuses objects above 1.5 MB; a file may hold many of them.
const MAX_BYTES: u64 = 256 << 20;

/// All manifests below the paths, which are files or folders, by name.
///
/// Names that begin with a dot are left out: editors and ConfigMap volumes
/// keep their own files there. A folder without manifests is empty, not wrong.
///
/// # Errors
/// Every path that can't be read, or is not UTF-8.
pub fn read(paths: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, Faults> {
    let mut files = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        if let Err(error) = find(path, &mut files) {
            let fix = "make it, or name another one in `manifests`";
            faults.push(fault(path, &format!("can't be read: {error}"), fix));
        }
    }
    files.sort();
    files.dedup();
    let mut texts = Vec::with_capacity(files.len());
    for file in files {
        match text_of(&file) {
            Ok(text) => texts.push((file, text)),
            Err(error) => {
                let fix = "mend it, or move it out of the folder";
                faults.push(fault(&file, &format!("can't be read: {error}"), fix));
            }
        }
    }
    if faults.is_empty() {
        Ok(texts)
    } else {
        Err(Faults(faults))
    }
}

/// True when a file of this name in the folder would be read.
pub fn is_manifest(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let known = path
        .extension()
        .is_some_and(|e| ENDINGS.iter().any(|ending| e == *ending));
    !hidden && known
}

fn find(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        match hidden {
            true => {}
            false if path.is_dir() => find(&path, files)?,
            false if is_manifest(&path) => files.push(path),
            false => {}
        }
    }
    Ok(())
}

fn text_of(file: &Path) -> io::Result<String> {
    let bytes = fs::metadata(file)?.len();
    if bytes > MAX_BYTES {
        return Err(io::Error::other(format!(
            "{bytes} bytes is more than {MAX_BYTES}"
        )));
    }
    fs::read_to_string(file)
}

fn fault(path: &Path, what: &str, fix: &str) -> Fault {
    Fault {
        file: path.to_owned(),
        line: 0,
        key: String::new(),
        what: what.to_owned(),
        fix: fix.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_by_name_without_hidden_and_foreign_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir_all(root.join("..data")).unwrap();
        let names = [
            "b.yaml",
            "a.yml",
            "c.json",
            "sub/d.yaml",
            "x.txt",
            ".e.yaml",
            "..data/f.yaml",
        ];
        for name in names {
            fs::write(root.join(name), name).unwrap();
        }
        let read = read(&[root.to_owned()]).unwrap();
        let found: Vec<&str> = read.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(found, ["a.yml", "b.yaml", "c.json", "sub/d.yaml"]);
    }

    #[test]
    fn everything_that_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bad.yaml"), [0xff, 0xfe]).unwrap();
        let paths = [folder.path().to_owned(), "/nowhere".into()];
        let Faults(faults) = read(&paths).unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
