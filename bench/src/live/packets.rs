//! Forwarded packets a second, and what a packet costs over being dropped.

use anyhow::Result;

use super::arm::{Arm, Kind};
use super::generator::Generator;
use super::{Options, Target, ratio_row, rounds};
use crate::report::Section;
use crate::stats::median;

const KINDS: [Kind; 4] = [
    Kind::Floor,
    Kind::Plain,
    Kind::Nft,
    Kind::Terrace { xdp: true },
];

pub fn section(options: &Options) -> Result<Section> {
    let generators = KINDS
        .into_iter()
        .map(|kind| Generator::new(Arm::bare(kind, options.terrace.as_deref())?))
        .collect::<Result<Vec<_>>>()?;
    // Flows, neighbours and caches.
    for generator in &generators {
        generator.mpps()?;
    }
    let rates = rounds(options.rounds, &generators, Generator::mpps)?;
    generators
        .iter()
        .try_for_each(|generator| generator.arm().proved())?;
    let mut section = Section::new(
        "live: 64-byte UDP packets, outside -> service -> remote backend, one CPU",
        &[
            "way",
            "Mpps",
            "of nftables",
            "95 % interval",
            "target",
            "ns over drop",
        ],
    );
    let nft = KINDS
        .iter()
        .position(|kind| *kind == Kind::Nft)
        .unwrap_or(0);
    for (generator, values) in generators.iter().zip(&rates) {
        let arm = generator.arm();
        let ratios: Vec<f64> = values.iter().zip(&rates[nft]).map(|(a, b)| a / b).collect();
        let target = matches!(arm.kind(), Kind::Terrace { .. }).then_some(Target::AtLeast(2.8));
        let mut row = ratio_row(arm.name(), median(values), &ratios, target);
        let marginal: Vec<f64> = values
            .iter()
            .zip(&rates[0])
            .map(|(rate, floor)| 1e3 / rate - 1e3 / floor)
            .collect();
        row.cells.push(format!("{:.0}", median(&marginal)));
        row.figures
            .insert("marginal_ns".to_owned(), median(&marginal));
        section.rows.push(row);
    }
    section.notes = vec![
        "generator and forwarding share the CPU: the generator's and veth's part is in every row, so the last column is what forwarding itself costs".to_owned(),
        "no IPVS and no nftables flow table in this kernel; conntrack and NAT are what nftables does".to_owned(),
    ];
    Ok(section)
}
