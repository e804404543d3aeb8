//! Test binaries for the guest, built here: the guest has no compiler.

use super::list::Test;
use crate::shell;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;

pub struct Binary {
    /// The crate's name.
    pub package: String,
    /// The test file's, or the crate's own.
    pub target: String,
    pub executable: PathBuf,
    /// Where cargo would run it.
    pub folder: PathBuf,
}

/// The crate of the lab's own test files.
pub const LAB: &str = "terrace-nic-lab";

pub fn build(tests: &[&Test]) -> Result<Vec<Binary>> {
    let mut packages: BTreeSet<&str> = tests
        .iter()
        .flat_map(|test| test.suites.iter().map(String::as_str))
        .collect();
    let mut args = vec![
        "test",
        "--no-run",
        "--locked",
        "--message-format=json-render-diagnostics",
    ];
    if tests.iter().any(|test| test.file.is_some()) {
        packages.insert(LAB);
        // Its tests are built for nobody else.
        args.extend(["--features", "terrace-nic-lab/guest"]);
        shell::run(&mut shell::cargo(&["build", "--locked", "-p", "terrace"]))?;
    }
    for package in packages {
        args.extend(["-p", package]);
    }
    let mut command = shell::cargo(&args);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!("the tests for the lab do not build");
    }
    let text = String::from_utf8(output.stdout).context("output of cargo")?;
    Ok(text.lines().filter_map(binary).collect())
}

/// A line that cargo writes for a test binary.
fn binary(line: &str) -> Option<Binary> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let id = message["package_id"].as_str()?;
    Some(Binary {
        package: package_name(id)?,
        target: message["target"]["name"].as_str()?.to_owned(),
        executable: message["executable"].as_str()?.into(),
        folder: manifest.parent()?.into(),
    })
}

/// `path+file:///tree/xdp#terrace-xdp@0.1.0`, or without a name when the folder
/// has it.
fn package_name(id: &str) -> Option<String> {
    let (path, rest) = id.rsplit_once('#')?;
    let name = match rest.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next()?,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_words_for_a_package_give_its_name() {
        for (id, expected) in [
            ("path+file:///tree/xdp#terrace-xdp@0.1.0", "terrace-xdp"),
            ("path+file:///tree/terrace#0.1.0", "terrace"),
        ] {
            assert_eq!(package_name(id).as_deref(), Some(expected), "{id}");
        }
    }
}
