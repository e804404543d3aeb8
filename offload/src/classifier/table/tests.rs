//! The table of a NIC that obeys, lies, is full or refuses.

use super::*;

/// A NIC's table in memory.
#[derive(Default)]
struct Fake {
    rules: Vec<FlowSpec>,
    room: usize,
    /// It says yes and does nothing.
    lies: bool,
    refuses: bool,
    next: u32,
}

impl Fake {
    fn new(room: usize) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    fn with(mut self, rules: &[&str]) -> Self {
        for rule in rules {
            self.put(&spec(&deny(rule)));
        }
        self
    }

    fn put(&mut self, spec: &FlowSpec) {
        self.next += 1;
        self.rules.push(FlowSpec {
            location: self.next,
            ..*spec
        });
    }

    fn has(&self, rules: &[&str]) -> bool {
        let all = rules.iter().all(|rule| is_in(&self.rules, &deny(rule)));
        all && self.rules.len() == rules.len()
    }
}

impl Table for Fake {
    fn held(&mut self) -> Result<Vec<FlowSpec>, No> {
        Ok(self.rules.clone())
    }

    fn add(&mut self, spec: &FlowSpec) -> Result<(), No> {
        if self.refuses {
            return Err(No::errno(libc::EOPNOTSUPP));
        }
        if self.rules.len() == self.room {
            return Err(No::errno(libc::ENOSPC));
        }
        if !self.lies {
            self.put(spec);
        }
        Ok(())
    }

    fn remove(&mut self, place: u32) -> Result<(), No> {
        self.rules.retain(|rule| rule.location != place);
        Ok(())
    }
}

fn deny(net: &str) -> Rule {
    Rule::Deny(net.parse().expect("a prefix"))
}

fn rules(nets: &[&str]) -> Vec<Rule> {
    nets.iter().map(|net| deny(net)).collect()
}

const A: &str = "192.0.2.0/24";
const B: &str = "198.51.100.0/24";
const C: &str = "2001:db8::/32";

struct Row {
    name: &'static str,
    nic: Fake,
    owned: &'static [&'static str],
    wanted: &'static [&'static str],
    there: &'static [&'static str],
    held: usize,
    ours: &'static [&'static str],
    why: Option<&'static str>,
}

fn row(name: &'static str, nic: Fake) -> Row {
    Row {
        name,
        nic,
        owned: &[],
        wanted: &[],
        there: &[],
        held: 0,
        ours: &[],
        why: None,
    }
}

fn rows() -> Vec<Row> {
    vec![
        Row {
            wanted: &[A, B],
            there: &[A, B],
            held: 2,
            ours: &[A, B],
            ..row("all of them fit", Fake::new(9))
        },
        Row {
            wanted: &[A, B, C],
            there: &[A, B],
            held: 2,
            ours: &[A, B],
            why: Some("ENOSPC"),
            ..row("the end of the list does not fit", Fake::new(2))
        },
        Row {
            wanted: &[A],
            why: Some("EOPNOTSUPP"),
            ..row(
                "the driver refuses",
                Fake {
                    refuses: true,
                    ..Fake::new(9)
                },
            )
        },
        Row {
            wanted: &[A, B],
            why: Some("does not list it"),
            ..row(
                "the driver says yes and does nothing",
                Fake {
                    lies: true,
                    ..Fake::new(9)
                },
            )
        },
        Row {
            owned: &[A],
            wanted: &[B],
            there: &[B],
            held: 1,
            ours: &[B],
            ..row("what is not wanted any more goes", Fake::new(9).with(&[A]))
        },
        Row {
            wanted: &[B],
            there: &[A, B],
            held: 1,
            ours: &[B],
            ..row(
                "what is not in the record is others' and stays",
                Fake::new(9).with(&[A]),
            )
        },
        Row {
            wanted: &[A],
            there: &[A],
            held: 1,
            ..row(
                "others' rule that does it is not ours",
                Fake::new(9).with(&[A]),
            )
        },
        Row {
            owned: &[A, B],
            wanted: &[A],
            there: &[A],
            held: 1,
            ours: &[A],
            ..row(
                "recorded, and the daemon was killed before it put it there",
                Fake::new(9).with(&[A]),
            )
        },
        Row {
            owned: &[A],
            wanted: &[A],
            there: &[A],
            held: 1,
            ours: &[A],
            ..row("one that somebody took out comes back", Fake::new(9))
        },
        Row {
            wanted: &[A, A],
            there: &[A],
            held: 1,
            ours: &[A],
            ..row("one is put there once", Fake::new(9))
        },
    ]
}

