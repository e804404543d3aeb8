//! A scenario: what is measured, as a TOML file that people read and write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::peer::Peer;
use crate::result::metric;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// Where peers of its own are looked for.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
    pub title: String,
    /// What a reader must know to read the figures right.
    pub about: String,
    #[serde(default)]
    pub kind: Kind,
    /// Part of the set that `cargo xtask bench` runs.
    #[serde(default)]
    pub standard: bool,
    /// The arm that all are held against besides the floor.
    pub against: Option<String>,
    /// The metric that ratios are about; the first one by default.
    pub headline: Option<String>,
    #[serde(default)]
    pub topology: Topology,
    #[serde(default)]
    pub cpus: Cpus,
    pub load: Option<Load>,
    #[serde(default)]
    pub rounds: Rounds,
    pub curve: Option<Curve>,
    #[serde(default, rename = "arm")]
    pub arms: Vec<Arm>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Real traffic through network namespaces, arm beside arm.
    #[default]
    Traffic,
    /// BPF_PROG_TEST_RUN of the live programs.
    Programs,
    /// A large mesh: loaded, then changed under traffic.
    Control,
    /// Cost of a packet, of a change, and memory, as tables grow.
    Growth,
    /// The same-host shortcut: client, proxy and server on one host.
    Shortcut,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    pub mtu: u32,
    /// What comes from outside has whole checksums, and is segmented, as on a wire.
    pub wire: bool,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            mtu: 1500,
            wire: false,
        }
    }
}

/// Which CPU runs what.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cpus {
    pub client: usize,
    /// The programs of a peer, and Terrace's.
    pub peer: usize,
    pub server: usize,
}

