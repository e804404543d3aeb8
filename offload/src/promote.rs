//! Which flows are worth a rule in the NIC: heavy ones, for as long as they are, within
//! a budget. Pure: rates come in, moves come out.
//!
//! A flow goes up when it has been heavy for a while and comes down when it has been
//! light for a while; between the two marks it stays where it is. A full budget
//! gives a place only to a flow that is much heavier than the lightest one there.

use std::collections::{BTreeMap, BTreeSet};

/// When flows move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Packets a second from which on a flow is heavy.
    pub heavy: u64,
    /// Packets a second below which it is light.
    pub light: u64,
    /// So many looks in a row it must have been so.
    pub looks: u32,
    /// Rules that there may be.
    pub budget: usize,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moves<K> {
    /// Into the NIC, heaviest first.
    pub up: Vec<K>,
    /// Back to the host; before the others go up.
    pub down: Vec<K>,
}

/// A flow that was seen.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    rate: u64,
    heavy: u32,
    light: u32,
}

/// The flows that are candidates, and those in the NIC.
#[derive(Debug, Clone)]
pub struct Promoter<K> {
    seen: BTreeMap<K, Seen>,
    up: BTreeSet<K>,
    /// Held in the NIC by the operator, whatever they do.
    pinned: BTreeSet<K>,
}

