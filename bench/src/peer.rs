//! A peer as data: its files, command lines, and what proves that it worked.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::library;
use crate::proof::Way;

/// `peer.toml`. Every text may hold `{placeholders}`; `Values` has them all.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Peer {
    /// How it is configured, and whose advice that is.
    pub about: String,
    /// What the kernel's counters must show.
    pub way: Way,
    /// Where clients connect to.
    pub dial: Dial,
    /// Programs that must be installed.
    pub needs: Vec<String>,
    /// Files that exist where the kernel can do it.
    pub kernel: Vec<String>,
    /// Run first, each to its end.
    pub setup: Vec<Vec<String>>,
    /// Runs until the arm is taken down.
    pub start: Vec<String>,
    /// `address:port`s of the host that must answer before traffic flows.
    pub ready: Vec<String>,
    pub counter: Option<Counter>,
    /// Run at the end, after `start` was stopped.
    pub stop: Vec<Vec<String>>,
    /// Prints its version.
    pub version: Vec<String>,
    /// Files of other peers that it uses, as `peer/file`.
    pub also: Vec<String>,
    /// Name to content; the folder's own files when it is not written in place.
    pub files: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dial {
    /// The backend itself.
    Backend,
    /// The service's address.
    #[default]
    Service,
    /// The host, where a proxy listens on the service's ports.
    Host,
}

/// The peer's own counter: the sum of all numbers that follow `after` in what
/// `run` prints.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counter {
    pub run: Vec<String>,
    pub after: String,
    /// What it counts.
    #[serde(default)]
    pub unit: CounterUnit,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CounterUnit {
    Requests,
    /// First packets of connections, at least: what NAT rules count.
    #[default]
    Connections,
}

impl Peer {
    /// A peer that ships, or one in a folder beside the scenario.
    pub fn find(name: &str, beside: Option<&Path>) -> Result<Self> {
        let files = match beside.map(|folder| folder.join(name)) {
            Some(folder) if folder.join("peer.toml").exists() => read_folder(&folder)?,
            _ => library::peer(name)
                .with_context(|| format!("no peer is named {name}: see `terrace-bench list`"))?,
        };
        Self::parse(files).with_context(|| format!("peer {name}"))
    }

    fn parse(mut files: BTreeMap<String, String>) -> Result<Self> {
        let text = files.remove("peer.toml").context("no peer.toml")?;
        let mut peer: Self = toml::from_str(&text)?;
        peer.files.extend(files);
        for path in peer.also.clone() {
            let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
            peer.files.insert(name, library::file(&path)?.to_owned());
        }
        Ok(peer)
    }
}

fn read_folder(folder: &Path) -> Result<BTreeMap<String, String>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    entries
        .map(|entry| {
            let entry = entry?;
            let text = std::fs::read_to_string(entry.path())?;
            Ok((entry.file_name().to_string_lossy().into_owned(), text))
        })
        .collect()
}

/// What stands for `{name}` in a peer's files and command lines.
#[derive(Debug, Clone, Default)]
pub struct Values(BTreeMap<&'static str, String>);

impl Values {
    pub fn set(&mut self, name: &'static str, value: impl ToString) {
        self.0.insert(name, value.to_string());
    }

    /// Other braces stay: configurations are full of them.
    pub fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
    }

    pub fn fill_all(&self, texts: &[String]) -> Vec<String> {
        texts.iter().map(|text| self.fill(text)).collect()
    }
}

impl Counter {
    /// The sum of the numbers that follow `after`.
    pub fn sum(&self, printed: &str) -> u64 {
        let parts = printed.split(self.after.as_str()).skip(1);
        let numbers = parts.filter_map(|part| {
            let part = part.trim_start();
            let end = part.find(|c: char| !c.is_ascii_digit());
            part[..end.unwrap_or(part.len())].parse::<u64>().ok()
        });
        numbers.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_the_sum_of_what_follows() {
        let rows = [
            (
                "packets",
                "counter packets 3 bytes 9\ncounter packets 40 bytes",
                43,
            ),
            ("CumReq:", "Name: x\nCumReq: 17\nUptime: 4", 17),
            ("CumReq:", "nothing", 0),
            ("CumReq:", "CumReq: none", 0),
        ];
        for (after, printed, expected) in rows {
            let counter = Counter {
                run: Vec::new(),
                after: after.to_owned(),
                unit: CounterUnit::Requests,
            };
            assert_eq!(counter.sum(printed), expected, "{printed}");
        }
    }

    #[test]
    fn only_known_names_in_braces_are_filled_in() {
        let mut values = Values::default();
        values.set("service", "10.96.0.10");
        assert_eq!(
            values.fill("a { b {service} } {x}"),
            "a { b 10.96.0.10 } {x}"
        );
    }

    #[test]
    fn every_peer_that_ships_is_readable() {
        for name in library::peers() {
            let peer = Peer::find(name, None).expect(name);
            assert!(!peer.about.is_empty(), "{name} does not say what it is");
        }
    }
}
