//! Drives a load through an arm and reads what it says.

mod frames;
mod pktgen;
mod sender;
mod wrk;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use terrace_testkit::Background;

use crate::agent::{self, Said};
use crate::cpu;
use crate::lab::{Arm, net};
use crate::proof::Sent;
use crate::scenario::{Load, LoadKind};
use frames::Generator;
pub use frames::send_each;
pub use pktgen::availability as pktgen_missing;

/// The most that one segment of GSO carries: bulk is at least so many packets.
const GSO: u64 = 65_536;
/// Above what a client may take to start and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one measurement gave.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub sent: Sent,
    /// Requests, connections, packets or bytes: what the CPU time is divided by.
    pub units: f64,
    pub metrics: Vec<(&'static str, f64)>,
    pub latency: Option<Histogram<u64>>,
    /// Where the client ran.
    pub cpu: Option<usize>,
}

/// The client's side of one arm.
#[derive(Debug)]
pub enum Driver {
    Client,
    Frames(Box<Generator>),
    Pktgen,
}

impl Load {
    /// For a report.
    pub fn shown(&self, rate: Option<f64>) -> String {
        let Self {
            connections, size, ..
        } = self;
        match self.kind {
            LoadKind::Wrk => format!(
                "wrk, closed loop, {connections} connections, GET {}",
                self.path
            ),
            LoadKind::Http => format!(
                "open loop, {:.0} requests/s over {connections} connections, {}, GET {}",
                rate.unwrap_or_default(),
                if self.keep_alive {
                    "kept alive"
                } else {
                    "one request a connection"
                },
                self.path
            ),
            LoadKind::TcpRr => {
                format!(
                    "request and answer of {size} bytes, one at a time over {connections} open connections"
                )
            }
            LoadKind::TcpCrr => format!("connect, request and answer of {size} bytes, close"),
            LoadKind::Bulk => "one TCP stream".to_owned(),
            LoadKind::Download => format!("GET {} whole, 1 GB", self.path),
            LoadKind::Frames => {
                format!("frames of {size} bytes by BPF_F_TEST_XDP_LIVE_FRAMES, 256 flows")
            }
            LoadKind::Afxdp => {
                format!("frames of {size} bytes by an AF_XDP socket in copy mode, 256 flows")
            }
            LoadKind::Pktgen => format!("frames of {size} bytes by the kernel's pktgen"),
            LoadKind::Udp => format!("datagrams of {size} bytes from one socket"),
        }
    }

    /// Whether the load takes the host's uplink for itself, without servers.
    pub fn is_bare(&self) -> bool {
        self.kind.is_generated() || self.kind == LoadKind::Udp
    }
}

impl Driver {
    pub fn new(load: &Load, arm: &Arm) -> Result<Self> {
        match load.kind {
            LoadKind::Frames | LoadKind::Afxdp => {
                let by_socket = load.kind == LoadKind::Afxdp;
                let generator = Generator::new(arm, load.size as usize, by_socket)?;
                Ok(Self::Frames(Box::new(generator)))
            }
            LoadKind::Pktgen => {
                pktgen::availability()?;
                Ok(Self::Pktgen)
            }
            _ => Ok(Self::Client),
        }
    }

    /// Sends for `seconds` from the client's side, on `cpu`.
    pub fn run(
        &self,
        load: &Load,
        arm: &Arm,
        seconds: f64,
        rate: f64,
        cpu: usize,
    ) -> Result<Sample> {
        match (self, load.kind) {
            (Self::Frames(generator), _) => generator.run(arm, seconds, cpu),
            (Self::Pktgen, _) => pktgen::run(arm, load.size, seconds, cpu),
            (_, LoadKind::Wrk) => wrk::run(load, arm, seconds, cpu),
            (_, LoadKind::Udp) => datagrams(load, arm, seconds, cpu),
            _ => client(load, arm, seconds, rate, cpu),
        }
    }
}

/// What the arm can do at most, with enough connections to fill it.
pub fn saturation(load: &Load, arm: &Arm, seconds: f64, cpu: usize) -> Result<f64> {
    let full = Load {
        connections: 32,
        ..load.clone()
    };
    let close = !load.keep_alive;
    let sample = wrk::run_with(&full, arm, seconds, cpu, close)?;
    let found = sample.metrics.iter().find(|(name, _)| *name == "requests");
    found.map(|(_, rate)| *rate).context("wrk says no rate")
}

/// Runs a client of ours to its end.
fn said(arm: &Arm, cpu: usize, args: &[String]) -> Result<Said> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("agent").args(args);
    let text = output(arm, cpu, command)?;
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("a client of ours said: {}", text.trim()))
}

