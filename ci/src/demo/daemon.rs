//! The daemon under demonstration and its command line.

use super::say;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use terrace_testkit::{Background, Netns, wait};

const START: Duration = Duration::from_secs(30);

/// `terrace` with its configuration, in the host's namespace.
pub struct Terrace {
    binary: PathBuf,
    config: PathBuf,
    running: Option<Background>,
    /// Of all daemons so far.
    log: String,
}

impl Terrace {
    pub fn new(binary: &Path, config: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            config: config.to_owned(),
            running: None,
            log: String::new(),
        }
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub fn start(&mut self, host: &Netns) -> Result<()> {
        say::command(&format!("terrace run -c {}", file_name(&self.config)));
        let mut running = host.spawn(self.command(&["run"]))?;
        let ready = wait::until("a ready daemon", START, || match running.exited() {
            Some(status) => Some(Err(status)),
            None => self.is_ready(host).then_some(Ok(())),
        });
        self.log.push_str(&running.log());
        match ready? {
            Ok(()) => self.running = Some(running),
            Err(status) => bail!("terrace run ended ({status})"),
        }
        Ok(())
    }

    fn is_ready(&self, host: &Netns) -> bool {
        self.json(host, &["status"])
            .is_ok_and(|status| status["phase"] == "ready")
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill();
            self.log.push_str(&running.log());
        }
    }

    pub fn stop(&mut self) -> Result<()> {
        let mut running = self.running.take().context("the daemon is not running")?;
        let status = running.stop(START)?;
        self.log.push_str(&running.log());
        if !status.success() {
            bail!("terrace run ended with {status} after SIGTERM");
        }
        Ok(())
    }

    pub fn log(&self) -> String {
        let running = self.running.as_ref().map(Background::log);
        running.unwrap_or_else(|| self.log.clone())
    }

    /// Runs a command of `terrace` and prints what it prints.
    pub fn show(&self, host: &Netns, args: &[&str]) -> Result<String> {
        say::command(&format!("terrace {}", args.join(" ")));
        let text = self.text(host, args)?;
        say::text(&text);
        Ok(text)
    }

    /// Answers of `terrace ... --json`.
    pub fn json(&self, host: &Netns, args: &[&str]) -> Result<Value> {
        let mut all = args.to_vec();
        all.push("--json");
        let text = self.text(host, &all)?;
        serde_json::from_str(&text).with_context(|| format!("output of terrace {}", all.join(" ")))
    }

    fn text(&self, host: &Netns, args: &[&str]) -> Result<String> {
        let output = host.output(&mut self.command(args))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "terrace {} failed ({}): {}",
                args.join(" "),
                output.status,
                said.trim()
            );
        }
        String::from_utf8(output.stdout).context("output of terrace")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--config").arg(&self.config);
        command
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
