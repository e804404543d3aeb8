//! Clients and servers of the loads. Each runs as a process of its own
//! (`terrace-bench agent ...`, not for people), tied to its CPU, and prints
//! what it saw as one line of JSON.

mod bulk;
mod calls;
mod exchange;
mod http;
mod response;
mod serve;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::shortcut::roles;

#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Answers requests and takes bulk, until it is killed
    Serve {
        #[arg(long)]
        port: u16,
    },
    /// One request after the other, taking turns over open connections
    Rr(Target),
    /// One request a connection, one after the other
    Crr(Target),
    /// One stream of bytes to the server
    Bulk(Target),
    /// One body after the other over HTTP
    Download(Target),
    /// Datagrams to nobody
    Udp(Target),
    /// Requests at a constant rate
    Http(Target),
    /// Calls at which programs of sockets run
    Calls(calls::Calls),
    /// The server of the same-host chain
    ChainServer,
    /// Its proxy
    ChainProxy { upstream: String },
    /// Its client, told line by line
    ChainClient,
}

#[derive(Debug, Clone, Args)]
pub struct Target {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    seconds: f64,
    #[arg(long, default_value_t = 1)]
    connections: u32,
    /// Bytes of a request and of its answer, or of a datagram
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Requests a second
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Paths to ask for in turn; the answer must begin with the first letter
    /// after the slash, where there is one
    #[arg(long = "path", default_value = "/")]
    paths: Vec<String>,
    #[arg(long)]
    close: bool,
}

impl Target {
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// What a client saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Said {
    pub seconds: f64,
    pub requests: u64,
    pub connections: u64,
    pub bytes: u64,
    pub errors: u64,
    /// The first error.
    pub error: Option<String>,
    /// Nanoseconds and how often, rising.
    pub latency: Vec<(u64, u64)>,
    /// Where it ran.
    pub cpu: usize,
}

pub fn run(options: &Options) -> Result<()> {
    let said = match &options.role {
        Role::Serve { port } => return serve::serve(*port),
        Role::ChainServer => return roles::server(),
        Role::ChainProxy { upstream } => return roles::proxy(upstream),
        Role::ChainClient => return roles::client(),
        Role::Rr(target) => exchange::turns(target)?,
        Role::Crr(target) => exchange::connects(target)?,
        Role::Bulk(target) => bulk::send(target)?,
        Role::Download(target) => bulk::download(target)?,
        Role::Udp(target) => bulk::datagrams(target)?,
        Role::Http(target) => http::run(target)?,
        Role::Calls(calls) => calls::run(calls)?,
    };
    let cpu = rustix::thread::sched_getcpu();
    println!("{}", serde_json::to_string(&Said { cpu, ..said })?);
    Ok(())
}

/// Latencies in nanoseconds, to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are possible")
}

/// As [`Said::latency`] has it.
fn recorded(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let values = histogram.iter_recorded();
    values
        .map(|value| (value.value_iterated_to(), value.count_at_value()))
        .collect()
}
