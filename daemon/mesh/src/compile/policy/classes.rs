//! Port classes: the ports of a protocol that all rules treat alike.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use terrace_abi::consts::{POLICY_CLASS_ENTRIES, POLICY_CLASS_ROWS};

use super::rules::Rules;
use super::universe::Universe;
use crate::maglev::mix;
use crate::objects::{PortMatch, PortRule, Ports};
use crate::tables::Tables;

/// More classes than 16 bits hold.
#[derive(Debug)]
pub struct TooMany;

/// Row, first and last port.
type Span = (u8, u16, u16);

#[derive(Debug)]
pub struct Classes {
    /// One generation of the table `port_classes`.
    words: Vec<u64>,
    /// By row: first port, port after the last, class.
    intervals: [Vec<(u32, u32, u16)>; 5],
    spans: FxHashMap<Span, Vec<u16>>,
}

/// Words of one generation.
pub const WORDS: u32 = POLICY_CLASS_ENTRIES / 2;

fn rows(bits: u8) -> impl Iterator<Item = u8> {
    (0..5).filter(move |row| bits >> row & 1 != 0)
}

impl Classes {
    pub fn new(rules: &Rules<'_>, universe: &Universe<'_>) -> Result<Self, TooMany> {
        let mut spans = BTreeSet::new();
        let mut names = BTreeSet::new();
        for selected in &rules.rules {
            let Ports::Some(ports) = &selected.rule.ports else {
                continue;
            };
            for port in ports {
                match &port.what {
                    PortMatch::Range(first, last) => {
                        spans.extend(rows(port.rows).map(|row| (row, *first, *last)))
                    }
                    PortMatch::Named(name) => {
                        names.insert(name.as_str());
                    }
                }
            }
        }
        let named = universe
            .all_named()
            .filter(|(_, port)| names.contains(port.name.as_str()));
        spans.extend(
            named.flat_map(|(_, port)| rows(port.row).map(|row| (row, port.port, port.port))),
        );
        let mut classes = Self {
            words: vec![0; WORDS as usize],
            intervals: Default::default(),
            spans: FxHashMap::default(),
        };
        classes.assign(&spans)?;
        Ok(classes)
    }

    /// Sweeps over each row's ports. A class is the set of spans that lie over
    /// a port, told apart by the exclusive or of the spans' hashes.
    fn assign(&mut self, spans: &BTreeSet<Span>) -> Result<(), TooMany> {
        let mut numbers: FxHashMap<u64, u16> = FxHashMap::default();
        for row in 0..u8::try_from(POLICY_CLASS_ROWS).unwrap_or(0) {
            let mut edges: Vec<(u32, u64)> = Vec::new();
            for (_, first, last) in spans.range((row, 0, 0)..=(row, u16::MAX, u16::MAX)) {
                let hash = mix(u64::from(row) << 32 | u64::from(*first) << 16 | u64::from(*last));
                edges.extend([(u32::from(*first), hash), (u32::from(*last) + 1, hash)]);
            }
            edges.sort_unstable();
            let mut over = 0;
            for (i, (start, hash)) in edges.iter().enumerate() {
                over ^= hash;
                let end = edges.get(i + 1).map_or(*start, |(next, _)| *next);
                if over == 0 || end == *start {
                    continue;
                }
                let next = u16::try_from(numbers.len() + 1).map_err(|_| TooMany)?;
                let class = *numbers.entry(over).or_insert(next);
                self.fill(row, *start, end, class);
                self.intervals[usize::from(row)].push((*start, end, class));
            }
        }
        self.spans = spans
            .iter()
            .map(|span| (*span, self.under(*span)))
            .collect();
        Ok(())
    }

    fn fill(&mut self, row: u8, start: u32, end: u32, class: u16) {
        for port in start..end {
            let word =
                &mut self.words[(u32::from(row) * (WORDS / POLICY_CLASS_ROWS) + port / 4) as usize];
            *word |= u64::from(class) << (16 * (port % 4));
        }
    }

    fn under(&self, (row, first, last): Span) -> Vec<u16> {
        let intervals = &self.intervals[usize::from(row)];
        let from = intervals.partition_point(|(_, end, _)| *end <= u32::from(first));
        let over = intervals[from..]
            .iter()
            .take_while(|(start, _, _)| *start <= u32::from(last));
        let mut found: Vec<u16> = over.map(|(_, _, class)| *class).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The words of one generation.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether the generation in use has these classes.
    pub fn is_in(&self, tables: &Tables) -> bool {
        let first = tables.generation() * WORDS;
        let mut words = (0..WORDS).zip(&self.words);
        words.all(|(i, word)| tables.port_classes.read::<u64>(first + i) == *word)
    }

    /// The classes of a rule's port. `owner` is the identity whose pods say
    /// what a named port is.
    pub fn of(&self, port: &PortRule, owner: u32, universe: &Universe<'_>) -> Vec<u16> {
        let mut found = Vec::new();
        match &port.what {
            PortMatch::Range(first, last) => {
                for row in rows(port.rows) {
                    found.extend(self.spans.get(&(row, *first, *last)).into_iter().flatten());
                }
            }
            PortMatch::Named(name) => {
                for named in universe
                    .named(owner, name)
                    .filter(|named| named.row & port.rows != 0)
                {
                    for row in rows(named.row) {
                        found.extend(
                            self.spans
                                .get(&(row, named.port, named.port))
                                .into_iter()
                                .flatten(),
                        );
                    }
                }
            }
        }
        found
    }
}
