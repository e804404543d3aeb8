//! A running `terrace` in a host's namespace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use terrace::api::{Flows, ReasonCount, Status, Worker};
use terrace_testkit::{Background, Netns, PinRoot, wait};

use crate::proof::Exit;
use crate::scratch;

const START: Duration = Duration::from_secs(30);

/// `terrace run`; killed on drop, its pins removed.
#[derive(Debug)]
pub struct Daemon {
    running: Background,
    binary: PathBuf,
    folder: TempDir,
    pins: PinRoot,
}

/// What it is told.
#[derive(Debug, Default)]
pub struct Setup {
    /// File names and texts.
    pub manifests: Vec<(String, String)>,
    /// The tier that steers services; anything else = automatic.
    pub wish: String,
    /// Lines of the deny list.
    pub denied: String,
    /// Lines of `[limits]`.
    pub limits: String,
    /// The CPU of the worker, and what it does while nothing comes.
    pub cpu: usize,
    pub wait: Option<String>,
    pub uplink_sockets: Option<String>,
    /// Whether requests may pass in the kernel.
    pub in_kernel: bool,
}

/// What the workers say of themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Received, copies too, and sent.
    pub packets: u64,
    /// System calls: to send and to wait.
    pub calls: u64,
}

impl Daemon {
    /// Starts it in the calling thread's namespace and on its CPU.
    pub fn start(host: &Netns, binary: &Path, setup: &Setup) -> Result<Self> {
        let pins = PinRoot::new()?;
        let folder = scratch::folder()?;
        let files = folder.path().join("manifests");
        std::fs::create_dir(&files)?;
        for (name, text) in &setup.manifests {
            std::fs::write(files.join(name), text)?;
        }
        std::fs::write(folder.path().join("deny.txt"), &setup.denied)?;
        let config = folder.path().join("terrace.toml");
        std::fs::write(&config, configuration(pins.path(), setup))?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(&config);
        let running = Background::spawn(command).context("start terrace")?;
        let mut daemon = Self {
            running,
            binary: binary.to_owned(),
            folder,
            pins,
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

    /// Every counter, over all interfaces.
    pub fn exits(&self, host: &Netns) -> Result<BTreeMap<Exit, u64>> {
        let counts: Vec<ReasonCount> =
            serde_json::from_value(self.json(host, &["reasons", "--all"])?)?;
        let mut exits = BTreeMap::new();
        for count in counts {
            let exit = Exit {
                hook: count.hook,
                reason: count.reason,
                class: count.class,
            };
            *exits.entry(exit).or_default() += count.packets;
        }
        Ok(exits)
    }

    /// Since the start; None without workers.
    pub fn work(&self, host: &Netns) -> Result<Option<Work>> {
        let status: Status = serde_json::from_value(self.json(host, &["status"])?)?;
        let sum = |of: fn(&Worker) -> u64| status.l7_workers.iter().map(of).sum();
        let work = Work {
            packets: sum(|worker| worker.packets + worker.copies + worker.sent),
            calls: sum(|worker| worker.kicks + worker.waits),
        };
        Ok((!status.l7_workers.is_empty()).then_some(work))
    }

    /// Connections in its table.
    pub fn tracked(&self, host: &Netns) -> Result<usize> {
        let flows = self.json(host, &["flows", "--limit", "1"])?;
        let flows: Flows = serde_json::from_value(flows)?;
        Ok(flows.total)
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Where its maps are pinned.
    pub fn pins(&self) -> &Path {
        self.pins.path()
    }

    /// Writes a file of its folder, as `deny.txt` or `manifests/...`, and waits
    /// until that is in effect.
    pub fn change(&self, host: &Netns, name: &str, text: &str) -> Result<Duration> {
        let start = Instant::now();
        std::fs::write(self.folder.path().join(name), text)?;
        self.json(host, &["reload"])?;
        Ok(start.elapsed())
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

fn configuration(pins: &Path, setup: &Setup) -> String {
    let pins = pins.display();
    let limits = &setup.limits;
    let cpu = setup.cpu;
    let wait = setup.wait.as_deref().unwrap_or("poll");
    let in_kernel = setup.in_kernel;
    let sockets = setup.uplink_sockets.as_deref().unwrap_or("auto");
    let wish = setup.wish.as_str();
    let wishes = match wish {
        "tc" => "[interfaces.tiers.steer]\ntc = \"require\"\n[interfaces.tiers.prefilter]\ntc = \"require\"\n".to_owned(),
        "xdp-native" | "xdp-generic" => {
            format!("[interfaces.tiers.steer]\n{wish} = \"require\"\n")
        }
        _ => String::new(),
    };
    format!(
        "manifests = \"manifests\"\ndeny_lists = [\"deny.txt\"]\nnode_name = \"bench\"\ncontrol_socket = \"terrace.sock\"\nmetrics_listen = \"off\"\npin_root = \"{pins}\"\n\n[[interfaces]]\nmatch = \"up*\"\nrole = \"uplink\"\n{wishes}\n[[interfaces]]\nmatch = \"w*\"\nrole = \"workload\"\n\n[l7]\nworkers = 1\ncpus = [{cpu}]\nwait = \"{wait}\"\nin_kernel = {in_kernel}\nuplink_sockets = \"{sockets}\"\n\n[limits]\n{limits}"
    )
}
