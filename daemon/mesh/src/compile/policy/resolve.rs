//! Verdicts: all rules of a subject, resolved into rows and cells.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustc_hash::FxHashMap;
use terrace_abi::consts::{POLICY_ALLOW, POLICY_DENY, POLICY_HAS_CELLS, POLICY_ROW};

use super::classes::Classes;
use super::rules::{Rules, Selected};
use super::universe::Universe;
use super::write::Desired;
use crate::objects::{Direction, PortMatch, Ports};

/// Bits of a policy value that are not the rule's number.
pub const VERDICT_BITS: u32 = 0xff;

/// Which rule decides, for all ports and for each class.
#[derive(Debug, Clone, Default)]
struct Verdicts {
    deny: Option<u32>,
    allow: Option<u32>,
    deny_class: BTreeMap<u16, u32>,
    allow_class: BTreeMap<u16, u32>,
}

/// A row with its cells, as values of the policy table.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    value: u32,
    cells: BTreeMap<u16, u32>,
}

impl Verdicts {
    fn add(
        &mut self,
        selected: &Selected<'_>,
        owner: u32,
        classes: &Classes,
        universe: &Universe<'_>,
    ) {
        let number = selected.number;
        let (all, by_class) = if selected.rule.deny {
            (&mut self.deny, &mut self.deny_class)
        } else {
            (&mut self.allow, &mut self.allow_class)
        };
        match &selected.rule.ports {
            Ports::All => {
                all.get_or_insert(number);
            }
            Ports::Some(ports) => {
                for class in ports
                    .iter()
                    .flat_map(|port| classes.of(port, owner, universe))
                {
                    by_class.entry(class).or_insert(number);
                }
            }
        }
    }

    fn row(&self, default_allow: bool) -> Row {
        let value = |bits: u32, rule: u32| bits | rule << 8;
        if let Some(rule) = self.deny {
            return Row {
                value: value(POLICY_DENY, rule),
                cells: BTreeMap::new(),
            };
        }
        let mut row = Row::default();
        if let Some(rule) = self.allow {
            row.value = value(POLICY_ALLOW, rule);
        } else if default_allow {
            row.value = POLICY_ALLOW;
        }
        if row.value == 0 {
            let allowed = self.allow_class.iter();
            row.cells = allowed
                .map(|(class, rule)| (*class, value(POLICY_ALLOW, *rule)))
                .collect();
        }
        let denied = self.deny_class.iter();
        row.cells
            .extend(denied.map(|(class, rule)| (*class, value(POLICY_DENY, *rule))));
        if !row.cells.is_empty() {
            row.value |= POLICY_HAS_CELLS;
        }
        row
    }
}

impl Row {
    /// Same verdicts, whatever the rules.
    fn says_as(&self, other: &Self) -> bool {
        let bits = |cells: &BTreeMap<u16, u32>| -> Vec<(u16, u32)> {
            cells
                .iter()
                .map(|(class, value)| (*class, value & VERDICT_BITS))
                .collect()
        };
        (self.value ^ other.value) & VERDICT_BITS == 0 && bits(&self.cells) == bits(&other.cells)
    }

    fn write(&self, subject: u32, remote: u32, direction: Direction, desired: &mut Desired) {
        if self.value == 0 {
            return;
        }
        desired.insert((subject, remote, POLICY_ROW, direction), self.value);
        for (class, value) in &self.cells {
            desired.insert((subject, remote, u32::from(*class), direction), *value);
        }
    }
}

/// All rows of a subject; the directions in which policy is enforced on it.
pub fn subject(
    subject: u32,
    rules: &Rules<'_>,
    classes: &Classes,
    universe: &Universe<'_>,
    desired: &mut Desired,
) -> [bool; 2] {
    let all = rules
        .by_subject
        .get(&subject)
        .map_or(&[][..], Vec::as_slice);
    let default_deny = rules
        .default_deny
        .get(&subject)
        .copied()
        .unwrap_or_default();
    Direction::BOTH.map(|direction| {
        let of_direction = all.iter().map(|index| &rules.rules[*index as usize]);
        let selected: Vec<&Selected<'_>> = of_direction
            .filter(|s| s.rule.direction == direction)
            .collect();
        let denies = default_deny[direction as usize];
        if !denies && !selected.iter().any(|selected| selected.rule.deny) {
            return false;
        }
        let way = Way {
            subject,
            direction,
            default_allow: !denies,
            classes,
            universe,
        };
        way.write(&selected, desired);
        true
    })
}

/// One subject in one direction.
struct Way<'a> {
    subject: u32,
    direction: Direction,
    default_allow: bool,
    classes: &'a Classes,
    universe: &'a Universe<'a>,
}

impl Way<'_> {
    fn write(&self, selected: &[&Selected<'_>], desired: &mut Desired) {
        let mut any = Verdicts::default();
        let mut specific: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        for (i, rule) in (0..).zip(selected) {
            match &rule.peers {
                None => any.add(rule, self.owner(0), self.classes, self.universe),
                Some(peers) => peers
                    .iter()
                    .for_each(|peer| specific.entry(*peer).or_default().push(i)),
            }
            if rule.peers.is_none() && self.direction == Direction::Egress {
                for remote in self.remotes_with_names(rule) {
                    specific.entry(remote).or_default().push(i);
                }
            }
        }
        let any_row = any.row(self.default_allow);
        any_row.write(self.subject, 0, self.direction, desired);
        let mut known: FxHashMap<(Vec<u32>, u32), Rc<Row>> = FxHashMap::default();
        for (remote, list) in specific {
            let named = self.direction == Direction::Egress
                && list.iter().any(|i| selected[*i as usize].has_named_ports());
            let row = known
                .entry((list.clone(), if named { remote } else { 0 }))
                .or_insert_with(|| {
                    let mut verdicts = any.clone();
                    for i in &list {
                        verdicts.add(
                            selected[*i as usize],
                            self.owner(remote),
                            self.classes,
                            self.universe,
                        );
                    }
                    Rc::new(verdicts.row(self.default_allow))
                });
            if !row.says_as(&any_row) {
                row.write(self.subject, remote, self.direction, desired);
            }
        }
    }

    /// Whose pods say what a named port is: those that are connected to.
    fn owner(&self, remote: u32) -> u32 {
        match self.direction {
            Direction::Ingress => self.subject,
            Direction::Egress => remote,
        }
    }

    /// Identities that a rule for everybody concerns by a named port.
    fn remotes_with_names(&self, rule: &Selected<'_>) -> BTreeSet<u32> {
        let Ports::Some(ports) = &rule.rule.ports else {
            return BTreeSet::new();
        };
        let names: BTreeSet<&str> = ports
            .iter()
            .filter_map(|port| match &port.what {
                PortMatch::Named(name) => Some(name.as_str()),
                PortMatch::Range(..) => None,
            })
            .collect();
        let named = self.universe.all_named();
        named
            .filter(|(_, port)| names.contains(port.name.as_str()))
            .map(|(identity, _)| identity)
            .collect()
    }
}