/// What a client prints, run outside of the host and tied to `cpu`.
fn output(arm: &Arm, cpu: usize, command: Command) -> Result<String> {
    let spawn = || -> Result<Background> {
        cpu::pin(cpu)?;
        Ok(Background::spawn(command)?)
    };
    let mut running = arm.net.outside.enter(spawn)??;
    let status = running.wait(PATIENCE)?;
    let text = running.log();
    ensure!(status.success(), "{}: {}", arm.name, text.trim());
    Ok(text)
}

fn word(load: LoadKind) -> &'static str {
    match load {
        LoadKind::TcpRr => "rr",
        LoadKind::TcpCrr => "crr",
        LoadKind::Bulk => "bulk",
        LoadKind::Download => "download",
        LoadKind::Udp => "udp",
        LoadKind::Http | LoadKind::Wrk | LoadKind::Frames | LoadKind::Afxdp | LoadKind::Pktgen => {
            "http"
        }
    }
}

fn client(load: &Load, arm: &Arm, seconds: f64, rate: f64, cpu: usize) -> Result<Sample> {
    let to = match load.kind {
        LoadKind::Http | LoadKind::Download => arm.http(),
        _ => arm.tcp(),
    };
    let said = said(arm, cpu, &args(load, to, seconds, rate))?;
    ensure!(
        said.errors == 0,
        "{} of {} requests failed: {}",
        said.errors,
        said.requests + said.errors,
        said.error.unwrap_or_default()
    );
    sample(load.kind, &said, rate)
}

fn args(load: &Load, to: SocketAddr, seconds: f64, rate: f64) -> Vec<String> {
    let mut args: Vec<String> = [
        word(load.kind),
        "--to",
        &to.to_string(),
        "--seconds",
        &seconds.to_string(),
        "--connections",
        &load.connections.to_string(),
        "--size",
        &load.size.to_string(),
        "--rate",
        &rate.to_string(),
    ]
    .map(str::to_owned)
    .into();
    for path in load.path.split(',') {
        args.extend(["--path".to_owned(), path.to_owned()]);
    }
    if !load.keep_alive {
        args.push("--close".to_owned());
    }
    args
}

fn sample(kind: LoadKind, said: &Said, rate: f64) -> Result<Sample> {
    ensure!(said.seconds > 0.0, "a client of ours measured no time");
    let mut latency = agent::histogram();
    for &(value, count) in &said.latency {
        latency.record_n(value, count)?;
    }
    let at = |percentile: f64| latency.value_at_quantile(percentile) as f64 / 1e3;
    let requests = said.requests as f64;
    let per_second = requests / said.seconds;
    let mut sample = Sample {
        sent: Sent {
            packets: 2 * said.requests,
            connections: said.connections,
            requests: said.requests,
        },
        units: requests,
        cpu: Some(said.cpu),
        ..Sample::default()
    };
    match kind {
        LoadKind::TcpRr => {
            sample.metrics = vec![
                ("requests", per_second),
                ("p50_us", at(0.5)),
                ("p90_us", at(0.9)),
            ]
        }
        LoadKind::TcpCrr => {
            sample.sent.packets = 8 * said.requests;
            sample.metrics = vec![("connections", per_second), ("p50_us", at(0.5))];
        }
        LoadKind::Http => {
            sample.metrics = vec![
                ("p50_us", at(0.5)),
                ("p90_us", at(0.9)),
                ("p99_us", at(0.99)),
                ("p999_us", at(0.999)),
                ("achieved", per_second / rate),
            ];
            sample.latency = Some(latency);
        }
        _ => {
            sample.units = said.bytes as f64 / 1e9;
            sample.sent.packets = said.bytes / GSO;
            sample.metrics = vec![("bits", said.bytes as f64 * 8.0 / said.seconds / 1e9)];
        }
    }
    Ok(sample)
}

/// Datagrams to the remote service, counted when they come back out.
fn datagrams(load: &Load, arm: &Arm, seconds: f64, cpu: usize) -> Result<Sample> {
    let before = net::received(&arm.net.outside)?;
    let to = arm.remote().into();
    let said = said(arm, cpu, &args(load, to, seconds, 1.0))?;
    let arrived = net::received(&arm.net.outside)? - before;
    Ok(packets(
        said.requests,
        arrived,
        said.seconds,
        Some(said.cpu),
    ))
}

/// The sample of a packet generator.
fn packets(sent: u64, arrived: u64, seconds: f64, cpu: Option<usize>) -> Sample {
    Sample {
        sent: Sent {
            packets: arrived,
            connections: 0,
            requests: arrived,
        },
        units: arrived as f64,
        metrics: vec![
            ("packets", arrived as f64 / seconds / 1e6),
            ("loss", 1.0 - arrived as f64 / sent.max(1) as f64),
        ],
        latency: None,
        cpu,
    }
}

/// Whether a program is on the PATH, or at its path.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    program.contains('/') && std::path::Path::new(program).exists()
        || folders.any(|folder| folder.join(program).is_file())
}
