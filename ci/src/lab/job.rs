//! What a virtual machine is to do, as a folder that it sees.

use super::Options;
use super::binaries::{self, Binary};
use super::cache::Cache;
use super::list::Test;
use crate::{shell, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The folder, gone when dropped.
pub struct Job {
    dir: TempDir,
}

impl Job {
    pub fn initrd(&self) -> PathBuf {
        self.dir.path().join("initrd.cpio")
    }

    pub fn name(&self) -> String {
        let name = self.dir.path().file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

pub fn write(cache: &Cache, test: &Test, all: &[Binary], options: &Options) -> Result<Job> {
    let dir = tempfile::Builder::new()
        .prefix(&format!("{}-", test.name))
        .tempdir_in(cache.dir.join("jobs"))
        .context("a folder for a job")?;
    let guest = workspace::root().join("ci/nic-lab/guest/guest");
    fs::copy(guest, dir.path().join("guest")).context("the guest's script")?;
    let ours: Vec<&Binary> = all.iter().filter(|binary| belongs(test, binary)).collect();
    if ours.is_empty() {
        bail!("lab test {} has nothing to run", test.name);
    }
    fs::write(dir.path().join("job"), script(test, &ours, options)).context("a job's script")?;
    Ok(Job { dir })
}

fn belongs(test: &Test, binary: &Binary) -> bool {
    match &test.file {
        Some(file) if binary.package == binaries::LAB => *file == binary.target,
        _ => test.suites.contains(&binary.package),
    }
}

fn script(test: &Test, binaries: &[&Binary], options: &Options) -> String {
    let mut script = format!("export LAB_KERNEL={}\n", test.kernel);
    for (name, value) in &test.env {
        script.push_str(&format!("export {name}={}\n", shell::quoted(value)));
    }
    if options.shell {
        script.push_str("shell=yes\n");
    }
    for binary in binaries {
        let words = [
            "step".to_owned(),
            format!("{}/{}", binary.package, binary.target),
            quoted(&binary.folder),
            quoted(&binary.executable),
        ];
        script.push_str(&words.join(" "));
        if let Some(filter) = &options.filter {
            script.push_str(&format!(" {}", shell::quoted(filter)));
        }
        for part in &test.only {
            script.push_str(&format!(" {}", shell::quoted(part)));
        }
        for part in &test.without {
            script.push_str(&format!(" --skip {}", shell::quoted(part)));
        }
        // The lab's own tests have the machine to themselves, one at a time.
        if test.file.is_some() {
            script.push_str(" --test-threads=1");
        }
        script.push('\n');
    }
    script
}

fn quoted(path: &Path) -> String {
    shell::quoted(&path.to_string_lossy())
}
