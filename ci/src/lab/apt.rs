//! Debian packages fetched into a folder: apt with sources, lists and archives
//! of its own, so that the host's apt is not touched and nobody must be root.

use super::list::Archive;
use crate::shell::{self, captured};
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const FRESH: Duration = Duration::from_secs(12 * 3600);

/// One private apt.
pub struct Apt {
    root: PathBuf,
}

impl Apt {
    /// Makes it, and fetches the lists unless they are fresh. Old lists do when
    /// the archive can't be reached.
    pub fn open(root: &Path, archive: &Archive) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg-deb"] {
            if !shell::exists(program) {
                bail!("the kernels are Debian packages, and this machine has no {program}");
            }
        }
        let apt = Self { root: root.into() };
        for dir in ["etc", "lists/partial", "cache/archives/partial", "none"] {
            fs::create_dir_all(root.join(dir))
                .with_context(|| format!("make {dir} of the lab's apt"))?;
        }
        fs::write(root.join("etc/sources.list"), sources(archive))?;
        fs::write(root.join("apt.conf"), apt.configuration(archive.alone)?)?;
        let stamp = root.join("updated");
        let age = |path: &Path| {
            SystemTime::now()
                .duration_since(fs::metadata(path).ok()?.modified().ok()?)
                .ok()
        };
        if age(&stamp).is_some_and(|age| age < FRESH) {
            return Ok(apt);
        }
        match quietly(&mut apt.command("apt-get", &["update", "-q", "--error-on=any"])) {
            Ok(_) => fs::write(&stamp, "")?,
            Err(error) if stamp.exists() => {
                eprintln!("lab: {error:#}; going on with the lists of the last time");
            }
            Err(error) => return Err(error),
        }
        Ok(apt)
    }

    fn configuration(&self, alone: bool) -> Result<String> {
        let root = self.root.display();
        // What the host has need not be fetched.
        let status = match !alone && Path::new("/var/lib/dpkg/status").exists() {
            true => "/var/lib/dpkg/status".to_owned(),
            false => format!("{root}/status"),
        };
        fs::write(self.root.join("status"), "")?;
        Ok(format!(
            "Dir \"{root}\";\nDir::Etc \"{root}/etc\";\nDir::Etc::parts \"{root}/none\";\n\
             Dir::Etc::preferencesparts \"{root}/none\";\nDir::Etc::sourceparts \"{root}/none\";\n\
             Dir::State \"{root}\";\nDir::State::lists \"{root}/lists\";\nDir::State::status \"{status}\";\n\
             Dir::Cache \"{root}/cache\";\nAPT::Sandbox::User \"\";\nAcquire::Languages \"none\";\n\
             APT::Get::Assume-Yes \"true\";\nAPT::Install-Recommends \"false\";\nDebug::NoLocking \"true\";\n"
        ))
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = shell::command(program, args);
        command.env("APT_CONFIG", self.root.join("apt.conf"));
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// The packages that `package` depends on, as far as they are named so.
    pub fn depends(&self, package: &str) -> Result<Vec<String>> {
        let said = captured(&mut self.command("apt-cache", &["depends", package]))?;
        let names = said
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).collect())
    }

    /// The version that would be fetched; `release` is preferred unless empty.
    pub fn version(&self, package: &str, release: &str) -> Result<String> {
        let mut command = self.command("apt-cache", &["policy"]);
        if !release.is_empty() {
            command.args(["-t", release]);
        }
        let said = captured(command.arg(package))?;
        let found = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate: "));
        match found {
            Some(version) if version != "(none)" => Ok(version.to_owned()),
            _ => bail!("Debian's archive has no package {package} today"),
        }
    }

    /// Fetches exactly these packages (`name` or `name=version`) and unpacks them.
    pub fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let dir = tempfile::tempdir_in(&self.root).context("a folder for packages")?;
        let mut command = self.command("apt-get", &["download", "-q"]);
        quietly(command.args(packages).current_dir(dir.path()))?;
        unpack(&debs(dir.path())?, into)
    }

    /// Fetches these and what they need beyond the host's packages, unpacked.
    pub fn unpack_closure(&self, release: &str, packages: &[String], into: &Path) -> Result<()> {
        let archives = self.root.join("cache/archives");
        let mut command = self.command(
            "apt-get",
            &[
                "install",
                "-q",
                "--download-only",
                "--reinstall",
                "-t",
                release,
            ],
        );
        quietly(command.args(packages))?;
        unpack(&debs(&archives)?, into)?;
        captured(&mut self.command("apt-get", &["clean"]))?;
        Ok(())
    }
}

/// Runs apt-get; of all that it says an error has what is wrong first.
fn quietly(command: &mut Command) -> Result<()> {
    let failed = |error: anyhow::Error| {
        let whole = format!("{error:#}");
        match fault(&whole) {
            Some(fault) => anyhow!("apt-get: {fault}"),
            None => error,
        }
    };
    captured(command).map(drop).map_err(failed)
}

fn fault(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("E: ")?;
    rest.lines().next().map(str::trim)
}

fn sources(archive: &Archive) -> String {
    let signed = match Path::new(KEYRING).exists() {
        true => format!("[signed-by={KEYRING}] "),
        false => String::new(),
    };
    let mirror = &archive.mirror;
    let line = |suite: &String| format!("deb {signed}{mirror}/{suite} main\n");
    archive.suites.iter().map(line).collect()
}

fn debs(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "deb"))
        .collect())
}

/// Unpacks packages over each other, into a tree where /bin, /sbin and /lib are
/// in /usr.
fn unpack(files: &[PathBuf], into: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(into.join("usr").join(name))?;
        let link = into.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(format!("usr/{name}"), link)?;
        }
    }
    for file in files {
        let mut command = shell::command("sh", &["-c", UNPACK, "sh"]);
        captured(command.arg(file).arg(into))?;
    }
    Ok(())
}

const UNPACK: &str =
    "dpkg-deb --fsys-tarfile \"$1\" | tar -x --no-same-owner --keep-directory-symlink -C \"$2\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_apt_says_the_first_fault_is_told() {
        let said = "Ign:1 http://x InRelease\nReading package lists... E: Failed to fetch \
                    http://x  Temporary failure resolving 'x'\nE: Some index files failed";
        let expected = "Failed to fetch http://x  Temporary failure resolving 'x'";
        assert_eq!(fault(said), Some(expected));
        assert_eq!(fault("killed"), None);
    }
}
