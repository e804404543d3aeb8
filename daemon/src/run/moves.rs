//! When an interface is looked at again, and when its XDP may move.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use terrace_offload::Tier;
use terrace_offload::damper::{Damper, Decision, Patience};
use terrace_offload::plan::Held;
use terrace_offload::probe::Survey;

use super::placement::{self, Refused};
use crate::api::Role;
use crate::netlink::{Link, Network};

/// A survey takes its time: at most a twentieth of it is spent on surveys.
const SHARE: u32 = 20;
const LEAST: Duration = Duration::from_secs(1);

/// What the uplinks can do, as of when they were last looked at.
#[derive(Debug, Default)]
pub struct Seen {
    pub survey: Survey,
    /// The part of it that has to be asked for, and of which interfaces.
    uplinks: Survey,
    links: Vec<Link>,
    /// Who belongs to them.
    ports: Ports,
    stale: bool,
    next: Option<Instant>,
}

impl Seen {
    /// Something may have changed that links don't tell.
    pub fn mark_stale(&mut self) {
        self.stale = true;
    }

    /// Looks again when something has changed, and says whether it did. What was
    /// refused under other settings is forgotten, so that it is tried again.
    pub fn look(
        &mut self,
        network: &Network,
        wanted: &BTreeMap<u32, (Link, Role)>,
        refused: &mut Refused,
    ) -> bool {
        let links: Vec<&Link> = placement::uplinks(wanted.values()).collect();
        let early = self.next.is_some_and(|next| Instant::now() < next);
        let ports = ports_of(network, &links);
        let changed = !links.iter().copied().eq(&self.links) || ports != self.ports;
        let first = self.next.is_none();
        let looks = first || changed || (self.stale && !early);
        if looks {
            let started = Instant::now();
            let uplinks = placement::survey_uplinks(&links);
            let pause = (started.elapsed() * SHARE).max(LEAST);
            self.next = Some(Instant::now() + pause);
            refused.retain(|(iface, _), _| self.settings(iface) == settings(&uplinks, iface));
            self.links = links.into_iter().cloned().collect();
            self.ports = ports;
            self.uplinks = uplinks;
            self.stale = false;
        }
        self.survey = placement::with_rest(&self.uplinks, network, wanted.values());
        looks
    }

    /// When to look again although nothing happens.
    pub fn due(&self) -> Option<Instant> {
        self.next.filter(|_| self.stale)
    }

    fn settings(&self, iface: &str) -> Option<Settings> {
        settings(&self.uplinks, iface)
    }
}

/// Interface index of a port, and of the bond or bridge that it belongs to.
type Ports = BTreeSet<(u32, u32)>;

/// What an uplink can do depends on its ports: one that comes or goes is a
/// change of the uplink.
fn ports_of(network: &Network, uplinks: &[&Link]) -> Ports {
    let is_uplink = |ifindex: u32| uplinks.iter().any(|uplink| uplink.ifindex == ifindex);
    let links = network.links.values();
    links
        .filter(|link| link.controller != 0 && is_uplink(link.controller))
        .map(|link| (link.ifindex, link.controller))
        .collect()
}

type Settings = BTreeMap<String, terrace_offload::facts::Fact>;

fn settings(survey: &Survey, iface: &str) -> Option<Settings> {
    let facts = survey.interfaces.iter().find(|facts| facts.name == iface)?;
    Some(placement::settings(facts))
}

/// Hysteresis of all interfaces.
#[derive(Debug)]
pub struct Moves {
    started: Instant,
    patience: Patience,
    dampers: BTreeMap<u32, Damper>,
}

impl Moves {
    pub fn new(patience: Patience) -> Self {
        Self {
            started: Instant::now(),
            patience,
            dampers: BTreeMap::new(),
        }
    }

    /// Why an interface does not move now although the plan says so.
    pub fn held(
        &mut self,
        ifindex: u32,
        running: Option<Tier>,
        planned: Option<Tier>,
    ) -> Option<Held> {
        let now = self.started.elapsed();
        let patience = self.patience;
        let damper = self.dampers.entry(ifindex).or_default();
        let better = planned.map_or("tc", Tier::name);
        match damper.decide(now, running, planned, &patience) {
            Decision::Stay | Decision::Move(_) => None,
            Decision::Wait(_) => Some(Held {
                why: format!(
                    "{better} can be had now, and must last {} s before anything moves",
                    patience.settle.as_secs_f64()
                ),
                flaps: false,
            }),
            Decision::Hold(_) => Some(Held {
                why: format!(
                    "it moved {} times within {} s: it stays below {better} for {} s",
                    patience.moves,
                    patience.window.as_secs(),
                    patience.hold.as_secs()
                ),
                flaps: true,
            }),
        }
    }

    pub fn forget(&mut self, ifindex: u32) {
        self.dampers.remove(&ifindex);
    }

    /// When to decide again although nothing happens.
    pub fn due(&self) -> Option<Instant> {
        let due = self.dampers.values().filter_map(|d| d.due(&self.patience));
        due.min().map(|due| self.started + due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Change;

    #[test]
    fn a_port_that_comes_goes_or_changes_sides_is_a_change_of_the_uplink() {
        let link = |ifindex, controller| Link {
            ifindex,
            name: format!("l{ifindex}"),
            controller,
            ..Link::default()
        };
        let ports = |ports: &[(u32, u32)]| {
            let mut network = Network::default();
            let all = [link(1, 0), link(2, 0)];
            let all = all
                .into_iter()
                .chain(ports.iter().map(|(i, c)| link(*i, *c)));
            for link in all {
                network.apply(Change::Link(link));
            }
            ports_of(&network, &[&link(1, 0)])
        };
        let two = ports(&[(3, 1), (4, 1)]);
        let rows = [
            ("as it was", vec![(3, 1), (4, 1)], true),
            ("one gone", vec![(3, 1)], false),
            ("one let go", vec![(3, 1), (4, 0)], false),
            ("one elsewhere", vec![(3, 1), (4, 2)], false),
            ("one more", vec![(3, 1), (4, 1), (5, 1)], false),
            ("one more elsewhere", vec![(3, 1), (4, 1), (5, 2)], true),
        ];
        for (name, now, same) in rows {
            assert_eq!(ports(&now) == two, same, "{name}");
        }
    }
}
