//! The scenarios and peers that ship, inside the binary.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use include_dir::{Dir, include_dir};

use crate::scenario::Scenario;

static SCENARIOS: Dir = include_dir!("$CARGO_MANIFEST_DIR/scenarios");
static PEERS: Dir = include_dir!("$CARGO_MANIFEST_DIR/peers");

/// The tables of documents.
pub fn docs() -> &'static str {
    include_str!("../docs.toml")
}

/// All scenarios that ship, by name.
pub fn scenarios() -> Result<Vec<Scenario>> {
    let mut scenarios = SCENARIOS
        .files()
        .map(|file| {
            let name = file.path().file_stem().unwrap_or_default();
            let text = file.contents_utf8().context("a scenario is UTF-8")?;
            Scenario::parse(&name.to_string_lossy(), text)
        })
        .collect::<Result<Vec<_>>>()?;
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scenarios)
}

/// The named ones, each a name that ships or a file; without names all of them,
/// or the standard set.
pub fn choose(names: &[String], standard: bool) -> Result<Vec<Scenario>> {
    let mut shipped = scenarios()?;
    if names.is_empty() {
        shipped.retain(|scenario| !standard || scenario.standard);
        return Ok(shipped);
    }
    let find = |name: &String| match shipped.iter().find(|scenario| scenario.name == *name) {
        Some(scenario) => Ok(scenario.clone()),
        None => Scenario::read(Path::new(name)),
    };
    names.iter().map(find).collect()
}

/// Names of the peers that ship.
pub fn peers() -> Vec<&'static str> {
    let mut names: Vec<_> = PEERS
        .dirs()
        .filter(|dir| dir.get_file(dir.path().join("peer.toml")).is_some())
        .filter_map(|dir| dir.path().to_str())
        .collect();
    names.sort_unstable();
    names
}

/// The files of a peer's folder.
pub fn peer(name: &str) -> Option<BTreeMap<String, String>> {
    let dir = PEERS.get_dir(name)?;
    let files = dir.files().filter_map(|file| {
        let name = file.path().file_name()?.to_str()?;
        Some((name.to_owned(), file.contents_utf8()?.to_owned()))
    });
    Some(files.collect())
}

/// One file of a folder of peers/.
pub fn file(path: &str) -> Result<&'static str> {
    let file = PEERS.get_file(path);
    file.and_then(|file| file.contents_utf8())
        .with_context(|| format!("no file bench/peers/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Peer;

    #[test]
    fn every_scenario_that_ships_is_whole() {
        let scenarios = scenarios().expect("readable scenarios");
        assert!(scenarios.len() > 5);
        for scenario in &scenarios {
            for arm in scenario.arms.iter().filter(|arm| !arm.is_terrace()) {
                if let Some(peer) = &arm.peer {
                    Peer::find(peer, None).expect(&scenario.name);
                }
            }
        }
    }

    #[test]
    fn the_standard_set_measures_for_less_than_six_minutes() {
        let standard = choose(&[], true).expect("readable scenarios");
        let seconds: f64 = standard.iter().map(Scenario::seconds).sum();
        assert!(seconds < 360.0, "{seconds} s");
    }
}
