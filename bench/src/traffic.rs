//! A traffic scenario: arms take turns (A B B A), every measurement is held
//! against the counters, and a figure is what the rounds say together.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use crate::lab::{self, Arm};
use crate::load::{self, Driver, Sample};
use crate::noise::{self, Round};
use crate::proof;
use crate::result::{ArmResult, Measured};
use crate::run::Context;
use crate::scenario::{Axis, Load, LoadKind, Role, Scenario};
use crate::stats::median;
use crate::{agent, interrupt, usage};

/// The percentiles of a latency plot.
const PERCENTILES: [f64; 13] = [
    0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.99,
];
/// Part of a measurement that warms up.
const WARM: f64 = 0.2;

/// One arm while it is measured.
struct Lane {
    result: ArmResult,
    /// None once it is void.
    built: Option<(Arm, Driver)>,
    /// Values forth and back, by round.
    rounds: Vec<Vec<BTreeMap<&'static str, f64>>>,
    latency: Histogram<u64>,
}

pub fn measure(scenario: &Scenario, context: &Context, bar: &ProgressBar) -> Result<Measured> {
    let load = scenario.load.as_ref().context("no [load]")?;
    let mut measured = context.empty(scenario);
    let points = match &scenario.curve {
        None => vec![None],
        Some(curve) => curve
            .values
            .iter()
            .map(|&value| Some((curve.axis, value)))
            .collect(),
    };
    for point in points {
        let load = at_point(load, point);
        let lanes = lanes(scenario, &load, point, context);
        interrupt::check()?;
        let lanes = Point {
            scenario,
            load: &load,
            lanes,
            bar,
        };
        lanes.measure(&mut measured)?;
    }
    Ok(measured)
}

fn at_point(load: &Load, point: Option<(Axis, u32)>) -> Load {
    let mut load = load.clone();
    match point {
        Some((Axis::Connections, value)) => load.connections = value,
        Some((Axis::Size, value)) => load.size = value,
        _ => {}
    }
    load
}

/// Builds the arms; one that does not come up is void and says why.
fn lanes(
    scenario: &Scenario,
    load: &Load,
    point: Option<(Axis, u32)>,
    context: &Context,
) -> Vec<Lane> {
    let source = lab::Source {
        terrace: context.terrace.clone(),
        envoy: context.envoy.clone(),
        folder: scenario.folder.clone(),
        cpus: scenario.cpus,
        topology: scenario.topology,
        bare: load.is_bare(),
    };
    let lane = |arm: &crate::scenario::Arm| {
        let mut arm = arm.clone();
        if let Some((Axis::Rules, value)) = point {
            arm.rules = value;
        }
        let built = interrupt::check().and_then(|()| {
            crate::check::missing(&arm, &source)?;
            let arm = Arm::new(&arm, &source)?;
            let driver = Driver::new(load, &arm)?;
            Ok((arm, driver))
        });
        let mut result = ArmResult {
            name: arm.name.clone(),
            role: arm.role,
            tier: arm.tier.clone(),
            at: point.map(|(_, value)| f64::from(value)),
            ..ArmResult::default()
        };
        match &built {
            Ok((arm, _)) => result.version = arm.version(),
            Err(error) => result.void = Some(format!("not started: {error:#}")),
        }
        Lane {
            result,
            built: built.ok(),
            rounds: Vec::new(),
            latency: agent::histogram(),
        }
    };
    scenario.arms.iter().map(lane).collect()
}

struct Point<'a> {
    scenario: &'a Scenario,
    load: &'a Load,
    lanes: Vec<Lane>,
    bar: &'a ProgressBar,
}