impl Default for Cpus {
    fn default() -> Self {
        Self {
            client: 1,
            peer: 1,
            server: 1,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Load {
    pub kind: LoadKind,
    #[serde(default = "one")]
    pub connections: u32,
    /// Bytes: of a request and its answer, of a datagram, of a frame.
    #[serde(default = "smallest")]
    pub size: u32,
    #[serde(default = "root")]
    pub path: String,
    /// `http`: requests a second, for all arms alike.
    pub rate: Option<f64>,
    /// `http`: or a share of what saturates one arm.
    pub rate_of: Option<RateOf>,
    /// `http`: false = one request a connection.
    #[serde(default = "yes")]
    pub keep_alive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadKind {
    /// Closed loop: for p50 and saturation only.
    Wrk,
    /// Open loop at a constant rate, latency from the scheduled time.
    Http,
    TcpRr,
    TcpCrr,
    /// One TCP stream.
    Bulk,
    /// One body of `size` bytes over HTTP.
    Download,
    /// BPF_F_TEST_XDP_LIVE_FRAMES into the host's uplink.
    Frames,
    /// The same frames by an AF_XDP socket.
    Afxdp,
    /// The kernel's pktgen into the host's uplink.
    Pktgen,
    /// Datagrams from an ordinary socket.
    Udp,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateOf {
    pub arm: String,
    pub share: f64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rounds {
    /// Each measures every arm twice, forth and back.
    pub repeats: usize,
    pub seconds: f64,
    /// A larger spread (interquartile range over median) is flagged.
    pub spread: f64,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            repeats: 9,
            seconds: 1.0,
            spread: 0.25,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    pub axis: Axis,
    pub values: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    Connections,
    Size,
    Rules,
    Services,
    Denied,
    Tracked,
}

impl Axis {
    pub fn shown(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Size => "bytes of a packet",
            Self::Rules => "rules",
            Self::Services => "services",
            Self::Denied => "denied addresses",
            Self::Tracked => "tracked connections",
        }
    }

    fn fits(self, kind: Kind) -> bool {
        match kind {
            Kind::Traffic => matches!(self, Self::Connections | Self::Size | Self::Rules),
            Kind::Growth => !matches!(self, Self::Connections | Self::Size),
            Kind::Programs | Kind::Control | Kind::Shortcut => false,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Arm {
    pub name: String,
    /// `terrace`, a peer that ships, or a folder beside the scenario.
    pub peer: Option<String>,
    /// Or a peer of command lines, written here.
    pub external: Option<Peer>,
    #[serde(default)]
    pub role: Role,
    /// `terrace`: the label, which the counters must prove.
    pub tier: Option<String>,
    /// `terrace`: the tier that is asked for, where that is not the label.
    pub wish: Option<String>,
    /// `terrace`: what its workers do while nothing comes: `poll`, `adaptive`, `spin`, `busy-poll`.
    pub wait: Option<String>,
    /// `terrace`: `[l7] uplink_sockets`; `auto` unless it is told.
    pub uplink_sockets: Option<String>,
    /// `terrace`: its manifests, from the peer's folder.
    #[serde(default)]
    pub manifests: Vec<String>,
    /// What the peer's files have for `{rules}`.
    #[serde(default)]
    pub rules: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Floor,
    #[default]
    Peer,
    Ours,
}

fn one() -> u32 {
    1
}

fn smallest() -> u32 {
    64
}

fn root() -> String {
    "/".to_owned()
}

fn yes() -> bool {
    true
}

impl Scenario {
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut scenario: Self =
            toml::from_str(text).with_context(|| format!("scenario {name}"))?;
        name.clone_into(&mut scenario.name);
        scenario
            .faults()
            .with_context(|| format!("scenario {name}"))?;
        Ok(scenario)
    }

    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "read {}: a scenario is a name that `terrace-bench list` shows, or a file",
                path.display()
            )
        })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut scenario = Self::parse(&name, &text)?;
        scenario.folder = path.parent().map(Path::to_owned);
        Ok(scenario)
    }

    fn faults(&self) -> Result<()> {
        if let Some(curve) = &self.curve {
            ensure!(
                curve.axis.fits(self.kind),
                "curve: axis `{}` does not go with this kind",
                curve.axis.shown()
            );
            ensure!(
                !curve.values.is_empty() && !curve.values.contains(&0),
                "curve: values must be above zero"
            );
        }
        ensure!(
            self.rounds.repeats > 0 && self.rounds.seconds > 0.0,
            "rounds: repeats and seconds must be above zero"
        );
        if let Some(headline) = &self.headline {
            ensure!(
                metric(headline).is_some(),
                "headline: no metric is called {headline}"
            );
        }
        match self.kind {
            Kind::Traffic => self.traffic_faults(),
            Kind::Growth => {
                ensure!(self.curve.is_some(), "kind growth needs [curve]");
                Ok(())
            }
            Kind::Programs | Kind::Control | Kind::Shortcut => Ok(()),
        }
    }

    fn traffic_faults(&self) -> Result<()> {
        let load = self.load.as_ref().context("[load] is missing")?;
        ensure!(!self.arms.is_empty(), "no [[arm]]");
        let mut names = BTreeSet::new();
        for arm in &self.arms {
            ensure!(names.insert(&arm.name), "two arms are named {}", arm.name);
            arm.faults().with_context(|| format!("arm {}", arm.name))?;
        }
        let floors = self.arms.iter().filter(|arm| arm.role == Role::Floor);
        ensure!(floors.count() <= 1, "more than one floor");
        let rate_of = load.rate_of.as_ref().map(|rate| &rate.arm);
        for named in self.against.iter().chain(rate_of) {
            ensure!(names.contains(named), "no arm is named {named}");
        }
        match (load.kind, &load.rate, &load.rate_of) {
            (LoadKind::Http, None, None) => bail!("load http needs `rate` or `rate-of`"),
            (LoadKind::Http, Some(_), Some(_)) => bail!("load: `rate` or `rate-of`, not both"),
            _ => Ok(()),
        }
    }

    /// Seconds of measuring, without what setting up takes.
    pub fn seconds(&self) -> f64 {
        let points = self.curve.as_ref().map_or(1, |curve| curve.values.len());
        let measured = self.rounds.repeats * self.arms.len() * 2 * points;
        measured as f64 * self.rounds.seconds
    }

    /// For the standard set, which has ten minutes for all.
    pub fn shorten(&mut self) {
        let most = if self.rounds.seconds < 0.6 { 5 } else { 3 };
        self.rounds.repeats = self.rounds.repeats.min(most);
    }

    /// Short, to see that it works.
    pub fn quicken(&mut self) {
        self.rounds.repeats = self.rounds.repeats.min(2);
        self.rounds.seconds = self.rounds.seconds.min(0.2);
        if let Some(curve) = &mut self.curve
            && let [first, .., last] = curve.values[..]
        {
            curve.values = vec![first, last.min(first.saturating_mul(100))];
        }
    }
}

impl LoadKind {
    /// Frames into the host's uplink, without a socket at their other end.
    pub fn is_generated(self) -> bool {
        matches!(self, Self::Frames | Self::Afxdp | Self::Pktgen)
    }
}

impl Arm {
    pub fn is_terrace(&self) -> bool {
        self.peer.as_deref() == Some("terrace")
    }

    fn faults(&self) -> Result<()> {
        ensure!(
            self.peer.is_some() != self.external.is_some(),
            "needs `peer` or `external`, and not both"
        );
        ensure!(
            self.is_terrace() == self.tier.is_some(),
            "`tier` is the label of Terrace's arms, and each of them needs one"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Scenario;

    const ARMS: &str = "[[arm]]\nname = \"plain\"\npeer = \"plain\"\nrole = \"floor\"\n[[arm]]\nname = \"ours\"\npeer = \"terrace\"\ntier = \"tc\"\nrole = \"ours\"\n";

    fn text(head: &str, tail: &str) -> String {
        format!("title = \"t\"\nabout = \"a\"\n{head}\n[load]\nkind = \"wrk\"\n{ARMS}{tail}")
    }

    #[test]
    fn a_scenario_is_read_with_its_defaults() {
        let scenario = Scenario::parse("s", &text("", "")).expect("a scenario");
        assert_eq!(scenario.rounds.repeats, 9);
        assert_eq!(scenario.topology.mtu, 1500);
        assert_eq!(scenario.seconds(), 36.0);
    }

    #[test]
    fn each_fault_is_named() {
        let two = "[[arm]]\nname = \"plain\"\npeer = \"plain\"\n";
        let floor = "[[arm]]\nname = \"b\"\npeer = \"plain\"\nrole = \"floor\"\n";
        let no_tier = "[[arm]]\nname = \"b\"\npeer = \"terrace\"\n";
        let no_peer = "[[arm]]\nname = \"b\"\n";
        let axis = "[curve]\naxis = \"services\"\nvalues = [1]\n";
        let zero = "[curve]\naxis = \"size\"\nvalues = [0]\n";
        let rows = [
            ("unknown key", text("x = 1", ""), "unknown field"),
            ("two arms of a name", text("", two), "two arms"),
            ("two floors", text("", floor), "more than one floor"),
            ("no tier", text("", no_tier), "`tier` is the label"),
            ("no peer", text("", no_peer), "`peer` or `external`"),
            (
                "no such arm",
                text("against = \"x\"", ""),
                "no arm is named x",
            ),
            ("wrong axis", text("", axis), "does not go with"),
            ("zero", text("", zero), "above zero"),
            (
                "no load",
                format!("title = \"t\"\nabout = \"a\"\n{ARMS}"),
                "[load] is missing",
            ),
            (
                "no rate",
                text("", "").replace("wrk", "http"),
                "needs `rate` or `rate-of`",
            ),
            (
                "growth of nothing",
                "title = \"t\"\nabout = \"a\"\nkind = \"growth\"\n".to_owned(),
                "needs [curve]",
            ),
        ];
        for (row, text, expected) in rows {
            let fault = Scenario::parse("s", &text).expect_err(row);
            let said = format!("{fault:#}");
            assert!(said.contains(expected), "{row}: {said}");
        }
    }

    #[test]
    fn quick_is_short_in_every_way() {
        let curve = "[curve]\naxis = \"size\"\nvalues = [64, 512, 9000]\n";
        let mut scenario = Scenario::parse("s", &text("", curve)).expect("a scenario");
        scenario.quicken();
        assert!(scenario.seconds() < 5.0);
        assert_eq!(
            scenario.curve.map(|curve| curve.values),
            Some(vec![64, 6400])
        );
    }
}