impl<K> Default for Promoter<K> {
    fn default() -> Self {
        Self {
            seen: BTreeMap::new(),
            up: BTreeSet::new(),
            pinned: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Clone> Promoter<K> {
    /// Keeps a flow in the NIC, or does so no more.
    pub fn pin(&mut self, flow: K, pinned: bool) {
        match pinned {
            true => self.pinned.insert(flow),
            false => self.pinned.remove(&flow),
        };
    }

    /// Flows that are to be in the NIC.
    pub fn promoted(&self) -> impl Iterator<Item = &K> {
        self.up.iter()
    }

    /// Whether a flow is to be in the NIC.
    pub fn is_promoted(&self, flow: &K) -> bool {
        self.up.contains(flow)
    }

    /// The NIC did not take it, or has lost it: it starts anew.
    pub fn refused(&mut self, flow: &K) {
        self.up.remove(flow);
        self.seen.remove(flow);
    }

    /// One look: the rate of every flow that was seen since the last one.
    pub fn look(&mut self, rates: &BTreeMap<K, u64>, marks: &Marks) -> Moves<K> {
        self.seen
            .retain(|flow, _| rates.contains_key(flow) || self.up.contains(flow));
        // A pinned one goes up before it has a rate, and may end before it has one.
        for flow in rates.keys().chain(&self.up) {
            self.seen.entry(flow.clone()).or_default();
        }
        for (flow, seen) in &mut self.seen {
            seen.rate = rates.get(flow).copied().unwrap_or(0);
            seen.heavy = if seen.rate >= marks.heavy {
                seen.heavy + 1
            } else {
                0
            };
            seen.light = if seen.rate < marks.light {
                seen.light + 1
            } else {
                0
            };
        }
        let mut moves = Moves {
            up: Vec::new(),
            down: self.lightened(marks),
        };
        for flow in self.candidates(marks) {
            if self.up.len() >= marks.budget && !self.make_room(&flow, &mut moves) {
                break;
            }
            self.up.insert(flow.clone());
            moves.up.push(flow);
        }
        moves
    }

    /// Those that were light for long enough, and those beyond the budget.
    fn lightened(&mut self, marks: &Marks) -> Vec<K> {
        let is_light = |flow: &K| self.seen[flow].light >= marks.looks;
        let mut down: Vec<K> = self
            .up
            .iter()
            .filter(|flow| is_light(flow))
            .cloned()
            .collect();
        down.retain(|flow| !self.pinned.contains(flow));
        self.up.retain(|flow| !down.contains(flow));
        while self.up.len() > marks.budget
            && let Some(lightest) = self.lightest()
        {
            self.up.remove(&lightest);
            down.push(lightest);
        }
        down
    }

    /// Pinned ones, then heavy ones, heaviest first.
    fn candidates(&self, marks: &Marks) -> Vec<K> {
        let waits = |flow: &&K| !self.up.contains(*flow);
        let mut heavy: Vec<(&K, u64)> = self
            .seen
            .iter()
            .filter(|(flow, seen)| waits(flow) && seen.heavy >= marks.looks)
            .map(|(flow, seen)| (flow, seen.rate))
            .filter(|(flow, _)| !self.pinned.contains(*flow))
            .collect();
        heavy.sort_by_key(|(_, rate)| std::cmp::Reverse(*rate));
        let pinned = self.pinned.iter().filter(waits).cloned();
        pinned
            .chain(heavy.into_iter().map(|(flow, _)| flow.clone()))
            .collect()
    }

    /// Takes out the lightest one when `flow` is worth twice as much, or pinned.
    fn make_room(&mut self, flow: &K, moves: &mut Moves<K>) -> bool {
        let Some(lightest) = self.lightest() else {
            return false;
        };
        let rate = |flow: &K| self.seen.get(flow).map_or(0, |seen| seen.rate);
        if !self.pinned.contains(flow) && rate(flow) < 2 * rate(&lightest).max(1) {
            return false;
        }
        self.up.remove(&lightest);
        // It was promoted in this very look: then it just stays where it is.
        match moves.up.iter().position(|up| *up == lightest) {
            Some(at) => drop(moves.up.remove(at)),
            None => moves.down.push(lightest),
        }
        true
    }

    fn lightest(&self) -> Option<K> {
        let held = self.up.iter().filter(|flow| !self.pinned.contains(*flow));
        let rate = |flow: &&K| self.seen.get(*flow).map_or(0, |seen| seen.rate);
        held.min_by_key(rate).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks {
        heavy: 1000,
        light: 100,
        looks: 2,
        budget: 2,
    };

    /// `a=1000 b=5`: rates of one look.
    fn rates(text: &str) -> BTreeMap<char, u64> {
        let pairs = text
            .split_whitespace()
            .filter_map(|word| word.split_once('='));
        pairs
            .map(|(flow, rate)| {
                let flow = flow.chars().next().expect("a name");
                (flow, rate.parse().expect("a rate"))
            })
            .collect()
    }

    #[test]
    fn flows_move_when_they_have_been_so_for_a_while_and_within_the_budget() {
        // name | pinned | looks | up after the last | moves of the last: up/down
        let rows = [
            ("heavy once", "", "a=5000", "", "/"),
            ("heavy for long enough", "", "a=5000; a=5000", "a", "a/"),
            ("heavy with a break", "", "a=5000; a=500; a=5000", "", "/"),
            (
                "in between it stays",
                "",
                "a=5000; a=5000; a=500; a=500; a=500",
                "a",
                "/",
            ),
            ("light once", "", "a=5000; a=5000; a=5", "a", "/"),
            (
                "light for long enough",
                "",
                "a=5000; a=5000; a=5; a=5",
                "",
                "/a",
            ),
            ("unseen is light", "", "a=5000; a=5000; ; ", "", "/a"),
            (
                "heaviest first",
                "",
                "a=2000 b=4000; a=2000 b=4000",
                "ab",
                "ba/",
            ),
            (
                "a full budget",
                "",
                "a=4000 b=4000 c=5000; a=4000 b=4000 c=5000",
                "ac",
                "ca/",
            ),
            (
                "not worth a change",
                "",
                "a=4000 b=4000; a=4000 b=4000 c=7000; a=4000 b=4000 c=7000",
                "ab",
                "/",
            ),
            (
                "worth a change",
                "",
                "a=4000 b=4500; a=4000 b=4500 c=8000; a=4000 b=4500 c=8000",
                "bc",
                "c/a",
            ),
            ("pinned without a rate", "z", "a=5", "z", "z/"),
            ("pinned in place of one", "z", "", "z", "z/"),
            ("a pinned one stays", "a", "a=5; a=5; a=5", "a", "/"),
            (
                "a pinned one that nobody counts stays",
                "z",
                "; ; ",
                "z",
                "/",
            ),
        ];
        for (name, pinned, looks, up, last) in rows {
            let mut promoter = Promoter::default();
            pinned.chars().for_each(|flow| promoter.pin(flow, true));
            let mut moves = None;
            for look in looks.split(';') {
                moves = Some(promoter.look(&rates(look), &MARKS));
                assert!(promoter.promoted().count() <= MARKS.budget, "{name}");
            }
            let moves = moves.expect("a look");
            let text = |flows: &[char]| flows.iter().collect::<String>();
            assert_eq!(promoter.promoted().collect::<String>(), up, "{name}");
            assert_eq!(
                format!("{}/{}", text(&moves.up), text(&moves.down)),
                last,
                "{name}"
            );
        }
    }

    #[test]
    fn a_smaller_budget_takes_the_lightest_back() {
        let mut promoter = Promoter::default();
        for _ in 0..2 {
            promoter.look(&rates("a=2000 b=4000"), &MARKS);
        }
        let smaller = Marks { budget: 1, ..MARKS };
        let moves = promoter.look(&rates("a=2000 b=4000"), &smaller);
        assert_eq!((moves.up, moves.down), (Vec::new(), vec!['a']));
    }

    /// It went up by its pin alone, and was over before the next look.
    #[test]
    fn a_pinned_flow_that_ends_before_it_was_counted_comes_down() {
        let mut promoter = Promoter::default();
        promoter.pin('z', true);
        assert_eq!(promoter.look(&rates(""), &MARKS).up, vec!['z']);
        promoter.pin('z', false);
        promoter.look(&rates(""), &MARKS);
        assert_eq!(promoter.look(&rates(""), &MARKS).down, vec!['z']);
    }

    #[test]
    fn what_the_nic_refuses_waits_its_time_again() {
        let mut promoter = Promoter::default();
        for _ in 0..2 {
            promoter.look(&rates("a=2000"), &MARKS);
        }
        promoter.refused(&'a');
        assert_eq!(promoter.promoted().count(), 0);
        assert_eq!(
            promoter.look(&rates("a=2000"), &MARKS).up,
            Vec::<char>::new()
        );
        assert_eq!(promoter.look(&rates("a=2000"), &MARKS).up, vec!['a']);
    }
}
