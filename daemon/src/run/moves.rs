//! When an interface is looked at again, and when its XDP may move.

use std::collections::BTreeMap;
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
        let changed = !links.iter().copied().eq(&self.links);
        let first = self.next.is_none();
        let looks = first || changed || (self.stale && !early);
        if looks {
            let started = Instant::now();
            let uplinks = placement::survey_uplinks(&links);
            let pause = (started.elapsed() * SHARE).max(LEAST);
            self.next = Some(Instant::now() + pause);
            refused.retain(|(iface, _), _| self.settings(iface) == settings(&uplinks, iface));
            self.links = links.into_iter().cloned().collect();
            self.uplinks = uplinks;
            self.stale = false;
        }
        self.survey = placement::with_rest(&self.uplinks, network, wanted.values());
        looks
    }

    /// Whether no XDP program at all is on an interface.
    pub fn is_without_program(&self, iface: &str) -> bool {
        let mut known = self.survey.interfaces.iter();
        let facts = known.find(|facts| facts.name == iface);
        facts.and_then(|facts| facts.facts.text("xdp.attached_mode")) == Some("none")
    }

    /// When to look again although nothing happens.
    pub fn due(&self) -> Option<Instant> {
        self.next.filter(|_| self.stale)
    }

    fn settings(&self, iface: &str) -> Option<Settings> {
        settings(&self.uplinks, iface)
    }
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
