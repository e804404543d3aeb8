//! A NIC that does what NICs do.

use super::*;

/// Filters of one interface; handles are given by who adds.
#[derive(Default)]
struct Fake {
    held: Vec<Held>,
    /// Rules that fit; the next one finds the table full.
    room: Option<usize>,
    /// Takes rules without telling that the NIC has them (the `u32` trap).
    silent: bool,
    /// Says no to everything, with these words.
    refuses: Option<&'static str>,
}

impl Table for Fake {
    fn held(&mut self) -> Result<Vec<Held>, No> {
        Ok(self.held.clone())
    }

    fn add(&mut self, place: Place, rule: &Rule) -> Result<(), No> {
        if let Some(words) = self.refuses {
            return Err(No {
                no: "EOPNOTSUPP".to_owned(),
                extack: Some(words.to_owned()),
            });
        }
        if self.room.is_some_and(|room| self.held.len() >= room) {
            return Err(No::word("ENOSPC"));
        }
        assert!(self.held.iter().all(|held| held.place != place), "taken");
        self.held.push(held(rule, place, !self.silent));
        Ok(())
    }

    fn remove(&mut self, place: Place) -> Result<(), No> {
        let before = self.held.len();
        self.held.retain(|held| held.place != place);
        assert_eq!(self.held.len(), before - 1, "{place:?} was not there");
        Ok(())
    }
}

fn held(rule: &Rule, place: Place, in_hw: bool) -> Held {
    Held {
        place,
        cookie: cookie(rule),
        in_hw,
        packets: 0,
        bytes: 0,
    }
}

fn nets(text: &str) -> Vec<Rule> {
    let words = text.split_whitespace();
    let net = |word: &str| Rule::Deny(word.parse().expect("a prefix"));
    words.map(net).collect()
}

/// What an earlier daemon has left: prefixes with their handles.
fn left(text: &str, in_hw: bool) -> Vec<Held> {
    let nets = nets(text);
    let place = |net: &Rule, handle| held(net, Place::of(net, handle), in_hw);
    (1..)
        .zip(&nets)
        .map(|(handle, net)| place(net, handle))
        .collect()
}

const LIST: &str = "192.0.2.0/24 198.51.100.7/32 2001:db8::/32 203.0.113.0/24";

#[test]
fn the_nic_holds_the_part_of_the_list_that_it_takes_and_nothing_else_of_ours() {
    let full = |room| Fake {
        room: Some(room),
        ..Fake::default()
    };
    let with = |held| Fake {
        held,
        ..Fake::default()
    };
    let silent = Fake {
        silent: true,
        ..Fake::default()
    };
    let refuses = Fake {
        refuses: Some("TC offload is disabled on net device"),
        ..Fake::default()
    };
    // name | NIC | wanted | budget | held, added, removed | words of the refusal
    let rows = [
        ("an empty NIC", Fake::default(), LIST, 9, (4, 4, 0), ""),
        (
            "nothing wanted",
            with(left(LIST, true)),
            "",
            9,
            (0, 0, 4),
            "",
        ),
        ("all there", with(left(LIST, true)), LIST, 9, (4, 0, 0), ""),
        (
            "one more",
            with(left("192.0.2.0/24", true)),
            LIST,
            9,
            (4, 3, 0),
            "",
        ),
        (
            "left by a killed one",
            with(left("10.0.0.0/8 192.0.2.0/24", true)),
            LIST,
            9,
            (4, 3, 1),
            "",
        ),
        (
            "fell out of the NIC",
            with(left("192.0.2.0/24", false)),
            LIST,
            9,
            (4, 4, 1),
            "",
        ),
        (
            "twice there",
            with(
                [
                    left("192.0.2.0/24", true),
                    left("10.9.9.9/32 192.0.2.0/24", true),
                ]
                .concat(),
            ),
            "192.0.2.0/24",
            9,
            (1, 0, 2),
            "",
        ),
        ("a budget", Fake::default(), LIST, 2, (2, 2, 0), ""),
        (
            "a smaller budget",
            with(left(LIST, true)),
            LIST,
            1,
            (1, 0, 3),
            "",
        ),
        ("a full table", full(3), LIST, 9, (3, 3, 0), "ENOSPC"),
        (
            "refused",
            refuses,
            LIST,
            9,
            (0, 0, 0),
            "TC offload is disabled",
        ),
        (
            "taken, but not in the NIC",
            silent,
            LIST,
            9,
            (0, 0, 0),
            "does not hold it",
        ),
        (
            "the same prefix twice",
            Fake::default(),
            "10.0.0.0/8 10.0.0.0/8",
            9,
            (1, 1, 0),
            "",
        ),
    ];
    for (name, mut nic, wanted, budget, expected, words) in rows {
        // Two rules of one place can't be; the second list begins further on.
        let mut taken = BTreeSet::new();
        for held in &mut nic.held {
            while !taken.insert(held.place) {
                held.place.handle += 100;
            }
        }
        let wanted = nets(wanted);
        let outcome = sync(&mut nic, Kind::Deny, &wanted, budget).expect("it tells what is there");
        let told = (outcome.held, outcome.added, outcome.removed);
        assert_eq!(told, expected, "{name}");
        let why = outcome.refused.map_or(String::new(), |refused| refused.why);
        assert!(
            why.contains(words) && why.is_empty() == words.is_empty(),
            "{name}: {why}"
        );
        let there: BTreeSet<_> = nic.held.iter().map(|held| held.cookie).collect();
        assert_eq!(there.len(), nic.held.len(), "{name}: one rule a prefix");
        assert_eq!(there.len(), outcome.held, "{name}");
        assert!(nic.held.iter().all(|held| held.in_hw), "{name}");
        let chosen: BTreeSet<_> = wanted.iter().map(cookie).collect();
        assert!(there.is_subset(&chosen), "{name}");
        // Again: nothing changes, and what was refused is refused again.
        let again = sync(&mut nic, Kind::Deny, &wanted, budget).expect("it tells what is there");
        assert_eq!(
            (again.held, again.added, again.removed),
            (expected.0, 0, 0),
            "{name}"
        );
    }
}

