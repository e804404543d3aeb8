//! How long connect() takes: to a backend itself, to a service translated by
//! the socket tier, by nftables (a map, as kube-proxy writes it) and by
//! iptables (a rule a service), with 1 to 10,000 services.
//!
//! `cargo run --release -p terrace-sock --example connect [ROUNDS]` as root. All
//! ways take turns in one run; each line has the median of the rounds' medians,
//! the fastest round's median (on a machine that does other things too, the one
//! least disturbed), and their ratios to the backend itself.

#![allow(
    dead_code,
    reason = "the tables of the tests have more than this needs"
)]

mod ways;

#[path = "../../tests/sockets/tables.rs"]
mod tables;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context as _, Result};
use terrace_testkit::Netns;

use ways::{Lab, WAYS, Way};

const SERVICES: [u32; 5] = [1, 10, 100, 1_000, 10_000];
const CONNECTS: usize = 200;
const ROUNDS: usize = 15;

fn main() -> Result<()> {
    let rounds = match std::env::args().nth(1) {
        Some(text) => text.parse().context("a number of rounds")?,
        None => ROUNDS,
    };
    println!(
        "connect(), median of {rounds} rounds of {CONNECTS} each; a random service each time\n\n\
         | services | way | median us | ratio | fastest us | ratio |\n|---:|---|---:|---:|---:|---:|"
    );
    for services in SERVICES {
        let lab = Lab::new(services)?;
        let medians = measure(&lab, rounds)?;
        let (direct, fastest) = medians[0];
        for (way, (median, best)) in WAYS.iter().zip(&medians) {
            println!(
                "| {services} | {} | {:.2} | {:.3} | {:.2} | {:.3} |",
                way.name(),
                micros(*median),
                micros(*median) / micros(direct),
                micros(*best),
                micros(*best) / micros(fastest)
            );
        }
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Of each way the median and the fastest of the rounds' medians.
fn measure(lab: &Lab, rounds: usize) -> Result<Vec<(Duration, Duration)>> {
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); WAYS.len()];
    for round in 0..=rounds {
        for (way, times) in WAYS.iter().zip(&mut times) {
            let median = lab.median(*way, CONNECTS)?;
            // The first round warms up.
            if round > 0 {
                times.push(median);
            }
        }
    }
    let ends = times.into_iter().map(|times| {
        let fastest = times.iter().min().copied().unwrap_or_default();
        (ways::median_of(times), fastest)
    });
    Ok(ends.collect())
}

/// Takes connections and drops them, for as long as the program runs.
fn serve(ns: &Netns, port: u16) -> Result<()> {
    let place = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = ns.enter(|| TcpListener::bind(place))??;
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
        }
    });
    Ok(())
}

/// Whether a way is measured by a process in the cgroup.
fn in_cgroup(way: Way) -> bool {
    matches!(way, Way::Socket | Way::Armed)
}
