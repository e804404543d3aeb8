//! Verdicts: all rules of a subject, resolved into rows and cells.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustc_hash::FxHashMap;
use terrace_abi::consts::{POLICY_ALLOW, POLICY_DENY, POLICY_HAS_CELLS, POLICY_L7, POLICY_ROW};

use super::classes::Classes;
use super::numbers::Numbers;
use super::rules::{Rules, Selected};
use super::sets::Sets;
use super::universe::Universe;
use super::write::Desired;
use crate::error::Error;
use crate::objects::{Direction, HttpRule, PortMatch, Ports};

/// Bits of a policy value that are not the rule's number.
const VERDICT_BITS: u32 = 0xff;

/// What of a policy value decides; the number of a plain rule does not.
pub fn decisive(value: u32) -> u32 {
    match value & POLICY_L7 {
        0 => value & VERDICT_BITS,
        _ => value,
    }
}

/// Which rule decides, for all ports and for each class.
#[derive(Debug, Clone, Default)]
struct Verdicts<'r> {
    deny: Option<u32>,
    allow: Option<u32>,
    deny_class: BTreeMap<u16, u32>,
    allow_class: BTreeMap<u16, Allowed<'r>>,
}

/// What the allow rules of a class come to: a rule without HTTP rules allows
/// every request; else one of the HTTP rules must.
#[derive(Debug, Clone)]
enum Allowed<'r> {
    Everything(u32),
    /// By the number of their rule.
    Http(BTreeMap<u32, &'r [HttpRule]>),
}

impl<'r> Allowed<'r> {
    fn new(number: u32, http: Option<&'r [HttpRule]>) -> Self {
        match http {
            None => Self::Everything(number),
            Some(rules) => Self::Http(BTreeMap::from([(number, rules)])),
        }
    }

    fn and(&mut self, number: u32, http: Option<&'r [HttpRule]>) {
        match (&mut *self, http) {
            (Self::Everything(_), _) => {}
            (Self::Http(_), None) => *self = Self::Everything(number),
            (Self::Http(held), Some(rules)) => drop(held.insert(number, rules)),
        }
    }
}

/// Where rule sets get their numbers.
pub struct Interner<'a> {
    pub sets: &'a mut Sets,
    pub numbers: &'a mut Numbers,
}

/// A row with its cells, as values of the policy table.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    value: u32,
    cells: BTreeMap<u16, u32>,
}

impl<'r> Verdicts<'r> {
    fn add(
        &mut self,
        selected: &Selected<'r>,
        owner: u32,
        classes: &Classes,
        universe: &Universe<'_>,
    ) {
        let number = selected.number;
        let Ports::Some(ports) = &selected.rule.ports else {
            let all = match selected.rule.deny {
                true => &mut self.deny,
                false => &mut self.allow,
            };
            all.get_or_insert(number);
            return;
        };
        let http = selected.rule.http.as_deref();
        for class in ports
            .iter()
            .flat_map(|port| classes.of(port, owner, universe))
        {
            if selected.rule.deny {
                self.deny_class.entry(class).or_insert(number);
                continue;
            }
            self.allow_class
                .entry(class)
                .and_modify(|allowed| allowed.and(number, http))
                .or_insert_with(|| Allowed::new(number, http));
        }
    }

    fn row(&self, default_allow: bool, interner: &mut Interner<'_>) -> Result<Row, Error> {
        let value = |bits: u32, rule: u32| bits | rule << 8;
        if let Some(rule) = self.deny {
            return Ok(Row {
                value: value(POLICY_DENY, rule),
                cells: BTreeMap::new(),
            });
        }
        let mut row = Row::default();
        if let Some(rule) = self.allow {
            row.value = value(POLICY_ALLOW, rule);
        } else if default_allow {
            row.value = POLICY_ALLOW;
        }
        for (class, allowed) in self.allow_class.iter().filter(|_| self.allow.is_none()) {
            let cell = match allowed {
                Allowed::Everything(_) if default_allow => continue,
                Allowed::Everything(rule) => value(POLICY_ALLOW, *rule),
                // Enforced without default deny too, as in Cilium.
                Allowed::Http(parts) => {
                    let parts: Vec<_> = parts.iter().map(|(n, rules)| (*n, *rules)).collect();
                    let set = interner.sets.number(&parts, interner.numbers)?;
                    value(POLICY_ALLOW | POLICY_L7, set)
                }
            };
            row.cells.insert(*class, cell);
        }
        let denied = self.deny_class.iter();
        row.cells
            .extend(denied.map(|(class, rule)| (*class, value(POLICY_DENY, *rule))));
        if !row.cells.is_empty() {
            row.value |= POLICY_HAS_CELLS;
        }
        Ok(row)
    }
}

impl Row {
    /// Same verdicts, whatever the rules.
    fn says_as(&self, other: &Self) -> bool {
        let bits = |cells: &BTreeMap<u16, u32>| -> Vec<(u16, u32)> {
            cells
                .iter()
                .map(|(class, value)| (*class, decisive(*value)))
                .collect()
        };
        decisive(self.value) == decisive(other.value) && bits(&self.cells) == bits(&other.cells)
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
    (desired, interner): (&mut Desired, &mut Interner<'_>),
) -> Result<[bool; 2], Error> {
    let all = rules
        .by_subject
        .get(&subject)
        .map_or(&[][..], Vec::as_slice);
    let default_deny = rules
        .default_deny
        .get(&subject)
        .copied()
        .unwrap_or_default();
    let mut enforced = [false; 2];
    for direction in Direction::BOTH {
        let of_direction = all.iter().map(|index| &rules.rules[*index as usize]);
        let selected: Vec<&Selected<'_>> = of_direction
            .filter(|s| s.rule.direction == direction)
            .collect();
        let denies = default_deny[direction as usize];
        let restricts = |s: &&Selected<'_>| s.rule.deny || s.rule.http.is_some();
        if !denies && !selected.iter().any(restricts) {
            continue;
        }
        let way = Way {
            subject,
            direction,
            default_allow: !denies,
            classes,
            universe,
        };
        way.write(&selected, desired, interner)?;
        enforced[direction as usize] = true;
    }
    Ok(enforced)
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
    fn write(
        &self,
        selected: &[&Selected<'_>],
        desired: &mut Desired,
        interner: &mut Interner<'_>,
    ) -> Result<(), Error> {
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
        let any_row = any.row(self.default_allow, interner)?;
        any_row.write(self.subject, 0, self.direction, desired);
        let mut known: FxHashMap<(Vec<u32>, u32), Rc<Row>> = FxHashMap::default();
        for (remote, list) in specific {
            let named = self.direction == Direction::Egress
                && list.iter().any(|i| selected[*i as usize].has_named_ports());
            let key = (list, if named { remote } else { 0 });
            let row = match known.get(&key) {
                Some(row) => Rc::clone(row),
                None => {
                    let mut verdicts = any.clone();
                    for i in &key.0 {
                        let rule = selected[*i as usize];
                        verdicts.add(rule, self.owner(remote), self.classes, self.universe);
                    }
                    let row = Rc::new(verdicts.row(self.default_allow, interner)?);
                    known.insert(key, Rc::clone(&row));
                    row
                }
            };
            if !row.says_as(&any_row) {
                row.write(self.subject, remote, self.direction, desired);
            }
        }
        Ok(())
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
