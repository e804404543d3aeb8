//! A peer at work: set up, started, awaited, and taken down with its guard.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use terrace_testkit::{Background, Netns, wait};

use crate::peer::{CounterUnit, Peer, Values};

const TRY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Running {
    peer: Peer,
    values: Values,
    program: Option<Background>,
}

impl Running {
    /// On the host, in the calling thread's namespace and on its CPU.
    pub fn start(peer: Peer, host: &Netns, values: Values, folder: &Path) -> Result<Self> {
        for (name, text) in &peer.files {
            std::fs::write(folder.join(name), values.fill(text))?;
        }
        for line in &peer.setup {
            command_output(&values.fill_all(line))?;
        }
        let program = match values.fill_all(&peer.start) {
            line if line.is_empty() => None,
            line => Some(Background::spawn(command(&line)?)?),
        };
        let mut running = Self {
            peer,
            values,
            program,
        };
        running.wait_ready(host)?;
        Ok(running)
    }

    fn wait_ready(&mut self, host: &Netns) -> Result<()> {
        for address in self.values.fill_all(&self.peer.ready) {
            let to: SocketAddr = address
                .parse()
                .with_context(|| format!("ready: {address}"))?;
            let program = &mut self.program;
            let ended = || program.as_mut().is_some_and(|it| it.exited().is_some());
            let probe = with_end(ended, || TcpStream::connect_timeout(&to, TRY).is_ok());
            let opened = host.enter(|| wait::until(&address, wait::PATIENCE, probe))?;
            if !opened.unwrap_or(false) {
                let log = self.program.as_ref().map(Background::log);
                bail!(
                    "{address} does not open; it says:\n{}",
                    log.unwrap_or_default()
                );
            }
        }
        Ok(())
    }

    /// The peer's own counter, where it has one.
    pub fn counted(&self, host: &Netns) -> Result<Option<u64>> {
        let Some(counter) = &self.peer.counter else {
            return Ok(None);
        };
        let line = self.values.fill_all(&counter.run);
        let printed = host.enter(|| command_output(&line))??;
        Ok(Some(counter.sum(&printed)))
    }

    pub fn unit(&self) -> Option<CounterUnit> {
        self.peer.counter.as_ref().map(|counter| counter.unit)
    }

    /// The first line that its version command prints.
    pub fn version(&self, host: &Netns) -> Option<String> {
        let line = self.values.fill_all(&self.peer.version);
        if line.is_empty() {
            return None;
        }
        let printed = host.enter(|| command_output(&line)).ok()?.ok()?;
        let first = printed.lines().find(|line| !line.trim().is_empty())?;
        Some(first.trim().to_owned())
    }

    pub fn pid(&self) -> Option<u32> {
        self.program.as_ref().map(Background::pid)
    }
}

/// True once it is ready, false once it has ended.
fn with_end(
    mut ended: impl FnMut() -> bool,
    mut ready: impl FnMut() -> bool,
) -> impl FnMut() -> Option<bool> {
    move || match ready() {
        true => Some(true),
        false => ended().then_some(false),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.program = None;
        for line in &self.peer.stop {
            // What the namespace holds goes with it in any case.
            let _ = command_output(&self.values.fill_all(line));
        }
    }
}

fn command(line: &[String]) -> Result<Command> {
    let (program, args) = line.split_first().context("an empty command line")?;
    let mut command = Command::new(program);
    command.args(args);
    Ok(command)
}

/// Standard output, and standard error after it: some print their version there.
fn command_output(line: &[String]) -> Result<String> {
    let output = command(line)?.output();
    let output = output.with_context(|| format!("run `{}`", line.join(" ")))?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("`{}`: {}: {}", line.join(" "), output.status, said.trim());
    }
    Ok(said.into_owned())
}