impl Point<'_> {
    fn measure(mut self, measured: &mut Measured) -> Result<()> {
        let seconds = self.scenario.rounds.seconds;
        let rate = self.rate().unwrap_or_else(|error| {
            self.give_up(&format!("not started: no rate: {error:#}"));
            0.0
        });
        measured.load = self.load.shown(Some(rate));
        if let Some(axis) = &measured.axis {
            measured.load += &format!(" (the last point; {axis} vary)");
        }
        // A download is long enough to be warm by itself.
        let is_warm = self.load.kind == LoadKind::Download;
        for lane in self.lanes.iter_mut().filter(|_| !is_warm) {
            let warm = lane.measure(self.load, seconds * WARM, rate, self.scenario.cpus.client);
            if let Some((_, cpu)) = warm {
                lane.note_cpus(cpu, self.scenario.cpus, &mut measured.cpus);
            }
            lane.latency.reset();
        }
        let mut rounds = Vec::new();
        for _ in 0..self.scenario.rounds.repeats {
            rounds.push(self.round(seconds, rate));
            interrupt::check()?;
        }
        let (keep, warnings) = noise::quiet(&rounds);
        let at = self.lanes.first().and_then(|lane| lane.result.at);
        let place = at.map_or(String::new(), |at| format!("at {at}: "));
        measured
            .noise
            .extend(warnings.iter().map(|warning| format!("{place}{warning}")));
        let bound = self.scenario.rounds.spread;
        let arms: Vec<ArmResult> = self
            .lanes
            .into_iter()
            .map(|lane| lane.finish(&keep, bound))
            .collect();
        let drops = self.load.kind.is_generated();
        measured
            .arms
            .extend(if drops { over_floor(arms) } else { arms });
        Ok(())
    }

    fn give_up(&mut self, why: &str) {
        for lane in &mut self.lanes {
            lane.result.void.get_or_insert_with(|| why.to_owned());
            lane.built = None;
        }
    }

    /// Of an open loop: as the scenario says, for all arms alike.
    fn rate(&self) -> Result<f64> {
        if let Some(rate) = self.load.rate {
            return Ok(rate);
        }
        let Some(of) = &self.load.rate_of else {
            return Ok(0.0);
        };
        let lane = self.lanes.iter().find(|lane| lane.result.name == of.arm);
        let built = lane.and_then(|lane| lane.built.as_ref());
        let (arm, _) = built.with_context(|| {
            let why = lane.and_then(|lane| lane.result.void.clone());
            format!(
                "the rate is that of {}, which is not there: {}",
                of.arm,
                why.unwrap_or_default()
            )
        })?;
        let cpu = self.scenario.cpus.client;
        let most = load::saturation(self.load, arm, self.scenario.rounds.seconds, cpu)?;
        Ok((most * of.share).max(1.0))
    }

    /// Every arm, forth and back.
    fn round(&mut self, seconds: f64, rate: f64) -> Round {
        let mut round = Round::default();
        let mut floor = Vec::new();
        let n = self.lanes.len();
        for lane in &mut self.lanes {
            lane.rounds.push(Vec::new());
        }
        for at in (0..n).chain((0..n).rev()) {
            let lane = &mut self.lanes[at];
            self.bar.set_message(lane.result.name.clone());
            let found = lane.measure(self.load, seconds, rate, self.scenario.cpus.client);
            self.bar.inc(1);
            let Some((used, _)) = found else { continue };
            round.steal = round.steal.max(used.steal / used.elapsed);
            round.foreign = round.foreign.max(used.foreign / used.elapsed);
            let last = lane.rounds.last().and_then(|round| round.last());
            if lane.result.role == Role::Floor
                && let Some(value) = last.and_then(headline)
            {
                floor.push(value);
            }
        }
        if let [forth, back] = floor[..] {
            round.floor = Some((forth, back));
        }
        round
    }
}

/// The metric that tells most of how an arm does.
fn headline(values: &BTreeMap<&'static str, f64>) -> Option<f64> {
    let names = ["packets", "bits", "p50_us", "requests", "connections"];
    names.into_iter().find_map(|name| values.get(name).copied())
}

impl Lane {
    /// One measurement with its proof; None when the arm is void.
    fn measure(
        &mut self,
        load: &Load,
        seconds: f64,
        rate: f64,
        cpu: usize,
    ) -> Option<(usage::Usage, Option<usize>)> {
        if interrupt::is_asked() {
            return None;
        }
        let (arm, driver) = self.built.as_ref()?;
        match proved(arm, driver, load, seconds, rate, cpu) {
            Ok((sample, used, proved)) => {
                self.result.proof = Some(proved.proof);
                if let Some(latency) = &sample.latency {
                    let _ = self.latency.add(latency);
                }
                let mut values = values(load, &sample, &used);
                values.extend(proved.calls.map(|calls| ("calls_per_packet", calls)));
                if let Some(round) = self.rounds.last_mut() {
                    round.push(values);
                }
                Some((used, sample.cpu))
            }
            Err(error) => {
                self.result.void = Some(format!("{error:#}"));
                self.built = None;
                None
            }
        }
    }

    fn note_cpus(
        &self,
        client: Option<usize>,
        tied: crate::scenario::Cpus,
        cpus: &mut BTreeMap<String, String>,
    ) {
        let Some((arm, _)) = &self.built else { return };
        let client = client.map(|cpu| ("client", cpu as u32));
        for (role, seen) in arm.seen().into_iter().chain(client) {
            let tied = match role {
                "client" => tied.client,
                "peer" => tied.peer,
                _ => tied.server,
            };
            cpus.insert(role.to_owned(), format!("tied to {tied}, seen on {seen}"));
        }
    }

