//! `setup`: the Debian packages that build, tests and demo need.

use crate::{packages, shell};
use anyhow::{Context, Result, bail};
use std::fs::{OpenOptions, remove_file};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Installs what is missing, or says what to do and stops.
pub fn run() -> Result<()> {
    let wanted = packages::wanted();
    if !shell::exists("dpkg-query") {
        bail!(cannot_install(
            &wanted,
            "this is no Debian (no dpkg-query found)"
        ));
    }
    let missing = packages::missing(&wanted, &installed()?);
    if missing.is_empty() {
        return Ok(());
    }
    if !shell::is_root() {
        bail!(cannot_install(&missing, "only root may install packages"));
    }
    if !shell::exists("apt-get") {
        bail!(cannot_install(&missing, "there is no apt-get"));
    }
    install(&missing)?;
    let still = packages::missing(&wanted, &installed()?);
    if !still.is_empty() {
        bail!(
            "apt-get succeeded, yet these are not installed: {}",
            still.join(" ")
        );
    }
    Ok(())
}

fn installed() -> Result<String> {
    shell::read(&mut shell::command(
        "dpkg-query",
        &["-W", "-f", "${Package} ${db:Status-Status}\n"],
    ))
}

fn install(missing: &[&str]) -> Result<()> {
    println!("setup: installing {}", missing.join(" "));
    let _quiet = NoServices::begin()?;
    // One source that can't be reached is no reason to stop: the next step tells.
    if let Err(error) = apt(&["update", "-q"]) {
        eprintln!("setup: {error:#}; going on with the lists that are there");
    }
    let mut args = vec!["install", "-y", "-q", "--no-install-recommends"];
    args.extend(missing);
    apt(&args)?;
    if missing.contains(&"nginx-light") && shell::exists("systemctl") {
        // Only tests run nginx here; a machine without systemd as init refuses.
        let _ = shell::run(&mut shell::command(
            "systemctl",
            &["disable", "-q", "nginx"],
        ));
    }
    Ok(())
}

fn apt(args: &[&str]) -> Result<()> {
    let mut command = shell::command("apt-get", args);
    shell::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
}

fn cannot_install(packages: &[&str], why: &str) -> String {
    format!(
        "these Debian packages are needed:\n  {}\nand cannot be installed: {why}.\n\
         As root on Debian 12 or later: apt-get update && apt-get install -y {}\n\
         Elsewhere: install what gives the same programs and headers; ci/packages.txt says what each is for.",
        packages.join("\n  "),
        packages.join(" ")
    )
}

/// While it lives, Debian's packages start no service when they are installed:
/// nginx must not take port 80 of the machine.
struct NoServices {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn begin() -> Result<Self> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY);
        match made {
            Ok(mut file) => {
                let guard = Self { ours: true };
                file.write_all(b"#!/bin/sh\nexit 101\n")
                    .with_context(|| format!("write {POLICY}"))?;
                Ok(guard)
            }
            // The machine has a policy of its own.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error).with_context(|| format!("make {POLICY}")),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = remove_file(Path::new(POLICY));
        }
    }
}
