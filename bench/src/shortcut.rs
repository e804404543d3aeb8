//! `shortcut`: requests through a sidecar-like proxy, three processes on one
//! host (client -> proxy -> server), with the same-host shortcut on, off and
//! absent, and with the redirect by iptables that sidecars use today.

mod arms;
pub mod roles;

use std::collections::BTreeMap;

use anyhow::Result;
use indicatif::ProgressBar;

use crate::result::{ArmResult, Measured};
use crate::run::Context;
use crate::scenario::{Role, Scenario};
use arms::{Arm, Arms, BULK, Sample};

/// Sizes of a request, and of its answer, in bytes.
const SIZES: [u32; 6] = [64, 512, 4096, 16_384, 32_768, 65_536];

/// Values by arm and size; a size of `None` is the long transfer.
type Values = BTreeMap<(Option<u32>, Arm), Vec<Sample>>;

pub fn measure(scenario: &Scenario, context: &Context, bar: &ProgressBar) -> Result<Measured> {
    let cpus = scenario.cpus;
    let mut arms = Arms::build(cpus)?;
    let mut values = Values::new();
    for round in 0..scenario.rounds.repeats {
        let backwards = round % 2 == 1;
        for size in SIZES {
            add(&mut values, Some(size), arms.round(size, backwards)?);
        }
        add(&mut values, None, arms.bulk_round(backwards)?);
        bar.inc(1);
    }
    let joined = arms.joined()?;
    let mut measured = context.empty(scenario);
    measured.axis = Some("bytes of a request".to_owned());
    measured.cpus = [
        ("client", cpus.client),
        ("proxy", cpus.peer),
        ("server", cpus.server),
    ]
    .map(|(process, cpu)| (process.to_owned(), format!("tied to {cpu}")))
    .into();
    measured.load =
        "request and answer of one size, one at a time; and 128 MB one way (the last point)"
            .to_owned();
    measured
        .notes
        .push(format!("{joined} messages went from socket to socket"));
    measured.arms = values
        .iter()
        .map(|(key, samples)| result(*key, samples))
        .collect();
    let size = |arm: &ArmResult| arm.at.unwrap_or_default();
    measured.arms.sort_by(|a, b| size(a).total_cmp(&size(b)));
    Ok(measured)
}

fn add(values: &mut Values, size: Option<u32>, samples: Vec<Sample>) {
    for sample in samples {
        values.entry((size, sample.arm)).or_default().push(sample);
    }
}

fn result((size, arm): (Option<u32>, Arm), samples: &[Sample]) -> ArmResult {
    let of = |value: fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<_>>();
    let samples = match size {
        Some(_) => [
            ("p50_us".to_owned(), of(|sample| sample.p50 / 1e3)),
            ("requests".to_owned(), of(|sample| sample.rate)),
        ]
        .into(),
        None => [("bits".to_owned(), of(|sample| sample.rate * 8.0 / 1e9))].into(),
    };
    ArmResult {
        name: arm.name().to_owned(),
        role: match arm {
            Arm::Plain => Role::Floor,
            Arm::Iptables => Role::Peer,
            Arm::On | Arm::Off | Arm::Limited => Role::Ours,
        },
        at: Some(size.map_or(f64::from(BULK), f64::from)),
        samples,
        ..ArmResult::default()
    }
}
