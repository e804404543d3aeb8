//! The rules that select a workload of this host.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::super::identities::Identities;
use super::super::model::Model;
use super::numbers::Numbers;
use crate::objects::{Direction, Labels, Peer, Peers, PolicyPart, PortMatch, Ports, Rule};

/// Rules and whom they concern, by index.
#[derive(Debug)]
pub struct Rules<'m> {
    pub rules: Vec<Selected<'m>>,
    /// Rules of each subject, in the order of their numbers.
    pub by_subject: FxHashMap<u32, Vec<u32>>,
    /// Directions in which a subject is default deny.
    pub default_deny: FxHashMap<u32, [bool; 2]>,
}

#[derive(Debug)]
pub struct Selected<'m> {
    pub rule: &'m Rule,
    pub number: u32,
    /// Identities that it names; `None` = everybody. Set by `peers::resolve`.
    pub peers: Option<Vec<u32>>,
}

impl Selected<'_> {
    pub fn has_named_ports(&self) -> bool {
        let Ports::Some(ports) = &self.rule.ports else {
            return false;
        };
        ports
            .iter()
            .any(|port| matches!(port.what, PortMatch::Named(_)))
    }
}

impl<'m> Rules<'m> {
    pub fn select(
        model: &'m Model,
        numbers: &Numbers,
        identities: &Identities,
        subjects: &BTreeSet<u32>,
    ) -> Self {
        let held = identities
            .iter(true)
            .filter(|(number, _)| subjects.contains(number))
            .map(|(number, traits)| (number, &traits.labels));
        let labels: Vec<(u32, &Labels)> = held.collect();
        let mut rules = Self {
            rules: Vec::new(),
            by_subject: FxHashMap::default(),
            default_deny: FxHashMap::default(),
        };
        for policy in model.policies.values().filter_map(|held| held.first()) {
            for part in &policy.parts {
                let selected = labels
                    .iter()
                    .filter(|(_, labels)| part.subject.matches(labels));
                let selected: Vec<u32> = selected.map(|(number, _)| *number).collect();
                if !selected.is_empty() {
                    rules.part(part, &selected, |rule| numbers.of(policy, rule));
                }
            }
        }
        for list in rules.by_subject.values_mut() {
            list.sort_unstable_by_key(|index| rules.rules[*index as usize].number);
        }
        rules
    }

    fn part(&mut self, part: &'m PolicyPart, subjects: &[u32], number: impl Fn(&Rule) -> u32) {
        let first = u32::try_from(self.rules.len()).expect("rules are counted in 24 bits");
        for rule in &part.rules {
            self.rules.push(Selected {
                rule,
                number: number(rule),
                peers: None,
            });
        }
        let last = u32::try_from(self.rules.len()).expect("rules are counted in 24 bits");
        for subject in subjects {
            self.by_subject
                .entry(*subject)
                .or_default()
                .extend(first..last);
            let deny = self.default_deny.entry(*subject).or_default();
            for direction in Direction::BOTH {
                deny[direction as usize] |= part.default_deny[direction as usize];
            }
        }
    }

    /// Whether pods that no policy selects can change what the rules mean.
    pub fn looks_at_pods(&self) -> bool {
        self.rules.iter().any(|selected| {
            let Peers::Some(peers) = &selected.rule.peers else {
                return selected.has_named_ports();
            };
            let services = |peer: &Peer| matches!(peer, Peer::Service(_) | Peer::Services { .. });
            selected.has_named_ports() || peers.iter().any(services)
        })
    }
}
