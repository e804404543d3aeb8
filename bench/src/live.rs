//! `live`: real traffic through veth. Every arm has a network of its own that
//! stays as it is; the arms take turns in one run, and a figure is the median
//! of the ratios of the single rounds.

mod arm;
mod daemon;
mod generator;
mod load;
mod net;
mod packets;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::cpu;
use crate::report::{Outcome, Row, Section};
use crate::stats::{Estimate, estimate, median};
use arm::{Arm, Kind};

#[derive(Debug, Args)]
pub struct Options {
    /// The CPU of the servers, of wrk and of the packet generator
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// The CPU of the bulk sender
    #[arg(long, default_value_t = 0)]
    peer_cpu: usize,
    /// Rounds; each measures every arm twice, forth and back
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Only this measurement: latency, bulk or packets
    #[arg(long)]
    only: Option<String>,
    /// The terrace binary; by default the one beside this program
    #[arg(long)]
    terrace: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<Vec<Section>> {
    cpu::pin(options.cpu)?;
    let wants = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    let mut sections = Vec::new();
    if wants("latency") || wants("bulk") {
        let arms = [Kind::Plain, Kind::Nft, Kind::Terrace { xdp: false }]
            .into_iter()
            .map(|kind| Arm::new(kind, options.terrace.as_deref()))
            .collect::<Result<Vec<_>>>()?;
        if wants("latency") {
            sections.push(latency(options, &arms)?);
        }
        if wants("bulk") {
            sections.push(bulk(options, &arms)?);
        }
        arms.iter().try_for_each(Arm::proved)?;
    }
    if wants("packets") {
        sections.push(packets::section(options)?);
    }
    Ok(sections)
}

fn latency(options: &Options, arms: &[Arm]) -> Result<Section> {
    let mut section = Section::new(
        "live: wrk with 1 connection, client -> local workload, p50",
        &["way", "p50 us", "of plain", "95 % interval", "target"],
    );
    let times = rounds(options.rounds, arms, load::wrk_p50_us)?;
    add(&mut section, arms, &times, |name| {
        (name == "Terrace (tc)").then_some(Target::AtMost(1.0))
    });
    section.notes.push(
        "client, server and the way between them share one CPU; closed loop, so only p50 counts"
            .to_owned(),
    );
    Ok(section)
}

fn bulk(options: &Options, arms: &[Arm]) -> Result<Section> {
    let mut section = Section::new(
        "live: bulk TCP, 1 stream, client -> local workload",
        &["way", "Gbit/s", "of plain", "95 % interval", "target"],
    );
    let cpu = options.peer_cpu;
    let rates = rounds(options.rounds, arms, |arm| load::iperf_gbits(arm, cpu))?;
    add(&mut section, arms, &rates, |name| {
        (name == "Terrace (tc)").then_some(Target::AtLeast(1.1))
    });
    section.notes.push(
        "Terrace's uplink is in tc mode here: native XDP on a veth costs GSO (3-5 Gbit/s); a real NIC does not have that choice to make"
            .to_owned(),
    );
    Ok(section)
}

/// What a ratio must reach.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    /// The interval's far end counts: a claim must clear its target.
    pub fn judge(self, ratio: &Estimate) -> Outcome {
        let reached = match self {
            Self::AtMost(limit) => ratio.high <= limit,
            Self::AtLeast(limit) => ratio.low >= limit,
        };
        if reached {
            Outcome::Pass
        } else {
            Outcome::Short
        }
    }

    pub fn shown(self) -> String {
        match self {
            Self::AtMost(limit) => format!("<= {limit:.2}"),
            Self::AtLeast(limit) => format!(">= {limit:.2}"),
        }
    }
}

/// Measures every arm twice a round, forth and back, so that a drift hits all
/// alike: values by arm and round.
pub fn rounds<A>(
    rounds: usize,
    arms: &[A],
    measure: impl Fn(&A) -> Result<f64>,
) -> Result<Vec<Vec<f64>>> {
    let mut values = vec![Vec::new(); arms.len()];
    for _ in 0..rounds {
        let mut round = vec![Vec::new(); arms.len()];
        for at in (0..arms.len()).chain((0..arms.len()).rev()) {
            round[at].push(measure(&arms[at])?);
        }
        for (all, round) in values.iter_mut().zip(round) {
            all.push(round.iter().sum::<f64>() / round.len() as f64);
        }
    }
    Ok(values)
}

/// A row for each arm, as a ratio to the first one.
fn add(
    section: &mut Section,
    arms: &[Arm],
    values: &[Vec<f64>],
    target: impl Fn(&str) -> Option<Target>,
) {
    for (arm, values_of) in arms.iter().zip(values) {
        let ratios: Vec<f64> = values_of
            .iter()
            .zip(&values[0])
            .map(|(a, b)| a / b)
            .collect();
        let row = ratio_row(arm.name(), median(values_of), &ratios, target(arm.name()));
        section.rows.push(row);
    }
}

/// Name, value, ratio, interval, target.
pub fn ratio_row(name: &str, value: f64, ratios: &[f64], target: Option<Target>) -> Row {
    let ratio = estimate(ratios);
    Row {
        cells: vec![
            name.to_owned(),
            format!("{value:.2}"),
            format!("{:.2}", ratio.median),
            format!("{:.2}-{:.2}", ratio.low, ratio.high),
            target.map_or("-".to_owned(), Target::shown),
        ],
        outcome: target.map_or(Outcome::Info, |target| target.judge(&ratio)),
        figures: [
            ("value".to_owned(), value),
            ("ratio".to_owned(), ratio.median),
            ("ratio_low".to_owned(), ratio.low),
            ("ratio_high".to_owned(), ratio.high),
        ]
        .into(),
    }
}

/// The `terrace` beside this program, where cargo puts both.
fn terrace_binary(given: Option<&std::path::Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let beside = std::env::current_exe()?.with_file_name("terrace");
    anyhow::ensure!(
        beside.exists(),
        "{} does not exist: run `cargo build --release -p terrace` first",
        beside.display()
    );
    beside.canonicalize().context("find terrace")
}
