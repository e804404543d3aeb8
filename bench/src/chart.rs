//! The plots of a report: bars with their spread, latency over percentiles,
//! and curves over what a scenario varies.

use crate::result::{ArmResult, Measured, Metric};
use crate::scenario::Role;
use crate::stats::{median, quantile};
use crate::svg::{Anchor, Axis, Svg};
use crate::tables::{number, whole};

const WIDTH: f64 = 860.0;
const FLOOR: &str = "#9aa3ad";
const OURS: [&str; 4] = ["#e4572e", "#f0954a", "#b23a1b", "#f2b880"];
const PEERS: [&str; 8] = [
    "#3b6fb6", "#2a9d8f", "#7a5195", "#5c8a3a", "#a05a7a", "#4aa3c7", "#8a6d3b", "#66707a",
];

/// Each arm keeps its colour in all plots of a scenario.
fn colour(measured: &Measured, name: &str) -> &'static str {
    let mut seen: Vec<(&str, Role)> = Vec::new();
    for arm in &measured.arms {
        if !seen.iter().any(|(name, _)| *name == arm.name) {
            seen.push((&arm.name, arm.role));
        }
    }
    let role = seen
        .iter()
        .find(|(found, _)| *found == name)
        .map(|(_, role)| *role);
    let of_role = seen.iter().filter(|(_, found)| Some(*found) == role);
    let at = of_role
        .map(|(name, _)| *name)
        .position(|found| found == name);
    let at = at.unwrap_or(0);
    match role {
        Some(Role::Floor) => FLOOR,
        Some(Role::Ours) => OURS[at % OURS.len()],
        _ => PEERS[at % PEERS.len()],
    }
}

/// `latency p50, us (less is better)`.
fn caption(metric: Metric) -> String {
    let better = if metric.more_is_better {
        "more"
    } else {
        "less"
    };
    match metric.unit {
        "" => format!("{} ({better} is better)", metric.shown),
        unit => format!("{}, {unit} ({better} is better)", metric.shown),
    }
}

/// A bar an arm: the median, the middle half of the rounds as a whisker, and
/// every round as a dot.
pub fn bars(measured: &Measured, at: Option<f64>, name: &str, metric: Metric) -> String {
    const RIGHT: f64 = 120.0;
    const ROW: f64 = 30.0;
    const TOP: f64 = 30.0;
    let arms: Vec<&ArmResult> = measured.arms_at(at).collect();
    let arms: Vec<&ArmResult> = arms
        .into_iter()
        .filter(|arm| arm.void.is_some() || arm.samples.contains_key(name))
        .collect();
    let most = arms
        .iter()
        .filter_map(|arm| arm.values(name))
        .flatten()
        .copied()
        .fold(0.0, f64::max);
    let bottom = TOP + arms.len() as f64 * ROW;
    let left = room_for_names(&arms);
    let medians = arms
        .iter()
        .filter_map(|arm| Some(median(arm.values(name)?)));
    let least = medians.fold(f64::INFINITY, f64::min);
    let mut caption = caption(metric);
    let axis = match least > 0.0 && most / least > FAR_APART {
        true => {
            caption += ", log axis";
            Axis::log(least / 2.0, most, left, WIDTH - RIGHT)
        }
        false => Axis::linear(most, left, WIDTH - RIGHT),
    };
    let mut svg = Svg::new(WIDTH, bottom + 28.0);
    svg.text((0.0, 16.0), Anchor::Start, "title", &caption);
    for tick in axis.ticks() {
        let x = axis.at(tick);
        svg.line((x, TOP), (x, bottom), "grid");
        svg.text((x, bottom + 16.0), Anchor::Middle, "tick", &number(tick));
    }
    for (row, arm) in arms.iter().enumerate() {
        let y = TOP + row as f64 * ROW;
        let label = shorten(&arm.name, LONGEST_NAME);
        svg.text((left - 10.0, y + 19.0), Anchor::End, "label", &label);
        let Some(values) = arm.values(name) else {
            let why = if is_absent(arm) { "not here" } else { "VOID" };
            svg.text((left + 6.0, y + 19.0), Anchor::Start, "void", why);
            continue;
        };
        bar(&mut svg, &axis, y, values, colour(measured, &arm.name));
    }
    svg.finish(&format!("{}: {}", measured.title, metric.shown))
}

/// On a linear axis the one would hide the other.
const FAR_APART: f64 = 100.0;

/// Of a bar's name, in characters.
const LONGEST_NAME: usize = 72;

/// Pixels in front of the bars: names are what tells rows of programs apart.
fn room_for_names(arms: &[&ArmResult]) -> f64 {
    const CHARACTER: f64 = 6.6;
    let longest = arms.iter().map(|arm| arm.name.chars().count()).max();
    let longest = longest.unwrap_or(0).min(LONGEST_NAME);
    (longest as f64 * CHARACTER + 16.0).max(200.0)
}

/// Could not be started, rather than ran and was not what it says.
pub fn is_absent(arm: &ArmResult) -> bool {
    arm.void
        .as_ref()
        .is_some_and(|why| why.starts_with("not started"))
}