#[test]
fn counters_never_go_backwards_whatever_the_nic_does() {
    let net = nets("192.0.2.0/24 198.51.100.0/24");
    let shown = |values: &[(usize, u64)]| -> Vec<Held> {
        let rule = |(at, packets): &(usize, u64)| Held {
            packets: *packets,
            bytes: packets * 100,
            ..held(&net[*at], Place::of(&net[*at], 1), true)
        };
        values.iter().map(rule).collect()
    };
    let mut counts = Counts::default();
    type Shown<'s> = &'s [(usize, u64)];
    let rows: [(&str, Shown<'_>, u64); 7] = [
        ("at first", &[(0, 10)], 10),
        ("more", &[(0, 15), (1, 5)], 20),
        ("nothing new", &[(0, 15), (1, 5)], 20),
        ("reset", &[(0, 2), (1, 5)], 22),
        ("one gone", &[(1, 6)], 23),
        ("back again", &[(0, 4), (1, 6)], 27),
        ("all gone", &[], 27),
    ];
    for (name, values, packets) in rows {
        counts.note(&shown(values));
        assert_eq!(
            (counts.packets, counts.bytes),
            (packets, packets * 100),
            "{name}"
        );
    }
}

#[test]
fn rules_of_one_kind_leave_those_of_others_alone() {
    let mut nic = Fake::default();
    let closed = Rule::Closed {
        source: "192.0.2.0/24".parse().expect("a prefix"),
        destination: "10.0.0.1".parse().expect("an address"),
        protocol: 6,
    };
    let last = Rule::LastHop {
        is_ipv6: false,
        is_tagged: false,
    };
    let lists = [
        (Kind::Deny, nets(LIST)),
        (Kind::Policy, vec![closed]),
        (Kind::Flow, vec![last]),
    ];
    for (kind, rules) in &lists {
        let outcome = sync(&mut nic, *kind, rules, 9).expect("it tells what is there");
        assert_eq!(
            (outcome.held, outcome.removed),
            (rules.len(), 0),
            "{kind:?}"
        );
    }
    assert_eq!(nic.held.len(), 6);
    for (kind, rules) in &lists {
        let outcome = sync(&mut nic, *kind, &[], 9).expect("it tells what is there");
        assert_eq!(
            (outcome.held, outcome.removed),
            (0, rules.len()),
            "{kind:?}"
        );
    }
}
