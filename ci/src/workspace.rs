//! Where things are in the workspace.

use crate::shell;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The workspace's root folder: the parent of this crate's.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("ci/ has a parent")
}

pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Tracked files and new ones that nothing ignores, relative to the root.
pub fn files() -> Result<Vec<PathBuf>> {
    let listed = shell::read(&mut shell::command(
        "git",
        &["ls-files", "--cached", "--others", "--exclude-standard"],
    ))?;
    let files = listed.lines().map(PathBuf::from);
    Ok(files.filter(|file| root().join(file).is_file()).collect())
}

/// What `cargo metadata` says.
pub fn metadata() -> Result<serde_json::Value> {
    let text = shell::read(&mut shell::cargo(&[
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]))?;
    serde_json::from_str(&text).context("output of cargo metadata")
}