fn bar(svg: &mut Svg, axis: &Axis, y: f64, values: &[f64], colour: &str) {
    let middle = median(values);
    let zero = axis.start();
    svg.rect((zero, y + 5.0), (axis.at(middle) - zero, 19.0), colour);
    let (low, high) = (quantile(values, 0.25), quantile(values, 0.75));
    let most = values.iter().copied().fold(middle, f64::max);
    if values.len() > 1 {
        let at = y + 14.5;
        svg.stroke((axis.at(low), at), (axis.at(high), at), "#1d2733", 1.5);
        for end in [low, high] {
            svg.stroke(
                (axis.at(end), at - 4.0),
                (axis.at(end), at + 4.0),
                "#1d2733",
                1.5,
            );
        }
        for value in values {
            svg.dot((axis.at(*value), at), 1.8, "#1d273366", &number(*value));
        }
    }
    svg.text(
        (axis.at(most) + 8.0, y + 19.0),
        Anchor::Start,
        "value",
        &number(middle),
    );
}

/// A line an arm over the axis of the curve, with the middle half of the rounds.
pub fn curve(measured: &Measured, name: &str, metric: Metric) -> String {
    let has = |at: &Option<f64>| measured.arms_at(*at).any(|arm| arm.values(name).is_some());
    let points = measured.points().into_iter().filter(has).flatten();
    let points: Vec<f64> = points.collect();
    let medians = measured
        .arms
        .iter()
        .filter_map(|arm| Some(median(arm.values(name)?)));
    let medians: Vec<f64> = medians.filter(|value| value.is_finite()).collect();
    let (Some(&first), Some(&last)) = (points.first(), points.last()) else {
        return String::new();
    };
    let most = medians.iter().copied().fold(0.0, f64::max);
    let least = medians.iter().copied().fold(f64::INFINITY, f64::min);
    // Nothing there, or nothing lost at any point.
    if most <= 0.0 || points.len() < 2 {
        return String::new();
    }
    let plot = Plot::new(measured);
    let across = Axis::log(first, last, plot.left, plot.right);
    // Far apart: each would hide the other on a linear axis.
    let up = match least > 0.0 && most / least > 20.0 {
        true => Axis::log(least, most, plot.bottom, plot.top),
        false => Axis::linear(most, plot.bottom, plot.top),
    };
    let mut svg = plot.frame(&caption(metric), &up);
    for &point in &points {
        let x = across.at(point);
        svg.line((x, plot.top), (x, plot.bottom), "grid");
        svg.text(
            (x, plot.bottom + 16.0),
            Anchor::Middle,
            "tick",
            &whole(point),
        );
    }
    let axis = measured.axis.as_deref().unwrap_or_default();
    plot.across(&mut svg, axis);
    for (line, arm) in plot.names.iter().enumerate() {
        let colour = colour(measured, arm);
        let mut drawn = Vec::new();
        for &point in &points {
            let found = measured.arm_at(arm, Some(point));
            let Some(values) = found.and_then(|arm| arm.values(name)) else {
                continue;
            };
            let x = across.at(point);
            let (low, high) = (quantile(values, 0.25), quantile(values, 0.75));
            svg.stroke((x, up.at(low)), (x, up.at(high)), colour, 1.5);
            let tip = format!("{arm}: {}", number(median(values)));
            svg.dot((x, up.at(median(values))), 3.5, colour, &tip);
            drawn.push((x, up.at(median(values))));
        }
        svg.path(&drawn, colour);
        plot.legend(&mut svg, line, arm, colour);
    }
    svg.finish(&format!("{}: {} over {axis}", measured.title, metric.shown))
}

/// Latency over percentiles: each step to the right has a tenth as many
/// requests beyond it.
pub fn percentiles(measured: &Measured, at: Option<f64>) -> String {
    let arms: Vec<&ArmResult> = measured
        .arms_at(at)
        .filter(|arm| !arm.latency.is_empty() && arm.void.is_none())
        .collect();
    let all = arms
        .iter()
        .flat_map(|arm| arm.latency.iter().map(|(_, us)| us.max(1.0)));
    let (least, most) = all.fold((f64::INFINITY, 0.0_f64), |(low, high), us| {
        (low.min(us), high.max(us))
    });
    if arms.is_empty() {
        return String::new();
    }
    let plot = Plot::new(measured);
    let up = Axis::log(least, most, plot.bottom, plot.top);
    let mut svg = plot.frame(
        "latency, us, by percentile of requests (less is better)",
        &up,
    );
    // 1 - p on a log axis: 90 %, 99 %, 99.9 % at equal distances.
    let across = |percentile: f64| {
        let nines = -(1.0 - percentile / 100.0).max(1e-4).log10();
        plot.left + nines / 4.0 * (plot.right - plot.left)
    };
    for percentile in [0.0, 50.0, 90.0, 99.0, 99.9, 99.99] {
        let x = across(percentile);
        svg.line((x, plot.top), (x, plot.bottom), "grid");
        svg.text(
            (x, plot.bottom + 16.0),
            Anchor::Middle,
            "tick",
            &format!("{percentile} %"),
        );
    }
    plot.across(&mut svg, "percentile");
    for (line, arm) in arms.iter().enumerate() {
        let colour = colour(measured, &arm.name);
        let points: Vec<(f64, f64)> = arm
            .latency
            .iter()
            .map(|&(percentile, us)| (across(percentile), up.at(us.max(1.0))))
            .collect();
        svg.path(&points, colour);
        for (point, (percentile, us)) in points.iter().zip(&arm.latency) {
            let tip = format!("{} p{percentile}: {} us", arm.name, number(*us));
            svg.dot(*point, 2.5, colour, &tip);
        }
        plot.legend(&mut svg, line, &arm.name, colour);
    }
    svg.finish(&format!("{}: latency percentiles", measured.title))
}

