//! Embeds the data files, so that the binary needs none of them.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Error};
use std::path::{Path, PathBuf};

const FOLDERS: [(&str, &str); 3] = [
    ("DRIVERS", "drivers"),
    ("SITUATIONS", "situations"),
    ("RULES", "rules"),
];

fn main() -> io::Result<()> {
    let of = |name: &str| env::var(name).map_err(Error::other);
    let here = PathBuf::from(of("CARGO_MANIFEST_DIR")?);
    let mut code = String::new();
    for (name, folder) in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        let files = toml_files(&here.join(folder))?;
        let _ = writeln!(code, "pub const {name}: &[(&str, &str)] = &[");
        for file in files {
            let shown = format!("{folder}/{}", file_name(&file));
            let path = file.display().to_string();
            let _ = writeln!(code, "    ({shown:?}, include_str!({path:?})),");
        }
        code.push_str("];\n");
    }
    fs::write(PathBuf::from(of("OUT_DIR")?).join("files.rs"), code)
}

fn toml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