    /// The mean of forth and back of each round that counts.
    fn finish(mut self, keep: &[bool], bound: f64) -> ArmResult {
        let rounds = self
            .rounds
            .iter()
            .zip(keep)
            .filter(|(round, keep)| **keep && !round.is_empty());
        for (round, _) in rounds {
            for name in round[0].keys() {
                let values = round.iter().filter_map(|values| values.get(name));
                let mean = values.sum::<f64>() / round.len() as f64;
                self.result
                    .samples
                    .entry((*name).to_owned())
                    .or_default()
                    .push(mean);
            }
        }
        for (name, values) in &self.result.samples {
            if matches!(name.as_str(), "loss" | "achieved" | "p999_us" | "p99_us") {
                continue;
            }
            self.result.flags.extend(noise::flag(name, values, bound));
        }
        if let Some(achieved) = self.result.samples.get("achieved")
            && median(achieved) < 0.98
        {
            let share = median(achieved) * 100.0;
            self.result
                .flags
                .push(format!("kept up with {share:.0} % of the rate only"));
        }
        if !self.latency.is_empty() && self.result.void.is_none() {
            let at = |percentile| self.latency.value_at_percentile(percentile) as f64 / 1e3;
            self.result.latency = PERCENTILES
                .map(|percentile| (percentile, at(percentile)))
                .into();
        }
        self.result
    }
}

/// Runs the load between two readings of the counters.
fn proved(
    arm: &Arm,
    driver: &Driver,
    load: &Load,
    seconds: f64,
    rate: f64,
    cpu: usize,
) -> Result<(Sample, usage::Usage, Proved)> {
    let before = arm.counters()?;
    let start = usage::read();
    let sample = driver.run(load, arm, seconds, rate, cpu)?;
    let used = start.until_now();
    let moved = proof::moved(&before, &arm.counters()?);
    let proof = arm
        .judge(&moved, &sample.sent)
        .map_err(|why| anyhow::anyhow!("not proved: {why}"))?;
    let work = moved.work.filter(|work| work.packets > 0);
    let calls = work.map(|work| work.calls as f64 / work.packets as f64);
    Ok((sample, used, Proved { proof, calls }))
}

/// What the counters say of a measurement.
struct Proved {
    proof: String,
    /// System calls of Terrace's workers for a packet.
    calls: Option<f64>,
}

/// The sample's figures, and what they cost.
fn values(load: &Load, sample: &Sample, used: &usage::Usage) -> BTreeMap<&'static str, f64> {
    let mut values: BTreeMap<_, _> = sample.metrics.iter().copied().collect();
    let cost = used.own() / sample.units.max(f64::MIN_POSITIVE);
    match load.kind {
        LoadKind::Bulk | LoadKind::Download => {
            values.insert("cpu_s_gb", cost);
        }
        LoadKind::Frames | LoadKind::Afxdp | LoadKind::Pktgen | LoadKind::Udp => {
            values.insert("cpu_us", cost * 1e6);
        }
        LoadKind::Wrk | LoadKind::Http | LoadKind::TcpRr | LoadKind::TcpCrr => {
            values.insert("cpu_us", cost * 1e6);
            values.insert("per_cpu_second", 1.0 / cost.max(f64::MIN_POSITIVE));
        }
    }
    values
}

/// Adds what a packet costs over the floor that drops it.
fn over_floor(mut arms: Vec<ArmResult>) -> Vec<ArmResult> {
    let floor = arms.iter().find(|arm| arm.role == Role::Floor);
    let Some(floor) = floor
        .and_then(|arm| arm.values("packets"))
        .map(<[f64]>::to_vec)
    else {
        return arms;
    };
    for arm in arms.iter_mut().filter(|arm| arm.role != Role::Floor) {
        let Some(rates) = arm.values("packets") else {
            continue;
        };
        let rounds = rates.iter().zip(&floor);
        let marginal = rounds.map(|(rate, floor)| 1e3 / rate - 1e3 / floor);
        let marginal = marginal.collect();
        arm.samples.insert("marginal_ns".to_owned(), marginal);
    }
    arms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::arm;

    #[test]
    fn a_packet_costs_what_it_takes_longer_than_a_dropped_one() {
        let arms = vec![
            arm("drop", Role::Floor, &[("packets", &[10.0, 5.0])]),
            arm("nft", Role::Peer, &[("packets", &[1.0, 1.0])]),
        ];
        let arms = over_floor(arms);
        assert_eq!(arms[1].samples["marginal_ns"], [900.0, 800.0]);
        assert!(!arms[0].samples.contains_key("marginal_ns"));
    }

    #[test]
    fn only_the_point_of_the_curve_changes_the_load() {
        let load: Load = toml::from_str("kind = \"tcp-rr\"").expect("a load");
        let at = at_point(&load, Some((Axis::Connections, 7)));
        assert_eq!((at.connections, at.size), (7, 64));
        let at = at_point(&load, Some((Axis::Size, 512)));
        assert_eq!((at.connections, at.size), (1, 512));
    }
}
