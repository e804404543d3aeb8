//! How long connect() takes: to a backend itself, to a service translated by
//! the socket tier, by nftables (a map, as kube-proxy writes it) and by
//! iptables (a rule a service), with 1 to 10,000 services.
//!
//! `cargo run --release -p terrace-sock --example connect [TURNS [SERVICES...]]` as
//! root. All ways take turns in one run, 20 connections each; a line has the
//! median of the turns' medians, and the median of their ratios to the backend
//! itself in the same round with a 95 % interval. Only connect() is timed.

#![allow(
    dead_code,
    reason = "the tables of the tests have more than this needs"
)]

#[path = "../../../bench/src/stats.rs"]
mod stats;
mod ways;

#[path = "../../tests/sockets/tables.rs"]
mod tables;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context as _, Result};
use terrace_testkit::Netns;

use ways::{Lab, WAYS, Way};

const SERVICES: [u32; 5] = [1, 10, 100, 1_000, 10_000];
/// Of one turn; so few that the machine is the same for all ways of a round.
const CONNECTS: usize = 20;
const TURNS: usize = 400;

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let turns = numbers.next().transpose().context("a number of turns")?;
    let turns = turns.map_or(TURNS, |turns| turns as usize);
    let mut chosen: Vec<u32> = numbers
        .collect::<Result<_, _>>()
        .context("numbers of services")?;
    if chosen.is_empty() {
        chosen = SERVICES.to_vec();
    }
    println!(
        "connect(), {turns} turns of {CONNECTS} each; a random service each time\n\n\
         | services | way | median us | to the backend itself |\n|---:|---|---:|---:|"
    );
    for services in chosen {
        let times = measure(&Lab::new(services)?, turns)?;
        for (way, own) in WAYS.iter().zip(&times) {
            let ratio = stats::paired_ratio(own, &times[0]);
            println!(
                "| {services} | {} | {:.2} | {:.3} ({:.3}-{:.3}) |",
                way.name(),
                stats::median(own),
                ratio.median,
                ratio.low,
                ratio.high
            );
        }
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The medians of each way's turns, in microseconds, turn by turn.
fn measure(lab: &Lab, turns: usize) -> Result<Vec<Vec<f64>>> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); WAYS.len()];
    for _ in 0..turns {
        for (way, times) in WAYS.iter().zip(&mut times) {
            times.push(micros(lab.median(*way, CONNECTS)?));
        }
    }
    Ok(times)
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
