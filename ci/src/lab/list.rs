//! `ci/nic-lab/lab.toml`: kernels, packages and tests.

use crate::{shell, workspace};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lab {
    pub archives: BTreeMap<String, Archive>,
    pub tools: Tools,
    pub kernels: Vec<KernelChoice>,
    pub modules: Modules,
    pub tests: Vec<Test>,
}

/// Suites that packages are taken from: `debian bookworm` is the suite
/// bookworm of the mirror's folder debian.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    #[serde(default = "mirror")]
    pub mirror: String,
    pub suites: Vec<String>,
    /// Nothing of the host counts as installed: what is unpacked stands alone.
    #[serde(default)]
    pub alone: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tools {
    pub archive: String,
    /// Taken from there even where another suite is preferred.
    pub release: String,
    pub packages: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelChoice {
    pub name: String,
    pub archive: String,
    /// A package that depends on today's kernel.
    pub package: String,
    /// Whether netdevsim is built for it.
    pub netdevsim: bool,
    /// What it is built with, where the host's programs are too old.
    #[serde(default)]
    pub builder: Option<Builder>,
}

/// Packages that are unpacked into a root of their own, beside the kernel's headers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Builder {
    pub archive: String,
    pub release: String,
    pub packages: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modules {
    pub boot: Vec<String>,
    pub guest: Vec<String>,
}

/// One virtual machine and what runs in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    pub name: String,
    pub about: String,
    pub kernel: String,
    /// Crates whose tests run.
    #[serde(default)]
    pub suites: Vec<String>,
    /// Of these crates only the test binaries of these names.
    #[serde(default)]
    pub binaries: Vec<String>,
    /// All their test binaries but those of these names.
    #[serde(default)]
    pub without_binaries: Vec<String>,
    /// A test file of `ci/nic-lab/tests`.
    #[serde(default)]
    pub file: Option<String>,
    /// The cases that run, by a part of their names; none = all.
    #[serde(default)]
    pub only: Vec<String>,
    /// Cases that don't run here, by a part of their names: the reason is about
    /// the virtual machine, never about the kernel.
    #[serde(default)]
    pub without: Vec<String>,
    /// What tests say that this kernel lacks (`need!` of the test kit): all of
    /// it and nothing else.
    #[serde(default)]
    pub lacks: BTreeSet<String>,
    /// Variables of the tests, as their files say.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// QEMU devices; two of each, on one wire.
    #[serde(default)]
    pub nics: Vec<String>,
    /// Whether `cargo xtask ci` leaves it out.
    #[serde(default)]
    pub long: bool,
    #[serde(default = "limit_s")]
    pub limit_s: u64,
    #[serde(default = "memory_mb")]
    pub memory_mb: u64,
}

impl Test {
    /// As `--list` shows it.
    pub fn line(&self) -> String {
        let length = if self.long { "long" } else { "ci" };
        let Self {
            name,
            kernel,
            about,
            ..
        } = self;
        format!("{name:14} {kernel:5} {length:5} {about}")
    }
}

fn mirror() -> String {
    "http://deb.debian.org".to_owned()
}

fn limit_s() -> u64 {
    300
}

fn memory_mb() -> u64 {
    1536
}

impl Lab {
    pub fn read() -> Result<Self> {
        let text = shell::read_file(&workspace::root().join("ci/nic-lab/lab.toml"))?;
        toml::from_str(&text).context("ci/nic-lab/lab.toml")
    }

    pub fn archive(&self, name: &str) -> Result<&Archive> {
        let found = self.archives.get(name);
        found.with_context(|| format!("ci/nic-lab/lab.toml has no archive {name}"))
    }

    pub fn kernel(&self, name: &str) -> Result<&KernelChoice> {
        let found = self.kernels.iter().find(|kernel| kernel.name == name);
        found.with_context(|| format!("ci/nic-lab/lab.toml has no kernel {name}"))
    }

    /// The tests of these names, or all.
    pub fn chosen(&self, names: &[String], short: bool) -> Result<Vec<&Test>> {
        for name in names {
            if !self.tests.iter().any(|test| test.name == *name) {
                bail!(
                    "the lab has no test `{name}`: `cargo xtask lab --list` shows its tests, and \
                     `--filter` takes the name of a case"
                );
            }
        }
        let is_chosen = |test: &&Test| match names {
            [] => !(short && test.long),
            names => names.contains(&test.name),
        };
        Ok(self.tests.iter().filter(is_chosen).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_names_a_kernel_and_every_kernel_an_archive() {
        let lab = Lab::read().unwrap();
        for test in &lab.tests {
            lab.kernel(&test.kernel).unwrap();
        }
        for kernel in &lab.kernels {
            lab.archive(&kernel.archive).unwrap();
        }
        lab.archive(&lab.tools.archive).unwrap();
    }

    #[test]
    fn ci_leaves_out_the_long_tests_and_a_name_brings_them_back() {
        let lab = Lab::read().unwrap();
        assert!(lab.chosen(&[], true).unwrap().iter().all(|test| !test.long));
        let long = lab.tests.iter().find(|test| test.long);
        if let Some(test) = long {
            let names = [test.name.clone()];
            assert_eq!(lab.chosen(&names, true).unwrap().len(), 1);
        }
        assert!(lab.chosen(&["nothing".to_owned()], false).is_err());
    }
}
