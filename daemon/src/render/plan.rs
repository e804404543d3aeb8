//! Where each task runs, and what is in the way of better tiers.

use std::collections::BTreeMap;
use std::fmt::Write;

use terrace_offload::plan::HOST;
use terrace_offload::verdict::Disruption;

use super::table::{Table, cell, toned};
use super::units::plural;
use super::{Style, Tone};
use crate::api::{Blocker, Change, Moved, Placement, Plan, Step, Tier};

/// A table of the placements, then what is in the way: first what this machine
/// lacks, then what is so by design or by wish. Equal reasons are told once.
pub fn plan(plan: &Plan, style: &Style) -> String {
    if plan.placements.is_empty() && plan.refusals.is_empty() {
        return "nothing to place: no interface of this host is configured\n".into();
    }
    let mut text = refusals(plan, style);
    text.push_str(&placements(plan, style));
    text.push_str(&services(plan, style));
    text.push_str(&readings(plan, style));
    text.push_str(&moves(plan, style));
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

/// Where Services are on the L7 ladder.
fn services(plan: &Plan, style: &Style) -> String {
    if plan.services.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["SERVICE", "L7 RUNG", "DECIDES", "WORKER, BECAUSE"]);
    for service in &plan.services {
        table.push(vec![
            cell(&service.service),
            cell(&service.rung),
            cell(&service.why),
            cell(match service.not_in_kernel.as_str() {
                "" => "-",
                why => why,
            }),
        ]);
    }
    format!("\n{}", table.print(style))
}

/// How what is for workers comes from uplinks.
fn readings(plan: &Plan, style: &Style) -> String {
    if plan.readings.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["INTERFACE", "WORKERS READ", "BECAUSE"]);
    for reading in &plan.readings {
        let read = match reading.queues {
            0 => "the l7 port".to_owned(),
            n => format!("its {}, {}", plural(n, "queue"), reading.mode),
        };
        let why = match reading.why.as_str() {
            "" => "XDP is native there",
            why => why,
        };
        table.push(vec![cell(&reading.iface), cell(&read), cell(why)]);
    }
    format!("\n{}", table.print(style))
}

/// What the plan would change of what runs.
fn moves(plan: &Plan, style: &Style) -> String {
    if plan.changes.is_empty() {
        return String::new();
    }
    let title = style.paint(Tone::Head, "Would change what runs now:");
    let of_interfaces = plan.placements.iter().filter(|p| p.iface != HOST);
    let fresh = plan.changes.len() == of_interfaces.count()
        && plan.changes.iter().all(|change| change.step == Step::Arm);
    if fresh {
        return format!("\n{title}\n  all of it: nothing of Terrace is on these interfaces\n");
    }
    format!(
        "\n{title}\n{}",
        table_of(&plan.changes).indented(2).print(style)
    )
}

/// What a move by hand has moved.
pub fn moved(moved: &Moved, style: &Style) -> String {
    match moved.changes[..] {
        [] => "nothing had to move: it stays there now\n".to_owned(),
        _ => table_of(&moved.changes).print(style),
    }
}

fn table_of(changes: &[Change]) -> Table {
    let mut table = Table::new(&["INTERFACE", "TASK", "FROM", "TO", "STEP"]);
    let name = |tier: Option<Tier>| tier.map_or("-", Tier::name);
    for change in changes {
        table.push(vec![
            cell(&change.iface),
            cell(change.task.name()),
            cell(name(change.from)),
            cell(name(change.to)),
            cell(change.step.name()),
        ]);
    }
    table
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
            fix => format!("; fix: {fix}{}", cost(blocker)),
        };
        table.push(vec![
            cell(blocker.tier.name()),
            cell(who(&kept, placements)),
            cell(format!("{}{fix}", blocker.why)),
        ]);
    }
    table.print(style)
}

/// What a fix does to traffic, and what takes it back.
fn cost(blocker: &Blocker) -> String {
    let mut told = Vec::new();
    if blocker.disruption != Disruption::None {
        told.push(blocker.disruption.name().to_owned());
    }
    if !blocker.undo.is_empty() {
        told.push(format!("undo: `{}`", blocker.undo));
    }
    match told.is_empty() {
        true => String::new(),
        false => format!(" ({})", told.join("; ")),
    }
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
