//! What the shortcut is worth: requests through a sidecar-like proxy, three
//! processes on one host (client -> proxy -> server), with the shortcut on, off
//! and absent, and with the redirect by iptables that sidecars use today.
//!
//! `cargo run --release -p terrace-sock --example shortcut [rounds]`, as root.

mod arms;
mod report;
mod roles;
mod stats;

use anyhow::{Context as _, Result};

/// Sizes of a request, and of its answer, in bytes.
const SIZES: [u32; 6] = [64, 512, 4096, 16_384, 32_768, 65_536];

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("server") => roles::server(),
        Some("proxy") => roles::proxy(&args.next().context("proxy <upstream>")?),
        Some("client") => roles::client(),
        rounds => {
            let rounds = rounds.map_or(Ok(21), str::parse).context("rounds")?;
            measure(rounds)
        }
    }
}

/// Every arm once a round, forwards and backwards in turn, each size in turn.
fn measure(rounds: usize) -> Result<()> {
    let mut arms = arms::Arms::build()?;
    let mut table = report::Table::new(rounds);
    for round in 0..rounds {
        for size in SIZES {
            table.add(size, arms.round(size, round % 2 == 1)?);
        }
        table.add_bulk(arms.bulk_round(round % 2 == 1)?);
    }
    print!("{table}");
    arms.check()
}
