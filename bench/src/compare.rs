//! `compare`: two results, metric by metric, with intervals. Different runs
//! have no rounds in common, so each side is resampled by itself; where there
//! is a floor, the ratio to it is compared too, which a slower machine changes less.

use crate::report::{Outcome, Row, Section};
use crate::result::{ArmResult, Measured, Metric, RunFile};
use crate::stats::{Estimate, median, unpaired_ratio};
use crate::tables::{interval, number};

/// B over A.
pub fn section(a: &RunFile, b: &RunFile) -> Section {
    let columns = [
        "scenario, way",
        "metric",
        "A",
        "B",
        "B / A (95 %)",
        "of the floor, B / A (95 %)",
        "verdict",
    ];
    let mut section = Section::new("B over A", &columns);
    for before in &a.scenarios {
        let Some(after) = b.scenarios.iter().find(|after| after.name == before.name) else {
            section.notes.push(format!("{} is in A only", before.name));
            continue;
        };
        section.rows.extend(rows(before, after));
    }
    let added = b
        .scenarios
        .iter()
        .filter(|after| a.scenarios.iter().all(|before| before.name != after.name));
    section
        .notes
        .extend(added.map(|after| format!("{} is in B only", after.name)));
    section
        .notes
        .push(format!("A: {}; {}", a.started, a.host.line()));
    section
        .notes
        .push(format!("B: {}; {}", b.started, b.host.line()));
    if a.host.cpu != b.host.cpu || a.host.kernel != b.host.kernel {
        section.notes.push(
            "different machines or kernels: only the ratios to the floor say something".to_owned(),
        );
    }
    section.notes.push("a verdict needs the whole interval on one side of 1, with the floor taken out where there is one".to_owned());
    section
}

fn rows(before: &Measured, after: &Measured) -> Vec<Row> {
    let mut rows = Vec::new();
    for arm in &before.arms {
        let Some(new) = after.arm_at(&arm.name, arm.at) else {
            continue;
        };
        for (name, metric) in before.metrics() {
            let Some((values_a, values_b)) = arm.values(name).zip(new.values(name)) else {
                continue;
            };
            if values_a.is_empty() || values_b.is_empty() {
                continue;
            }
            let ratio = unpaired_ratio(values_b, values_a);
            let of_floor = of_floor(before, arm, after, new, name);
            let (verdict, outcome) = verdict(&of_floor.unwrap_or(ratio), metric);
            let at = arm.at.map_or(String::new(), |at| format!(" at {at}"));
            rows.push(Row {
                cells: vec![
                    format!("{}, {}{at}", before.name, arm.name),
                    metric.shown.to_owned(),
                    number(median(values_a)),
                    number(median(values_b)),
                    interval(&ratio),
                    of_floor.map_or(String::new(), |ratio| interval(&ratio)),
                    verdict.to_owned(),
                ],
                outcome,
                target: None,
                figures: [
                    ("ratio".to_owned(), ratio.median),
                    ("ratio_low".to_owned(), ratio.low),
                    ("ratio_high".to_owned(), ratio.high),
                ]
                .into(),
            });
        }
    }
    rows
}

/// The same of the ratios to the floor of each round.
fn of_floor(
    before: &Measured,
    arm: &ArmResult,
    after: &Measured,
    new: &ArmResult,
    name: &str,
) -> Option<Estimate> {
    let ratios = |measured: &Measured, arm: &ArmResult| -> Option<Vec<f64>> {
        let floor = measured.floor_at(arm.at)?;
        if floor.name == arm.name {
            return None;
        }
        let pairs = arm.values(name)?.iter().zip(floor.values(name)?);
        let ratios: Vec<f64> = pairs.map(|(ours, floor)| ours / floor).collect();
        (!ratios.is_empty()).then_some(ratios)
    };
    let ratio = unpaired_ratio(&ratios(after, new)?, &ratios(before, arm)?);
    ratio.median.is_finite().then_some(ratio)
}

fn verdict(ratio: &Estimate, metric: Metric) -> (&'static str, Outcome) {
    // One value a side has no interval: it says nothing of noise.
    if ratio.low == ratio.high && ratio.median != 1.0 {
        return ("one value only", Outcome::Info);
    }
    match (ratio.low > 1.0, ratio.high < 1.0) {
        (false, false) => ("the same", Outcome::Info),
        (more, _) if more == metric.more_is_better => ("better", Outcome::Pass),
        _ => ("WORSE", Outcome::Short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::{arm, measured, run};
    use crate::scenario::Role;

    fn with(floor: &[f64], ours: &[f64]) -> RunFile {
        run(vec![measured(
            "rr",
            vec![
                arm("plain", Role::Floor, &[("p50_us", floor)]),
                arm("ours", Role::Ours, &[("p50_us", ours)]),
            ],
        )])
    }

    fn verdict_of(section: &Section, way: &str) -> String {
        let row = section.rows.iter().find(|row| row.cells[0] == way);
        row.and_then(|row| row.cells.last().cloned())
            .unwrap_or_default()
    }

    #[test]
    fn what_the_intervals_do_not_tell_apart_is_the_same() {
        let floor = [20.0, 20.2, 19.9, 20.1, 20.0];
        let rows: [(&[f64], &str); 3] = [
            (&[30.0, 30.3, 29.9, 30.1, 30.0], "the same"),
            (&[40.0, 40.5, 39.0, 41.0, 40.2], "WORSE"),
            (&[22.0, 22.1, 21.9, 22.3, 22.0], "better"),
        ];
        for (ours, expected) in rows {
            let a = with(&floor, &[30.1, 30.0, 29.8, 30.2, 30.0]);
            let section = section(&a, &with(&floor, ours));
            assert_eq!(verdict_of(&section, "rr, ours"), expected);
        }
    }

    #[test]
    fn a_slower_machine_is_not_a_slower_terrace() {
        let a = with(&[20.0, 20.1, 20.2, 19.9], &[30.0, 30.1, 30.3, 29.9]);
        let b = with(&[40.0, 40.2, 40.4, 39.8], &[60.0, 60.2, 60.6, 59.8]);
        let section = section(&a, &b);
        assert_eq!(verdict_of(&section, "rr, ours"), "the same");
        assert_eq!(verdict_of(&section, "rr, plain"), "WORSE");
    }

    #[test]
    fn what_only_one_of_them_has_is_said() {
        let section = section(&with(&[1.0], &[1.0]), &run(vec![]));
        assert!(section.notes.iter().any(|note| note == "rr is in A only"));
    }
}
