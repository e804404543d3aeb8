//! What a virtual machine is to do, as a folder that it sees.

use super::cache::Cache;
use super::list::Test;
use super::steps::Step;
use crate::{shell, workspace};
use anyhow::{Context, Result};
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

/// With a shell after the steps.
pub fn write(cache: &Cache, test: &Test, steps: &[Step<'_>], with_shell: bool) -> Result<Job> {
    let dir = tempfile::Builder::new()
        .prefix(&format!("{}-", test.name))
        .tempdir_in(cache.jobs())
        .context("a folder for a job")?;
    let guest = workspace::root().join("ci/nic-lab/guest/guest");
    fs::copy(guest, dir.path().join("guest")).context("the guest's script")?;
    fs::write(dir.path().join("job"), script(test, steps, with_shell)).context("a job's script")?;
    Ok(Job { dir })
}

fn script(test: &Test, steps: &[Step<'_>], with_shell: bool) -> String {
    let mut script = format!("export LAB_KERNEL={}\n", test.kernel);
    for (name, value) in &test.env {
        script.push_str(&format!("export {name}={}\n", shell::quoted(value)));
    }
    if with_shell {
        script.push_str("shell=yes\n");
    }
    for step in steps {
        let binary = step.binary;
        let mut words = vec![
            "step".to_owned(),
            format!("{}/{}", binary.package, binary.target),
            quoted(&binary.folder),
            quoted(&binary.executable),
        ];
        words.extend(step.arguments.iter().map(|word| shell::quoted(word)));
        // The lab's own tests have the machine to themselves, one at a time.
        if test.file.is_some() {
            words.push("--test-threads=1".to_owned());
        }
        script.push_str(&words.join(" "));
        script.push('\n');
    }
    script
}

fn quoted(path: &Path) -> String {
    shell::quoted(&path.to_string_lossy())
}
