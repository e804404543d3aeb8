//! Every rule fires where it should, is silent where it should, and is fixed by
//! its own fix.

use std::collections::BTreeSet;

use terrace_nic_profiles::{Outcome, Profiles, Rule, Value};

use crate::case::Case;

struct Row {
    rule: &'static str,
    driver: &'static str,
    fires: &'static str,
    silent: &'static str,
}

fn rows() -> Vec<Row> {
    let lines = include_str!("rules.txt").lines();
    let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let parts: Vec<&'static str> = line.split('|').map(str::trim).collect();
        let [rule, driver, fires, silent] = parts[..] else {
            panic!("{line}");
        };
        Row {
            rule,
            driver,
            fires,
            silent,
        }
    })
    .collect()
}

fn rules() -> Vec<&'static Rule> {
    let profiles = Profiles::shipped();
    let drivers = profiles.drivers().flat_map(|driver| &driver.rules);
    let situations = profiles.situations().flat_map(|situation| &situation.rules);
    let common = profiles.common_rules().iter();
    drivers.chain(situations).chain(common).collect()
}

fn fires(case: &Case, rule: &str) -> bool {
    case.judge().blockers.iter().any(|found| found.id == rule)
}

#[test]
fn a_rule_fires_on_its_facts_and_is_silent_on_others() {
    for row in rows() {
        let mut case = Case::new(row.driver, row.fires);
        assert!(fires(&case, row.rule), "{}: {}", row.rule, row.fires);
        if row.silent != "-" {
            case.set(row.silent);
            assert!(!fires(&case, row.rule), "{}: {}", row.rule, row.silent);
        }
    }
}

#[test]
fn every_rule_has_a_row() {
    let tested: BTreeSet<&str> = rows().iter().map(|row| row.rule).collect();
    for rule in rules() {
        assert!(tested.contains(rule.id.as_str()), "{} has no row", rule.id);
    }
    assert!(rows().len() * 2 > 200);
}

#[test]
fn a_rule_with_conditions_never_fires_on_nothing() {
    let nothing = |_: &str| None::<Value>;
    for rule in rules() {
        let fired = rule.check(&nothing) == Outcome::Fires;
        let only_asks_what_is_unknown =
            rule.when.iter().all(|p| p.to_string().ends_with("unknown"));
        assert_eq!(fired, only_asks_what_is_unknown, "{}", rule.id);
    }
}

#[test]
fn a_fix_that_says_what_it_sets_makes_its_rule_silent() {
    let mut proved = 0;
    for row in rows() {
        let case = Case::new(row.driver, row.fires);
        let judged = case.judge();
        let blocker = judged
            .blockers
            .iter()
            .find(|found| found.id == row.rule)
            .unwrap();
        let facts = |key: &str| case.value(key);
        let known = Profiles::shipped().known(&facts);
        let Some(rule) = known.rules().find(|rule| rule.id == row.rule) else {
            panic!("{} is not of this interface", row.rule);
        };
        if blocker.fix.as_ref().is_none_or(|fix| fix.cmd.is_empty()) {
            continue;
        }
        let mut fixed = case.clone();
        let sets = &rule.fix.as_ref().unwrap().sets;
        for set in sets {
            let value = set.value(&facts).unwrap_or_else(|| panic!("{}", row.rule));
            fixed.set(&format!("{}={value}", set.key));
        }
        assert!(!fires(&fixed, row.rule), "{} after its fix", row.rule);
        proved += 1;
    }
    assert!(proved >= 30, "{proved}");
}

#[test]
fn a_command_that_changes_something_can_be_taken_back() {
    for rule in rules() {
        let Some(fix) = &rule.fix else { continue };
        if !fix.cmd.is_empty() && rule.id != "xdp.foreign" {
            assert!(!fix.undo.is_empty(), "{}", rule.id);
            assert!(!fix.sets.is_empty(), "{}", rule.id);
        }
    }
}

#[test]
fn texts_and_commands_have_no_unknown_in_them_where_the_rule_fires() {
    for row in rows() {
        let judged = Case::new(row.driver, row.fires).judge();
        let found = judged
            .blockers
            .iter()
            .find(|found| found.id == row.rule)
            .unwrap();
        let fix = found.fix.clone().unwrap_or_default();
        for text in [&found.why, &fix.cmd, &fix.undo] {
            let misses = [
                "hw.eswitch-legacy",
                "stack.macvlan",
                "gve.unequal",
                "bnxt.separate-channels",
            ];
            assert!(
                !text.contains('?') || misses.contains(&row.rule),
                "{}: {text}",
                row.rule
            );
        }
    }
}
