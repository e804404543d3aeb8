//! Tables of a measured scenario: values, ratios to the floor and to the main
//! peer within the rounds, and how much of the gap between both is closed.

use crate::report::{Outcome, Row, Section};
use crate::result::{ArmResult, Measured, Metric};
use crate::stats::{Estimate, gap_closure, median, paired_ratio, spread};

/// For a terminal.
pub fn text(measured: &Measured) -> String {
    section(measured).to_string()
}

/// For a document.
pub fn markdown(measured: &Measured) -> String {
    section(measured).markdown()
}

/// A row an arm and point.
pub fn section(measured: &Measured) -> Section {
    let columns = columns(measured);
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut section = Section::new(&format!("{}: {}", measured.name, measured.title), &names);
    for at in measured.points() {
        for arm in measured.arms_at(at) {
            let cells = columns.iter().map(|column| column.of.cell(measured, arm));
            section.rows.push(Row {
                cells: cells.collect(),
                outcome: match arm.void {
                    Some(_) => Outcome::Void,
                    None => arm.outcome,
                },
                target: None,
                figures: std::collections::BTreeMap::new(),
            });
        }
    }
    section.notes = notes(measured);
    section
}

struct Column {
    name: String,
    of: Cell,
}

/// What a column shows.
enum Cell {
    Name,
    At,
    Value(&'static str),
    Spread(&'static str),
    OfFloor(&'static str),
    OfPeer(&'static str),
    Closed(&'static str, Metric),
    Target,
}

fn columns(measured: &Measured) -> Vec<Column> {
    let column = |name: &str, of: Cell| Column {
        name: name.to_owned(),
        of,
    };
    let mut columns = vec![column("way", Cell::Name)];
    if let Some(axis) = &measured.axis {
        columns.insert(0, column(axis, Cell::At));
    }
    let has_rounds = measured
        .arms
        .iter()
        .any(|arm| arm.samples.values().any(|values| values.len() > 1));
    let headline = measured.headline();
    if let Some((name, metric)) = headline {
        columns.push(column(&label(metric), Cell::Value(name)));
        if has_rounds {
            columns.push(column("spread", Cell::Spread(name)));
        }
        let has_floor = measured
            .arms
            .iter()
            .any(|arm| arm.role == crate::scenario::Role::Floor);
        if has_floor {
            columns.push(column("of the floor", Cell::OfFloor(name)));
        }
        if let Some(peer) = &measured.against {
            columns.push(column(&format!("of {peer}"), Cell::OfPeer(name)));
            if has_floor {
                columns.push(column("gap closed", Cell::Closed(name, metric)));
            }
        }
    }
    for (name, metric) in measured.metrics() {
        if Some(name) != headline.map(|(name, _)| name) {
            columns.push(column(&label(metric), Cell::Value(name)));
        }
    }
    if measured.arms.iter().any(|arm| arm.target.is_some()) {
        columns.push(column("target", Cell::Target));
    }
    columns
}

fn label(metric: Metric) -> String {
    match metric.unit {
        "" => metric.shown.to_owned(),
        unit => format!("{}, {unit}", metric.shown),
    }
}

impl Cell {
    fn cell(&self, measured: &Measured, arm: &ArmResult) -> String {
        self.try_cell(measured, arm).unwrap_or_default()
    }

    fn try_cell(&self, measured: &Measured, arm: &ArmResult) -> Option<String> {
        let ratio = |name: &str, of: Option<&ArmResult>| {
            let of = of.filter(|of| of.name != arm.name)?;
            let ratio = paired_ratio(arm.values(name)?, of.values(name)?);
            ratio.median.is_finite().then(|| interval(&ratio))
        };
        let peer = || measured.arm_at(measured.against.as_deref()?, arm.at);
        let floor = || measured.floor_at(arm.at);
        match self {
            Self::Name => Some(arm.name.clone()),
            Self::At => arm.at.map(whole),
            Self::Value(name) => Some(number(median(arm.values(name)?))),
            Self::Spread(name) => {
                let spread = spread(arm.values(name)?);
                spread
                    .is_finite()
                    .then(|| format!("{:.0} %", spread * 100.0))
            }
            Self::OfFloor(name) => ratio(name, floor()),
            Self::OfPeer(name) => ratio(name, peer()),
            Self::Closed(name, metric) => closed(arm, peer()?, floor()?, name, *metric),
            Self::Target => arm.target.clone(),
        }
    }
}

/// Gap closure; only where the peer is further from the floor than a tenth.
fn closed(
    arm: &ArmResult,
    peer: &ArmResult,
    floor: &ArmResult,
    name: &str,
    metric: Metric,
) -> Option<String> {
    if arm.name == peer.name || arm.name == floor.name {
        return None;
    }
    let cost = |arm: &ArmResult| -> Option<Vec<f64>> {
        let values = arm.values(name)?.iter();
        Some(
            values
                .map(|value| {
                    if metric.more_is_better {
                        1.0 / value
                    } else {
                        *value
                    }
                })
                .collect(),
        )
    };
    let (ours, theirs, least) = (cost(arm)?, cost(peer)?, cost(floor)?);
    if median(&theirs) < 1.1 * median(&least) {
        return None;
    }
    Some(interval(&gap_closure(&ours, &theirs, &least)))
}

fn notes(measured: &Measured) -> Vec<String> {
    let mut notes = vec![measured.about.clone(), format!("load: {}", measured.load)];
    let origin = measured.origin.as_ref();
    notes.extend(origin.map(|origin| format!("of another run: {}", origin.line(None))));
    if !measured.cpus.is_empty() {
        let cpus = measured
            .cpus
            .iter()
            .map(|(role, cpu)| format!("{role} {cpu}"));
        notes.push(format!("CPUs: {}", cpus.collect::<Vec<_>>().join("; ")));
    }
    notes.extend(measured.notes.iter().cloned());
    notes.extend(measured.noise.iter().map(|noise| format!("noise: {noise}")));
    for arm in &measured.arms {
        let at = arm.at.map_or(String::new(), |at| format!(" at {at}"));
        notes.extend(
            arm.void
                .iter()
                .map(|why| format!("VOID: {}{at}: {why}", arm.name)),
        );
        notes.extend(
            arm.flags
                .iter()
                .map(|flag| format!("flag: {}{at}: {flag}", arm.name)),
        );
    }
    notes
}

/// `0.52 (0.50-0.55)`.
pub fn interval(estimate: &Estimate) -> String {
    format!(
        "{} ({}-{})",
        number(estimate.median),
        number(estimate.low),
        number(estimate.high)
    )
}

/// Three digits that count, thousands with commas.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let size = value.abs();
    match size {
        _ if size >= 99.95 => thousands(value),
        _ if size >= 9.995 => format!("{value:.1}"),
        _ if size >= 0.0995 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A point of an axis: whole, thousands with commas.
pub fn whole(point: f64) -> String {
    match point {
        small if small < 100.0 => format!("{small}"),
        large => number(large),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::{arm, measured};
    use crate::scenario::Role;

    #[test]
    fn numbers_have_the_digits_that_count() {
        let rows = [
            (1_234_567.8, "1,234,568"),
            (123.4, "123"),
            (12.34, "12.3"),
            (1.234, "1.23"),
            (0.01234, "0.0123"),
            (0.0, "0.00"),
            (-1500.0, "-1,500"),
            (f64::NAN, "-"),
        ];
        for (value, expected) in rows {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_row_has_ratios_to_floor_and_peer_and_the_gap_that_is_closed() {
        let mut all = measured(
            "rr",
            vec![
                arm("plain", Role::Floor, &[("p50_us", &[20.0, 20.0, 20.0])]),
                arm("haproxy", Role::Peer, &[("p50_us", &[60.0, 60.0, 60.0])]),
                arm("ours", Role::Ours, &[("p50_us", &[30.0, 30.0, 30.0])]),
            ],
        );
        all.against = Some("haproxy".to_owned());
        let section = section(&all);
        let header = [
            "way",
            "latency p50, us",
            "spread",
            "of the floor",
            "of haproxy",
            "gap closed",
        ];
        assert_eq!(section.columns, header);
        let ours = [
            "ours",
            "30.0",
            "0 %",
            "1.50 (1.50-1.50)",
            "0.50 (0.50-0.50)",
            "0.75 (0.75-0.75)",
        ];
        assert_eq!(section.rows[2].cells, ours);
        assert_eq!(section.rows[1].cells[4], "");
    }

    #[test]
    fn a_void_arm_shows_no_figure_and_says_why() {
        let mut void = arm("nft", Role::Peer, &[("p50_us", &[20.0, 20.0])]);
        void.void = Some("its counters did not move".to_owned());
        let section = section(&measured("rr", vec![void]));
        assert_eq!(section.rows[0].cells[1], "");
        assert_eq!(section.rows[0].outcome, Outcome::Void);
        assert!(
            section
                .notes
                .iter()
                .any(|note| note.contains("did not move"))
        );
    }
}
