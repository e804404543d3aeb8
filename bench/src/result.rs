//! What a run leaves behind: `result.json`, read again by `report` and `compare`.

mod merge;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::report::{Outcome, Row};
use crate::scenario::Role;
pub use merge::{Origin, shown};

/// Raised when a field changes its meaning.
const FORMAT: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunFile {
    pub format: u32,
    /// As it was typed.
    pub command: String,
    /// UTC, RFC 3339.
    pub started: String,
    pub seconds: f64,
    pub host: Host,
    pub scenarios: Vec<Measured>,
}

/// One scenario, measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub name: String,
    pub title: String,
    pub about: String,
    /// What was sent, in words.
    pub load: String,
    /// What the curve is drawn over.
    pub axis: Option<String>,
    /// The arm that all are held against besides the floor.
    pub against: Option<String>,
    /// The metric that ratios are about.
    pub headline: Option<String>,
    /// Role -> the CPU that it was tied to and the one it was seen on.
    pub cpus: BTreeMap<String, String>,
    pub arms: Vec<ArmResult>,
    pub notes: Vec<String>,
    /// What the noise guard found.
    pub noise: Vec<String>,
    /// That it took, setting up included.
    #[serde(default)]
    pub seconds: f64,
    /// Where it is not of its file's own run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// One arm, at one point of the curve.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ArmResult {
    pub name: String,
    pub role: Role,
    pub tier: Option<String>,
    /// The value of the curve's axis.
    pub at: Option<f64>,
    /// Metric (see [`metric`]) -> a value a round; the same index is the same round.
    pub samples: BTreeMap<String, Vec<f64>>,
    /// Percentile, microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<(f64, f64)>,
    /// The counters of the last round, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// Why nothing of this arm may be quoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the headline must reach, and whether it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default)]
    pub outcome: Outcome,
}

/// How a metric is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub shown: &'static str,
    pub unit: &'static str,
    pub more_is_better: bool,
}

/// The metrics, in the order of tables.
const METRICS: [(&str, &str, &str, bool); 25] = [
    ("requests", "requests", "/s", true),
    ("connections", "connections", "/s", true),
    ("packets", "packets", "Mpps", true),
    ("bits", "throughput", "Gbit/s", true),
    ("p50_us", "latency p50", "us", false),
    ("p90_us", "latency p90", "us", false),
    ("p99_us", "latency p99", "us", false),
    ("p999_us", "latency p99.9", "us", false),
    ("per_cpu_second", "requests per CPU second", "/s", true),
    ("cpu_us", "CPU per unit", "us", false),
    ("cpu_s_gb", "CPU per GB", "s", false),
    ("marginal_ns", "per packet over the floor", "ns", false),
    ("units", "over the empty program", "units", false),
    ("net_ns", "net cost of a packet", "ns", false),
    ("instructions", "instructions of a packet", "", false),
    ("verified", "verified instructions", "", false),
    ("median_ms", "time of a step", "ms", false),
    (
        "change_ms",
        "one endpoint changed: compiled and written",
        "ms",
        false,
    ),
    (
        "reload_ms",
        "one file changed: in effect, by the daemon",
        "ms",
        false,
    ),
    ("daemon_mb", "memory of the daemon", "MB", false),
    ("maps_mb", "memory of the maps", "MB", false),
    ("daemon_maps_mb", "memory of the daemon's maps", "MB", false),
    (
        "calls_per_packet",
        "system calls of the worker for a packet",
        "",
        false,
    ),
    (
        "sender_calls",
        "system calls of the generator for a packet",
        "",
        false,
    ),
    ("loss", "lost", "share", false),
];

/// None for a figure that only explains others.
pub fn metric(name: &str) -> Option<Metric> {
    let found = METRICS.iter().find(|(known, ..)| *known == name);
    found.map(|&(_, shown, unit, more_is_better)| Metric {
        shown,
        unit,
        more_is_better,
    })
}

impl Measured {
    /// The metrics that its arms have, in the order of tables.
    pub fn metrics(&self) -> Vec<(&'static str, Metric)> {
        let has = |name: &str| self.arms.iter().any(|arm| arm.samples.contains_key(name));
        let known = METRICS.iter().filter(|(name, ..)| has(name));
        known
            .filter_map(|&(name, ..)| Some((name, metric(name)?)))
            .collect()
    }

