//! Folders that go away with their guard; those of a killed run go with the
//! next one.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

const PREFIX: &str = "terrace-bench";
static NEXT: AtomicU32 = AtomicU32::new(0);

/// `terrace-bench-PID-N` in the folder of temporary files.
pub fn folder() -> Result<TempDir> {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{PREFIX}-{}-{n}", std::process::id());
    let made = tempfile::Builder::new()
        .rand_bytes(0)
        .prefix(&name)
        .tempdir();
    made.with_context(|| format!("make {name} in {}", std::env::temp_dir().display()))
}

/// Removes those whose process has ended.
pub fn sweep() {
    let folder = std::env::temp_dir();
    for name in terrace_testkit::left_overs_in(&folder) {
        if name.starts_with(PREFIX) {
            // Somebody else's sweep may be faster.
            let _ = std::fs::remove_dir_all(folder.join(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_a_dead_process_is_swept_and_one_of_a_living_one_is_not() {
        let alive = folder().expect("a folder");
        // No process has a number above the kernel's largest (PID_MAX_LIMIT).
        let dead = std::env::temp_dir().join("terrace-bench-99999999-0");
        std::fs::create_dir_all(dead.join("inside")).expect("a folder");
        sweep();
        assert!(!dead.exists());
        assert!(alive.path().exists());
    }
}
