//! Where each task runs, and what is in the way of better tiers.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::table::{Table, cell, toned};
use super::{Style, Tone};
use crate::api::{Blocker, Placement, Plan};

/// A table of the placements, then what is in the way: first what this machine
/// lacks, then what is so by design or by wish. Equal reasons are told once.
pub fn plan(plan: &Plan, style: &Style) -> String {
    if plan.placements.is_empty() && plan.refusals.is_empty() {
        return "nothing to place: no interface of this host is configured\n".into();
    }
    let mut text = refusals(plan, style);
    text.push_str(&placements(plan, style));
    let sections = [
        (false, "In the way of a better tier:"),
        (
            true,
            "Not on a better tier by design, or because the configuration says so:",
        ),
    ];
    for (by_design, title) in sections {
        let told = blockers(&plan.placements, by_design, style);
        if !told.is_empty() {
            let _ = write!(text, "\n{}\n{told}", style.paint(Tone::Head, title));
        }
    }
    text
}

fn refusals(plan: &Plan, style: &Style) -> String {
    let mut text = String::new();
    for refusal in &plan.refusals {
        let what = format!(
            "{} on {} can't run as required:",
            refusal.task, refusal.iface
        );
        let _ = writeln!(text, "{} {}", style.paint(Tone::Bad, &what), refusal.why);
        let _ = writeln!(text, "  fix: {}\n", refusal.fix);
    }
    text
}

fn placements(plan: &Plan, style: &Style) -> String {
    let mut table = Table::new(&["INTERFACE", "TASK", "TIER", "REASON"]);
    for placement in &plan.placements {
        let tone = if placement.is_fallback() {
            Tone::Warn
        } else {
            Tone::Good
        };
        table.push(vec![
            cell(&placement.iface),
            cell(placement.task.name()),
            toned(tone, placement.tier.name()),
            cell(&placement.reason),
        ]);
    }
    table.print(style)
}

/// What keeps tasks from a tier -> interface -> those tasks.
type Kept<'a> = BTreeMap<&'a str, Vec<&'static str>>;

fn blockers(placements: &[Placement], by_design: bool, style: &Style) -> String {
    let mut groups: Vec<(&Blocker, Kept<'_>)> = Vec::new();
    for placement in placements {
        for blocker in placement
            .blockers
            .iter()
            .filter(|b| b.by_design == by_design)
        {
            let at = groups
                .iter()
                .position(|(same, _)| *same == blocker)
                .unwrap_or_else(|| {
                    groups.push((blocker, Kept::new()));
                    groups.len() - 1
                });
            groups[at]
                .1
                .entry(&placement.iface)
                .or_default()
                .push(placement.task.name());
        }
    }
    groups.sort_by_key(|(blocker, _)| blocker.tier);
    let mut table = Table::new(&["TIER", "WITHOUT", "WHY"]).indented(2);
    for (blocker, kept) in groups {
        let fix = match blocker.fix.as_str() {
            "" | "nothing to do" => String::new(),
            fix => format!("; fix: {fix}"),
        };
        table.push(vec![
            cell(blocker.tier.name()),
            cell(who(&kept, placements)),
            cell(format!("{}{fix}", blocker.why)),
        ]);
    }
    table.print(style)
}

/// `prefilter, steer of eth0`; at most two interfaces by name.
fn who(kept: &Kept<'_>, placements: &[Placement]) -> String {
    let tasks: usize = kept.values().map(Vec::len).sum();
    if tasks == placements.len() {
        return "everything".into();
    }
    let same = kept
        .values()
        .all(|tasks| Some(tasks) == kept.values().next());
    let ifaces: Vec<&str> = kept.keys().copied().collect();
    if !same {
        return format!("{tasks} tasks of {}", some(&ifaces));
    }
    let tasks = kept
        .values()
        .next()
        .map(|tasks| tasks.join(", "))
        .unwrap_or_default();
    format!("{tasks} of {}", some(&ifaces))
}

fn some(ifaces: &[&str]) -> String {
    match ifaces {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, two] => format!("{one}, {two}"),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}
