//! Ratios within each round, as a table.

use std::collections::BTreeMap;
use std::fmt;

use crate::arms::{Arm, Sample};
use crate::stats::{Interval, interval, median};

/// Samples of all rounds.
pub struct Table {
    rounds: usize,
    sizes: BTreeMap<u32, Vec<Vec<Sample>>>,
    bulk: Vec<Vec<Sample>>,
}

impl Table {
    pub fn new(rounds: usize) -> Self {
        Self {
            rounds,
            sizes: BTreeMap::new(),
            bulk: Vec::new(),
        }
    }

    pub fn add(&mut self, size: u32, samples: Vec<Sample>) {
        self.sizes.entry(size).or_default().push(samples);
    }

    pub fn add_bulk(&mut self, samples: Vec<Sample>) {
        self.bulk.push(samples);
    }
}

fn column(rounds: &[Vec<Sample>], arm: Arm, of: fn(&Sample) -> f64) -> Vec<f64> {
    let found = rounds.iter().flatten().filter(|sample| sample.arm == arm);
    found.map(of).collect()
}

fn ratio(rounds: &[Vec<Sample>], arm: Arm, peer: Arm, of: fn(&Sample) -> f64) -> Interval {
    let (ours, theirs) = (column(rounds, arm, of), column(rounds, peer, of));
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    interval(&ratios)
}

fn p50(sample: &Sample) -> f64 {
    sample.p50
}

fn rate(sample: &Sample) -> f64 {
    sample.rate
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2} ({:.2}-{:.2})", self.median, self.low, self.high);
        f.pad(&text)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Request and answer of one size through a proxy, {} interleaved rounds; median p50 in \
             microseconds, then ratios of p50 within a round (95 % interval), below 1 = shortcut faster",
            self.rounds
        )?;
        writeln!(
            f,
            "{:>7} {:>8} {:>8} {:>8} {:>8}  {:18} {:18} {:18} {:18} {:18}",
            "bytes",
            "on",
            "off",
            "plain",
            "iptables",
            "on/off",
            "on/plain",
            "on/iptables",
            "off/plain",
            "rate on/iptables"
        )?;
        for (size, rounds) in &self.sizes {
            write!(f, "{size:>7}")?;
            for arm in [Arm::On, Arm::Off, Arm::Plain, Arm::Iptables] {
                write!(f, " {:>8.1}", median(&column(rounds, arm, p50)) / 1e3)?;
            }
            write!(f, "  ")?;
            for (arm, peer) in [
                (Arm::On, Arm::Off),
                (Arm::On, Arm::Plain),
                (Arm::On, Arm::Iptables),
                (Arm::Off, Arm::Plain),
            ] {
                write!(f, "{:18} ", ratio(rounds, arm, peer, p50))?;
            }
            writeln!(f, "{}", ratio(rounds, Arm::On, Arm::Iptables, rate))?;
        }
        writeln!(
            f,
            "\nOne way, 32 MB through the proxy: MB/s, and the ratio of rates (above 1 = faster)"
        )?;
        for arm in [Arm::Plain, Arm::On, Arm::Off, Arm::Unlimited, Arm::Iptables] {
            let mb = median(&column(&self.bulk, arm, rate)) / 1e6;
            let against = ratio(&self.bulk, arm, Arm::Plain, rate);
            writeln!(
                f,
                "  {:10} {mb:>8.0}  against plain {against}",
                format!("{arm:?}").to_lowercase()
            )?;
        }
        Ok(())
    }
}
