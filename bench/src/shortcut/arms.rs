//! The arms of the comparison, and one round of all of them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context as _, Result, ensure};
use terrace_abi::{Limits, Maps};
use terrace_sock::shortcut::{Settings, Shortcut};
use terrace_testkit::{Cgroup, Netns, PinRoot};

use crate::cpu;
use crate::scenario::Cpus;

/// Bytes of one bulk transfer.
pub const BULK: u32 = 128 << 20;
/// Where bulk begins that takes the stack.
const LIMIT: u32 = 64 << 10;
/// Where the proxies listen; the client of the iptables arm asks for REDIRECTED.
const PROXY: &str = "127.0.0.1:15001";
const REDIRECTED: &str = "127.0.0.1:80";

/// How the same requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arm {
    /// Straight to the proxy; Terrace is not there.
    Plain,
    /// Joined.
    On,
    /// In the table, switched off.
    Off,
    /// iptables REDIRECT to the proxy.
    Iptables,
    /// Joined, but bulk takes the stack (bulk only).
    Limited,
}

impl Arm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "without Terrace",
            Self::On => "Terrace (shortcut on)",
            Self::Off => "Terrace (shortcut off)",
            Self::Iptables => "iptables REDIRECT",
            Self::Limited => "Terrace (bulk by the stack)",
        }
    }
}

/// What one arm did in one round.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub arm: Arm,
    /// Median latency in nanoseconds.
    pub p50: f64,
    /// Requests, or bytes, per second.
    pub rate: f64,
}

/// Three processes in a network namespace.
struct Trio {
    _netns: Netns,
    children: Vec<Child>,
    to_client: ChildStdin,
    from_client: BufReader<ChildStdout>,
}

/// Everything, taken down when dropped.
pub struct Arms {
    bare: Trio,
    redirected: Trio,
    shortcut: Shortcut,
    _cgroup: Cgroup,
    _pins: PinRoot,
}

impl Arms {
    /// Each process on its CPU: how the scheduler spreads them decides more than
    /// the way between them.
    pub fn build(cpus: Cpus) -> Result<Self> {
        let cgroup = Cgroup::new()?;
        let pins = PinRoot::new()?;
        let maps = Maps::open(pins.path(), &Limits::small())?;
        let shortcut = Shortcut::load(&maps, 1024)?;
        shortcut.configure(&Settings::default())?;
        let mut bare = Trio::start(&cgroup, cpus, false)?;
        let mut redirected = Trio::start(&cgroup, cpus, true)?;
        bare.tell(&format!("open plain {PROXY}"))?;
        redirected.tell(&format!("open iptables {REDIRECTED}"))?;
        // Only what connects from here on has a place in the table.
        shortcut.attach(&[terrace_sock::Cgroup::open(cgroup.path())?])?;
        bare.tell(&format!("open joined {PROXY}"))?;
        Ok(Self {
            bare,
            redirected,
            shortcut,
            _cgroup: cgroup,
            _pins: pins,
        })
    }

    /// All arms for requests of one size.
    pub fn round(&mut self, size: u32, backwards: bool) -> Result<Vec<Sample>> {
        let mut order = [Arm::Plain, Arm::On, Arm::Off, Arm::Iptables];
        if backwards {
            order.reverse();
        }
        order
            .iter()
            .map(|&arm| self.run(arm, "run", size))
            .collect()
    }

    /// All arms for one long transfer.
    pub fn bulk_round(&mut self, backwards: bool) -> Result<Vec<Sample>> {
        let mut order = [Arm::Plain, Arm::On, Arm::Off, Arm::Iptables, Arm::Limited];
        if backwards {
            order.reverse();
        }
        order
            .iter()
            .map(|&arm| self.run(arm, "bulk", BULK))
            .collect()
    }

    fn run(&mut self, arm: Arm, what: &str, bytes: u32) -> Result<Sample> {
        self.shortcut.configure(&Settings {
            enabled: arm != Arm::Off,
            bulk_bytes: if arm == Arm::Limited { LIMIT } else { 0 },
            ..Settings::default()
        })?;
        let (trio, name) = match arm {
            Arm::Plain => (&mut self.bare, "plain"),
            Arm::On | Arm::Off | Arm::Limited => (&mut self.bare, "joined"),
            Arm::Iptables => (&mut self.redirected, "iptables"),
        };
        let line = trio.tell(&format!("{what} {name} {bytes}"))?;
        let (p50, rate) = line.split_once(' ').context("two numbers")?;
        Ok(Sample {
            arm,
            p50: p50.parse()?,
            rate: rate.parse()?,
        })
    }

    /// Messages that went from socket to socket; an error where none did.
    pub fn joined(&self) -> Result<u64> {
        let counters = self.shortcut.counters()?;
        let ways: Vec<String> = counters
            .reasons
            .iter()
            .map(|count| format!("{} {}", count.messages, count.reason))
            .collect();
        let joined = counters.joined().messages;
        ensure!(
            joined > 0,
            "nothing was joined, so no figure is about the shortcut: {}",
            ways.join(", ")
        );
        Ok(joined)
    }
}

impl Trio {
    fn start(cgroup: &Cgroup, cpus: Cpus, redirect: bool) -> Result<Self> {
        let netns = Netns::new("bench")?;
        if redirect {
            let rule = "-t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 15001";
            netns.run("iptables", &rule.split(' ').collect::<Vec<_>>())?;
        }
        let program = std::env::current_exe()?;
        let program = program.to_str().context("a path in UTF-8")?;
        // A listener belongs to the cgroup in which it was made.
        let start = |cpu: usize, args: &[&str]| -> Result<Child> {
            let mut command = cgroup.command(program);
            command
                .arg("agent")
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            netns.enter(|| {
                cpu::pin(cpu)?;
                Ok(command.spawn()?)
            })?
        };
        let mut server = start(cpus.server, &["chain-server"])?;
        let upstream = first_line(&mut server)?;
        let mut proxy = start(cpus.peer, &["chain-proxy", &upstream])?;
        first_line(&mut proxy)?;
        let mut client = start(cpus.client, &["chain-client"])?;
        Ok(Self {
            to_client: client.stdin.take().context("a pipe")?,
            from_client: BufReader::new(client.stdout.take().context("a pipe")?),
            children: vec![client, proxy, server],
            _netns: netns,
        })
    }

    /// Sends the client a line and waits for its answer.
    fn tell(&mut self, line: &str) -> Result<String> {
        writeln!(self.to_client, "{line}")?;
        let mut answer = String::new();
        self.from_client.read_line(&mut answer)?;
        ensure!(!answer.is_empty(), "the client ended at `{line}`");
        Ok(answer.trim().to_owned())
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn first_line(child: &mut Child) -> Result<String> {
    let mut line = String::new();
    let out = child.stdout.as_mut().context("a pipe")?;
    BufReader::new(out).read_line(&mut line)?;
    ensure!(!line.is_empty(), "a process ended at its start");
    Ok(line.trim().to_owned())
}
