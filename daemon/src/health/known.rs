//! Which backends fail their checks, over changes of the checks. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::{Target, Verdict};

/// Addresses and why they fail.
pub type Unhealthy = BTreeMap<SocketAddr, String>;

/// A backend is unhealthy while any of its checks fails.
#[derive(Debug, Default)]
pub struct Known {
    /// What is checked, and why it fails if it does.
    targets: BTreeMap<Target, Option<String>>,
    /// Of an earlier daemon, until the first targets are there.
    inherited: Unhealthy,
}

impl Known {
    /// An earlier daemon has left these without new connections.
    pub fn inherited(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let why = "failed before this daemon started";
        let addresses = addresses.into_iter();
        Self {
            targets: BTreeMap::new(),
            inherited: addresses.map(|address| (address, why.to_owned())).collect(),
        }
    }

    /// Exactly these are checked from now on. A new check of a backend starts
    /// from what is known of it. True when others are unhealthy than before.
    pub fn follow(&mut self, targets: BTreeSet<Target>) -> bool {
        let unhealthy = self.unhealthy();
        let mut old = std::mem::take(&mut self.targets);
        self.inherited.clear();
        for target in targets {
            let fails = old
                .remove(&target)
                .unwrap_or_else(|| unhealthy.get(&target.address).cloned());
            self.targets.insert(target, fails);
        }
        self.unhealthy() != unhealthy
    }

    /// True when this changes whether the backend is healthy. What is said of
    /// a check that is over counts no more.
    pub fn hear(&mut self, verdict: Verdict) -> bool {
        let address = verdict.target.address;
        let before = self.unhealthy().contains_key(&address);
        if let Some(fails) = self.targets.get_mut(&verdict.target) {
            *fails = (!verdict.healthy).then_some(verdict.why);
        }
        before != self.unhealthy().contains_key(&address)
    }

    /// With what each check starts.
    pub fn targets(&self) -> impl Iterator<Item = (&Target, bool)> {
        let targets = self.targets.iter();
        targets.map(|(target, fails)| (target, fails.is_none()))
    }

    pub fn unhealthy(&self) -> Unhealthy {
        let failing = |(target, fails): (&Target, &Option<String>)| {
            let why = fails.as_ref()?.clone();
            Some((target.address, why))
        };
        let failing = self.targets.iter().filter_map(failing);
        failing.chain(self.inherited.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Probe;
    use std::time::Duration;

    /// A check of 10.0.0.1:80, or of :81 for a path with a 1.
    fn target(path: &str) -> Target {
        let port = if path.contains('1') { 81 } else { 80 };
        Target {
            address: SocketAddr::from(([10, 0, 0, 1], port)),
            probe: Probe::Http { path: path.into() },
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
        }
    }

    /// `=/a /b`: these are checked; `-/a`, `+/a`: one fails, passes.
    fn step(known: &mut Known, step: &str) -> bool {
        let (what, paths) = step.split_at(1);
        let mut targets: BTreeSet<Target> = paths.split_whitespace().map(target).collect();
        if what == "=" {
            return known.follow(targets);
        }
        known.hear(Verdict {
            target: targets.pop_first().unwrap(),
            healthy: what == "+",
            why: "refused".into(),
        })
    }

    /// Steps with whether each changes something, and the unhealthy ports.
    type Row = (
        &'static str,
        &'static [(&'static str, bool)],
        &'static [u16],
    );

    #[test]
    fn a_backend_is_unhealthy_while_any_of_its_checks_fails() {
        let rows: [Row; 9] = [
            ("none has failed", &[("=/a", false)], &[]),
            ("one failed", &[("=/a", false), ("-/a", true)], &[80]),
            (
                "passed",
                &[("=/a", false), ("-/a", true), ("+/a", true)],
                &[],
            ),
            (
                "its check is another",
                &[("=/a", false), ("-/a", true), ("=/b", false)],
                &[80],
            ),
            (
                "the other check passes",
                &[("=/a", false), ("-/a", true), ("=/b", false), ("+/b", true)],
                &[],
            ),
            (
                "one of two passes",
                &[("=/a /b", false), ("-/a", true), ("+/b", false)],
                &[80],
            ),
            (
                "the last of two passes",
                &[
                    ("=/a /b", false),
                    ("-/a", true),
                    ("-/b", false),
                    ("+/b", false),
                    ("+/a", true),
                ],
                &[],
            ),
            (
                "a verdict of a check that is over",
                &[("=/a", false), ("=/b", false), ("-/a", false)],
                &[],
            ),
            (
                "no check any more",
                &[("=/a /1", false), ("-/1", true), ("=/a", true)],
                &[],
            ),
        ];
        for (name, steps, expected) in rows {
            let mut known = Known::default();
            for (what, changes) in steps {
                assert_eq!(step(&mut known, what), *changes, "{name}: {what}");
            }
            let unhealthy: Vec<u16> = known.unhealthy().keys().map(SocketAddr::port).collect();
            assert_eq!(unhealthy, expected, "{name}");
        }
    }

    #[test]
    fn what_an_earlier_daemon_knew_holds_until_a_check_passes() {
        let of = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        let mut known = Known::inherited([of(80), of(9999)]);
        assert_eq!(known.unhealthy().len(), 2);
        // Nobody checks 9999.
        assert!(step(&mut known, "=/a"));
        let starts: Vec<bool> = known.targets().map(|(_, healthy)| healthy).collect();
        assert_eq!(starts, [false]);
        assert!(step(&mut known, "+/a"));
        assert!(known.unhealthy().is_empty());
    }
}