#[test]
fn a_table_is_brought_to_what_is_wanted_and_only_what_it_lists_counts() {
    for mut row in rows() {
        let owned: BTreeSet<Rule> = rules(row.owned).into_iter().collect();
        let mut record = owned.clone();
        let mut note = |now: &BTreeSet<Rule>| {
            record.clone_from(now);
            Ok(())
        };
        let wanted = rules(row.wanted);
        let outcome = sync(&mut row.nic, Kind::Deny, (&owned, &wanted), &mut note);
        let outcome = outcome.expect("a table that can be read");
        assert!(row.nic.has(row.there), "{}: {:?}", row.name, row.nic.rules);
        assert_eq!(outcome.held, row.held, "{}", row.name);
        let ours: BTreeSet<Rule> = rules(row.ours).into_iter().collect();
        assert_eq!(outcome.owned, ours, "{}", row.name);
        assert_eq!(record, ours, "{}", row.name);
        match (outcome.refused, row.why) {
            (None, None) => {}
            (Some(refused), Some(why)) if refused.no.evidence().contains(why) => {}
            (refused, why) => panic!("{}: {refused:?}, not {why:?}", row.name),
        }
    }
}

/// Killed at any step: what is in the NIC is in the record, so the sweep finds it.
#[test]
fn whatever_is_put_there_is_in_the_record_before() {
    let wanted = rules(&[A, B, C]);
    for steps in 0..=3 {
        // The NIC has room for what was put there before the end.
        let mut nic = Fake::new(steps);
        let mut first = None;
        let mut note = |now: &BTreeSet<Rule>| {
            first.get_or_insert_with(|| now.clone());
            Ok(())
        };
        let none = BTreeSet::new();
        sync(&mut nic, Kind::Deny, (&none, &wanted), &mut note).expect("a table");
        let recorded = first.expect("a record");
        assert!(
            nic.rules
                .iter()
                .all(|held| { recorded.iter().any(|rule| is_same(held, &spec(rule))) })
        );
        clear(&mut nic, &recorded).expect("a sweep");
        assert!(nic.rules.is_empty());
    }
}

#[test]
fn without_a_record_nothing_is_added() {
    let mut nic = Fake::new(9);
    let mut note = |_: &BTreeSet<Rule>| Err(No::errno(libc::EROFS));
    let none = BTreeSet::new();
    let done = sync(&mut nic, Kind::Deny, (&none, &rules(&[A])), &mut note);
    assert_eq!(done.expect_err("no record").no, "EROFS");
    assert!(nic.rules.is_empty());
}

#[test]
fn rules_of_another_kind_stay() {
    let mut nic = Fake::new(9);
    let queue = Rule::Queue {
        to: "10.96.0.1:80".parse().expect("an end"),
        ports: [0, 0],
        queue: 1,
    };
    nic.put(&spec(&queue));
    let owned = BTreeSet::from([queue]);
    let mut note = |_: &BTreeSet<Rule>| Ok(());
    let outcome = sync(&mut nic, Kind::Deny, (&owned, &rules(&[A])), &mut note);
    assert_eq!(outcome.expect("a table").held, 1);
    assert_eq!(nic.rules.len(), 2);
    assert!(holds(&mut nic, &owned).expect("a table"));
}
