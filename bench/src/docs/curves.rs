//! Curves as tables: a column a point, a row a way and metric.

use serde::Deserialize;

use crate::result::{Measured, RunFile};
use crate::stats::{median, paired_ratio};
use crate::tables::{number, whole};

/// What a document shows of one scenario's curve.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    pub scenario: String,
    line: Vec<Line>,
}

/// A metric of one arm over all points, as it is or over another arm.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    what: String,
    arm: String,
    metric: String,
    over: Option<String>,
}

/// The curve with its title; a scenario that is not in the result says so.
pub fn table(curve: &Curve, run: &RunFile) -> String {
    let found = run
        .scenarios
        .iter()
        .find(|held| held.name == curve.scenario);
    let Some(measured) = found else {
        return format!("`{}`: not measured.\n", curve.scenario);
    };
    let points: Vec<f64> = measured.points().into_iter().flatten().collect();
    let heads: Vec<String> = points.iter().map(|point| whole(*point)).collect();
    let axis = measured.axis.as_deref().unwrap_or_default();
    let mut text = format!(
        "**{}** (`{}`)\n\n| {axis} | {} |\n|---|{}\n",
        measured.title,
        curve.scenario,
        heads.join(" | "),
        "---|".repeat(points.len())
    );
    for line in &curve.line {
        let cells = points.iter().map(|at| line.cell(measured, *at));
        let cells: Vec<String> = cells.map(Option::unwrap_or_default).collect();
        text += &format!("| {} | {} |\n", line.what, cells.join(" | "));
    }
    text
}

impl Line {
    fn cell(&self, measured: &Measured, at: f64) -> Option<String> {
        let values = |arm: &str| measured.arm_at(arm, Some(at))?.values(&self.metric);
        let own = values(&self.arm)?;
        let value = match &self.over {
            Some(over) => paired_ratio(own, values(over)?).median,
            None => median(own),
        };
        Some(number(value))
    }
}

#[cfg(test)]
impl Curve {
    /// Panics where it names what does not exist.
    pub fn check(&self, scenarios: &[crate::scenario::Scenario]) {
        let found = scenarios.iter().find(|found| found.name == self.scenario);
        let found = found.unwrap_or_else(|| panic!("no scenario {}", self.scenario));
        assert!(found.curve.is_some(), "{} has no curve", self.scenario);
        for line in &self.line {
            assert!(
                crate::result::metric(&line.metric).is_some(),
                "{}",
                line.metric
            );
            let is_arm = |name: &String| {
                found.arms.is_empty() || found.arms.iter().any(|arm| arm.name == *name)
            };
            assert!(is_arm(&line.arm), "{}: {}", self.scenario, line.arm);
            assert!(line.over.iter().all(is_arm), "{}", self.scenario);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::ArmResult;
    use crate::result::tests::{arm, measured, run};
    use crate::scenario::Role;

    #[test]
    fn a_curve_has_a_column_for_each_point_and_a_ratio_within_it() {
        let point = |at: f64, name: &str, role, value: f64| ArmResult {
            at: Some(at),
            ..arm(name, role, &[("units", &[value, value])])
        };
        let mut all = measured(
            "services",
            vec![
                point(1.0, "ours", Role::Ours, 2.0),
                point(1.0, "lru", Role::Peer, 4.0),
                point(10_000.0, "ours", Role::Ours, 6.0),
            ],
        );
        all.axis = Some("services".to_owned());
        let curve: Curve = toml::from_str(
            "scenario = \"services\"\nline = [{ what = \"units\", arm = \"ours\", metric = \"units\" }, { what = \"of lru\", arm = \"ours\", metric = \"units\", over = \"lru\" }]",
        )
        .expect("a curve");
        let text = table(&curve, &run(vec![all]));
        let expected = "| services | 1 | 10,000 |\n|---|---|---|\n| units | 2.00 | 6.00 |\n| of lru | 0.50 |  |\n";
        assert!(text.ends_with(expected), "{text}");
        assert!(table(&curve, &run(vec![])).contains("not measured"));
    }
}
