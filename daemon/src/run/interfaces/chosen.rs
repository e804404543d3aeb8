//! Tiers that the operator chooses while the daemon runs (`terrace move`): held
//! until they are given back, can't be had any more, or the daemon ends.

use std::collections::BTreeMap;

use terrace_offload::plan::changes;
use terrace_offload::{Wish, Wishes};

use super::{Host, Interfaces};
use crate::api::{Change, MoveRequest, Task, Tier};
use crate::run::events::Kind;
use crate::run::{facts, placement};

/// The tier of each task and interface that was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen(BTreeMap<(String, Task), Tier>);

impl Chosen {
    /// `None` gives the choice back to the planner.
    fn set(&mut self, iface: &str, task: Task, tier: Option<Tier>) {
        let key = (iface.to_owned(), task);
        match tier {
            Some(tier) => self.0.insert(key, tier),
            None => self.0.remove(&key),
        };
    }

    /// Adds them to the wishes of the configuration.
    pub fn add_to(&self, wishes: &mut Wishes) {
        for ((iface, task), tier) in &self.0 {
            wishes.set(iface, *task, *tier, Wish::Require);
        }
    }

    /// Whether the operator has chosen a tier of this interface.
    pub fn has(&self, iface: &str) -> bool {
        self.0.keys().any(|(name, _)| name == iface)
    }

    fn words(&self) -> String {
        let words = self
            .0
            .iter()
            .map(|((iface, task), tier)| format!("{task} of {iface} on {tier}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// Another tier that the file requires; the planner compares tasks with each
/// other, not one with itself.
fn other_required(wishes: &Wishes, request: &MoveRequest, tier: Tier) -> Option<Tier> {
    let tiers = wishes.0.get(&request.iface)?.get(&request.task)?;
    let required = tiers.iter().filter(|(_, wish)| **wish == Wish::Require);
    required
        .map(|(other, _)| *other)
        .find(|other| *other != tier)
}

impl Interfaces {
    /// Moves a task of an interface to a tier and keeps it there, or gives it back
    /// to the planner. What can't be done is taken back.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub fn move_task(
        &mut self,
        host: Host<'_>,
        request: &MoveRequest,
    ) -> Result<Vec<Change>, String> {
        let iface = &request.iface;
        if !self.armed.values().any(|armed| armed.link.name == *iface) {
            let names: Vec<&str> = self.armed.values().map(|a| a.link.name.as_str()).collect();
            return Err(format!(
                "{iface} is no interface that Terrace serves; it serves {}",
                names.join(", ")
            ));
        }
        if let Some(tier) = request.tier {
            let wanted = facts::wanted(host.config, host.network);
            let rules = self.rules.as_deref().unwrap_or(&host.config.interfaces);
            let wishes = placement::wishes(rules, wanted.values());
            if let Some(other) = other_required(&wishes, request, tier) {
                return Err(format!(
                    "terrace.toml requires {other} for {} on {iface}: change it there, then `terrace reload`",
                    request.task
                ));
            }
        }
        let (before, was) = (self.chosen.clone(), self.plan.clone());
        self.chosen.set(iface, request.task, request.tier);
        // What was refused before may be tried again: somebody asks for it.
        self.refused.retain(|(name, _), _| name != iface);
        self.moving = true;
        let done = self.sync(host).map_err(|error| format!("{error:#}"));
        self.moving = false;
        let there = done.and_then(|()| self.is_there(request));
        if let Err(why) = there {
            self.chosen = before;
            // Told where it happens.
            let _ = self.sync(host);
            return Err(why);
        }
        let moved = changes(&was, &self.plan);
        host.events.tell(Kind::OperatorMoved, told(request, &moved));
        Ok(moved)
    }

    fn is_there(&self, request: &MoveRequest) -> Result<(), String> {
        let mut placements = self.plan.placements.iter();
        let found = placements.find(|p| p.iface == request.iface && p.task == request.task);
        let Some(found) = found else {
            return Err(format!("{} has no task {}", request.iface, request.task));
        };
        match request.tier {
            Some(tier) if tier != found.tier => Err(format!("it runs on {} still", found.tier)),
            _ => Ok(()),
        }
    }

    /// A choice that can't be kept is given up, and told; false = there was none.
    pub(super) fn gives_up_chosen(&mut self, host: Host<'_>, why: &anyhow::Error) -> bool {
        if self.chosen == Chosen::default() || self.moving {
            return false;
        }
        let words = self.chosen.words();
        let what = format!("{words} was asked for and can't be kept: {why:#}");
        host.events.tell(Kind::TierFallback, what);
        self.chosen = Chosen::default();
        true
    }
}

fn told(request: &MoveRequest, moved: &[Change]) -> String {
    let MoveRequest { task, iface, tier } = request;
    let where_to = tier.map_or("where the planner wants it".to_owned(), |t| {
        format!("on {t}")
    });
    let moves: Vec<String> = moved
        .iter()
        .map(|change| {
            format!(
                "{} of {}: {}",
                change.task,
                change.iface,
                change.step.name()
            )
        })
        .collect();
    match moves[..] {
        [] => format!("{task} of {iface} {where_to}: nothing had to move"),
        _ => format!("{task} of {iface} {where_to}: {}", moves.join(", ")),
    }
}