/// Where the parts of a plot with two axes are.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    names: Vec<String>,
}

impl Plot {
    fn new(measured: &Measured) -> Self {
        let mut names: Vec<String> = Vec::new();
        for arm in &measured.arms {
            if !names.contains(&arm.name) {
                names.push(arm.name.clone());
            }
        }
        Self {
            left: 70.0,
            right: WIDTH - 230.0,
            top: 34.0,
            bottom: 300.0,
            names,
        }
    }

    fn frame(&self, caption: &str, up: &Axis) -> Svg {
        let mut svg = Svg::new(WIDTH, self.bottom + 44.0);
        svg.text((0.0, 16.0), Anchor::Start, "title", caption);
        for tick in up.ticks() {
            let y = up.at(tick);
            svg.line((self.left, y), (self.right, y), "grid");
            svg.text(
                (self.left - 8.0, y + 4.0),
                Anchor::End,
                "tick",
                &number(tick),
            );
        }
        svg
    }

    fn across(&self, svg: &mut Svg, name: &str) {
        let middle = f64::midpoint(self.left, self.right);
        svg.text((middle, self.bottom + 36.0), Anchor::Middle, "tick", name);
    }

    fn legend(&self, svg: &mut Svg, line: usize, name: &str, colour: &str) {
        let y = self.top + 10.0 + line as f64 * 22.0;
        let x = self.right + 18.0;
        svg.rect((x, y - 9.0), (14.0, 10.0), colour);
        svg.text((x + 20.0, y), Anchor::Start, "label", &shorten(name, 28));
    }
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::metric;
    use crate::result::tests::{arm, measured};

    const SAMPLES: &[(&str, &[f64])] = &[("p50_us", &[20.0, 22.0, 21.0])];

    fn scenario() -> Measured {
        let mut void = arm("nft", Role::Peer, SAMPLES);
        void.void = Some("not proved: its counters did not move".to_owned());
        measured("rr", vec![arm("plain", Role::Floor, SAMPLES), void])
    }

    #[test]
    fn a_void_arm_has_no_bar_but_is_named() {
        let shown = metric("p50_us").expect("a metric");
        let svg = bars(&scenario(), None, "p50_us", shown);
        assert_eq!(svg.matches("<rect").count(), 1);
        assert!(svg.contains(">nft<") && svg.contains(">VOID<"));
    }

    #[test]
    fn bars_that_are_far_apart_have_a_log_axis_that_says_so() {
        let shown = metric("p50_us").expect("a metric");
        let mut all = scenario();
        assert!(!bars(&all, None, "p50_us", shown).contains("log axis"));
        all.arms
            .push(arm("slow", Role::Peer, &[("p50_us", &[90_000.0])]));
        let svg = bars(&all, None, "p50_us", shown);
        assert!(svg.contains("log axis") && !svg.contains("NaN"));
    }

    #[test]
    fn a_curve_has_a_point_for_each_value() {
        let shown = metric("p50_us").expect("a metric");
        let mut all = scenario();
        all.axis = Some("rules".to_owned());
        all.arms = [1.0, 100.0]
            .map(|at| ArmResult {
                at: Some(at),
                ..arm("ours", Role::Ours, SAMPLES)
            })
            .into();
        let svg = curve(&all, "p50_us", shown);
        assert!(svg.contains(">1</text>") && !svg.contains(">10</text>"));
        assert_eq!(svg.matches("<circle").count(), 2);
        assert_eq!(svg.matches("<polyline").count(), 1);
    }

    #[test]
    fn without_an_open_loop_there_are_no_percentiles() {
        assert_eq!(percentiles(&scenario(), None), "");
        let mut all = scenario();
        all.arms[0].latency = vec![(50.0, 20.0), (99.0, 100.0)];
        assert!(percentiles(&all, None).contains("99.9 %"));
    }

    #[test]
    fn arms_keep_their_colours_and_ours_differ_from_peers() {
        let all = scenario();
        assert_eq!(colour(&all, "plain"), FLOOR);
        assert_eq!(colour(&all, "nft"), PEERS[0]);
    }
}
