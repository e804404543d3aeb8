//! Rules as port classes and policy cells, for the generation in use.

use std::collections::{BTreeMap, BTreeSet};

use terrace_abi::Table;
use terrace_abi::consts::*;
use terrace_abi::hash::policy_class_index;
use terrace_model::{Rule, World};

use crate::image::{Image, insert};

/// Ports with the same rules: protocol, first and last port.
type Class = (u8, u16, u16);

pub fn policy(image: &mut Image, world: &World) {
    let classes = classes(&world.rules);
    let generation = world.policy_rev & 1;
    for (number, class) in (1u64..).zip(&classes) {
        class_entries(image, generation, *class, number);
    }
    let subjects: BTreeSet<(u32, u32)> = world
        .rules
        .iter()
        .map(|rule| (rule.subject, rule.direction))
        .collect();
    for (subject, direction) in subjects {
        let rules: Vec<&Rule> = world
            .rules
            .iter()
            .filter(|rule| (rule.subject, rule.direction) == (subject, direction))
            .collect();
        let remotes: BTreeSet<u32> = rules.iter().map(|rule| rule.remote).chain([0]).collect();
        for remote in remotes {
            let way = direction | generation << 8;
            let base = verdict(&rules, remote, None);
            let cells: Vec<(u32, u32)> = (1u32..)
                .zip(&classes)
                .map(|(number, class)| (number, verdict(&rules, remote, Some(*class))))
                .filter(|(_, value)| *value != base)
                .collect();
            let has_cells = if cells.is_empty() {
                0
            } else {
                POLICY_HAS_CELLS
            };
            let row = base | has_cells;
            if row != 0 {
                insert(
                    image,
                    Table::PolicyCells,
                    [subject, remote, POLICY_ROW, way, 0],
                    row,
                );
            }
            for (number, value) in cells {
                insert(
                    image,
                    Table::PolicyCells,
                    [subject, remote, number, way, 0],
                    value,
                );
            }
        }
    }
}

/// Cuts all ranges where any of them begins or ends.
fn classes(rules: &[Rule]) -> Vec<Class> {
    let mut cuts: BTreeMap<u8, BTreeSet<u32>> = BTreeMap::new();
    for (proto, first, last) in rules.iter().filter_map(|rule| rule.ports) {
        let cuts = cuts.entry(proto).or_default();
        cuts.extend([u32::from(first), u32::from(last) + 1]);
    }
    let mut classes = Vec::new();
    for (proto, cuts) in cuts {
        let cuts: Vec<u32> = cuts.into_iter().collect();
        for pair in cuts.windows(2) {
            let class = (proto, pair[0] as u16, (pair[1] - 1) as u16);
            if rules.iter().any(|rule| names(rule, Some(class))) {
                classes.push(class);
            }
        }
    }
    classes
}

fn names(rule: &Rule, class: Option<Class>) -> bool {
    match (rule.ports, class) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some((proto, first, last)), Some(class)) => {
            proto == class.0 && first <= class.1 && class.2 <= last
        }
    }
}

fn verdict(rules: &[&Rule], remote: u32, class: Option<Class>) -> u32 {
    let is_of = |rule: &Rule| (rule.remote == 0 || rule.remote == remote) && names(rule, class);
    let mut of = rules.iter().filter(|rule| is_of(rule)).peekable();
    if of.peek().is_none() {
        0
    } else if of.any(|rule| rule.deny) {
        POLICY_DENY
    } else if rules.iter().filter(|rule| is_of(rule)).all(|rule| rule.l7) {
        POLICY_ALLOW | POLICY_L7 | 7 << 8
    } else {
        POLICY_ALLOW
    }
}

fn class_entries(image: &mut Image, generation: u32, (proto, first, last): Class, number: u64) {
    let rows = [6, 17, 132, 1, 58];
    let row = rows.iter().position(|of| *of == proto).unwrap() as u32;
    for port in first..=last {
        let index = policy_class_index(generation, row, port);
        let entry = image
            .entry((Table::PortClasses, index))
            .or_insert_with(|| vec![0; 8]);
        let at = 2 * usize::from(port & 3);
        entry[at..at + 2].copy_from_slice(&(number as u16).to_ne_bytes());
    }
}