    /// The metric that ratios are about.
    pub fn headline(&self) -> Option<(&'static str, Metric)> {
        let metrics = self.metrics();
        let named = metrics
            .iter()
            .find(|(name, _)| Some(*name) == self.headline.as_deref());
        named.or(metrics.first()).copied()
    }

    /// The values of the curve's axis, or one None.
    pub fn points(&self) -> Vec<Option<f64>> {
        let mut points: Vec<Option<f64>> = Vec::new();
        for arm in &self.arms {
            if !points.contains(&arm.at) {
                points.push(arm.at);
            }
        }
        points
    }

    /// The arms at one point, void ones too.
    pub fn arms_at(&self, at: Option<f64>) -> impl Iterator<Item = &ArmResult> {
        self.arms.iter().filter(move |arm| arm.at == at)
    }

    /// The arm of this role at one point.
    pub fn floor_at(&self, at: Option<f64>) -> Option<&ArmResult> {
        self.arms_at(at).find(|arm| arm.role == Role::Floor)
    }

    pub fn arm_at(&self, name: &str, at: Option<f64>) -> Option<&ArmResult> {
        self.arms_at(at).find(|arm| arm.name == name)
    }
}

impl ArmResult {
    /// A row of a table that was measured as a whole.
    pub fn of_row(row: &Row) -> Self {
        let name = row.cells.first().cloned().unwrap_or_default();
        let role = match name.starts_with("peer:") {
            true => Role::Peer,
            false => Role::Ours,
        };
        let figures = row
            .figures
            .iter()
            .filter(|(name, _)| metric(name).is_some());
        Self {
            name,
            role,
            samples: figures
                .map(|(name, value)| (name.clone(), vec![*value]))
                .collect(),
            target: row.target.clone(),
            outcome: row.outcome,
            ..Self::default()
        }
    }

    /// The samples of a metric, where they may be quoted.
    pub fn values(&self, metric: &str) -> Option<&[f64]> {
        if self.void.is_some() {
            return None;
        }
        self.samples.get(metric).map(Vec::as_slice)
    }
}

impl RunFile {
    pub fn new(command: String, host: Host, started: String) -> Self {
        Self {
            format: FORMAT,
            command,
            started,
            seconds: 0.0,
            host,
            scenarios: Vec::new(),
        }
    }

    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let run: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no result of terrace-bench", path.display()))?;
        ensure!(
            run.format == FORMAT,
            "{} has format {}, this program reads {FORMAT}",
            path.display(),
            run.format
        );
        Ok(run)
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An arm with samples of some metrics.
    pub fn arm(name: &str, role: Role, samples: &[(&str, &[f64])]) -> ArmResult {
        let samples = samples.iter();
        ArmResult {
            name: name.to_owned(),
            role,
            samples: samples
                .map(|(metric, values)| ((*metric).to_owned(), values.to_vec()))
                .collect(),
            ..ArmResult::default()
        }
    }

    pub fn measured(name: &str, arms: Vec<ArmResult>) -> Measured {
        Measured {
            name: name.to_owned(),
            title: format!("the title of {name}"),
            about: "about it".to_owned(),
            load: "wrk, 1 connection".to_owned(),
            axis: None,
            against: None,
            headline: None,
            cpus: BTreeMap::new(),
            arms,
            notes: Vec::new(),
            noise: Vec::new(),
            seconds: 0.0,
            origin: None,
        }
    }

    pub fn run(scenarios: Vec<Measured>) -> RunFile {
        let mut run = RunFile::new(
            "terrace-bench run".to_owned(),
            Host::default(),
            "2026-11-22T10:00:00Z".to_owned(),
        );
        run.scenarios = scenarios;
        run
    }

    #[test]
    fn a_result_survives_the_file() {
        let samples: &[(&str, &[f64])] = &[("p50_us", &[1.0, 2.0])];
        let arms = vec![arm("plain", Role::Floor, samples)];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("result.json");
        run(vec![measured("a", arms)])
            .write(&path)
            .expect("written");
        let read = RunFile::read(&path).expect("read");
        assert_eq!(read.scenarios[0].arms[0].samples["p50_us"], [1.0, 2.0]);
    }

    #[test]
    fn a_void_arm_has_no_values() {
        let mut void = arm("x", Role::Peer, &[("p50_us", &[1.0])]);
        assert!(void.values("p50_us").is_some());
        void.void = Some("its counters did not move".to_owned());
        assert!(void.values("p50_us").is_none());
    }
}
