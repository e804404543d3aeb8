//! A running `terrace` in a host's namespace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use terrace_testkit::{Background, Netns, PinRoot, wait};

const START: Duration = Duration::from_secs(30);

/// `terrace run`; killed on drop, its pins removed.
#[derive(Debug)]
pub struct Daemon {
    running: Background,
    binary: PathBuf,
    folder: TempDir,
    _pins: PinRoot,
}

impl Daemon {
    /// Starts it with these manifests; `xdp` = services at native XDP, else
    /// everything at tc.
    pub fn start(host: &Netns, binary: &Path, manifests: &str, xdp: bool) -> Result<Self> {
        let pins = PinRoot::new()?;
        let folder = TempDir::with_prefix("terrace-bench-")?;
        let files = folder.path().join("manifests");
        std::fs::create_dir(&files)?;
        std::fs::write(files.join("bench.yaml"), manifests)?;
        let config = folder.path().join("terrace.toml");
        std::fs::write(&config, configuration(pins.path(), xdp))?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(&config);
        let running = host.spawn(command).context("start terrace")?;
        let mut daemon = Self {
            running,
            binary: binary.to_owned(),
            folder,
            _pins: pins,
        };
        daemon.wait_ready(host)?;
        Ok(daemon)
    }

    fn wait_ready(&mut self, host: &Netns) -> Result<()> {
        let ready = wait::until("a ready daemon", START, || {
            if self.running.exited().is_some() {
                return Some(false);
            }
            let status = self.json(host, &["status"]).ok()?;
            (status["phase"] == "ready").then_some(true)
        });
        if matches!(ready, Ok(true)) {
            return Ok(());
        }
        bail!("terrace run is not ready:\n{}", self.running.log())
    }

    /// Packets counted under `reason`, over all interfaces and hooks.
    pub fn count(&self, host: &Netns, reason: &str) -> Result<u64> {
        let counts = self.json(host, &["reasons", "--all"])?;
        let rows = counts.as_array().context("reasons is no array")?;
        let rows = rows.iter().filter(|row| row["reason"] == reason);
        Ok(rows.filter_map(|row| row["packets"].as_u64()).sum())
    }

    fn json(&self, host: &Netns, args: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.binary);
        let config = self.folder.path().join("terrace.toml");
        command.args(args).arg("--json").arg("--config").arg(config);
        let output = host.output(&mut command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "terrace {}: {said}",
            args.join(" ")
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn configuration(pins: &Path, xdp: bool) -> String {
    let pins = pins.display();
    let wishes = if xdp {
        "[interfaces.tiers.steer]\nxdp-native = \"require\"\n"
    } else {
        "[interfaces.tiers.steer]\ntc = \"require\"\n[interfaces.tiers.prefilter]\ntc = \"require\"\n"
    };
    format!(
        "manifests = \"manifests\"\nnode_name = \"bench\"\ncontrol_socket = \"terrace.sock\"\nmetrics_listen = \"off\"\npin_root = \"{pins}\"\n\n[[interfaces]]\nmatch = \"up*\"\nrole = \"uplink\"\n{wishes}\n[[interfaces]]\nmatch = \"w*\"\nrole = \"workload\"\n"
    )
}
