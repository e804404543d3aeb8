//! The same-host shortcut.

use std::fmt::Write;

use super::table::{Table, cell, toned};
use super::units::{bytes, count, plural};
use super::{Style, Tone};
use crate::api::{Shortcut, Verdict};

pub fn shortcut(shortcut: &Shortcut, style: &Style) -> String {
    let mut text = format!("shortcut   {}\n", line(shortcut, style));
    let list = |items: &[String]| items.join(", ");
    let ports: Vec<String> = shortcut.ports.iter().map(u16::to_string).collect();
    let rows = [
        ("mode", shortcut.mode.clone()),
        ("cgroups", list(&shortcut.cgroups)),
        (
            "ports",
            if ports.is_empty() {
                "any".into()
            } else {
                ports.join(", ")
            },
        ),
        ("accepted", list(&shortcut.accepted)),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(
            text,
            "{}  {value}",
            style.paint(Tone::Head, &format!("{name:<9}"))
        );
    }
    if shortcut.armed {
        let _ = write!(text, "\n{}", reasons(shortcut, style));
    }
    if !shortcut.checks.is_empty() {
        let _ = write!(text, "\n{}", checks(shortcut, style));
    }
    text
}

/// On or off, and why or how much.
pub(super) fn line(shortcut: &Shortcut, style: &Style) -> String {
    if !shortcut.armed {
        let word = style.paint(Tone::Warn, "not armed");
        return format!("{word}: {}", shortcut.reason);
    }
    let word = match shortcut.enabled {
        true => style.paint(Tone::Good, "on"),
        false => style.paint(Tone::Warn, "switched off"),
    };
    let joined = shortcut.reasons.iter().find(|row| row.reason == "joined");
    let (messages, moved) = joined.map_or((0, 0), |row| (row.messages, row.bytes));
    format!(
        "{word}: {} now; {} messages, {} from socket to socket",
        plural(shortcut.pairs as usize, "connection"),
        count(messages),
        bytes(moved)
    )
}

fn reasons(shortcut: &Shortcut, style: &Style) -> String {
    let mut table = Table::new(&["WAY", "REASON", ">MESSAGES", ">BYTES", "MEANS"]);
    for row in &shortcut.reasons {
        let joined = row.reason == "joined";
        table.push(vec![
            match joined {
                true => toned(Tone::Good, "socket"),
                false => cell("stack"),
            },
            cell(&row.reason),
            cell(count(row.messages)),
            cell(bytes(row.bytes)),
            cell(&row.text),
        ]);
    }
    let told = format!(
        "{} split by a policy change, {} socket options refused, {} without room\n",
        plural(shortcut.split as usize, "connection"),
        count(shortcut.refused),
        count(shortcut.full)
    );
    table.print(style) + &told
}

fn checks(shortcut: &Shortcut, style: &Style) -> String {
    let mut table = Table::new(&["CHECK", "VERDICT", "SEEN ON THIS KERNEL"]);
    for check in &shortcut.checks {
        let (tone, word) = match check.verdict {
            Verdict::Pass => (Tone::Good, "pass"),
            Verdict::Guarded => (Tone::Good, "guarded"),
            Verdict::Absent => (Tone::Plain, "absent"),
            Verdict::Fail if shortcut.accepted.contains(&check.name) => (Tone::Warn, "accepted"),
            Verdict::Fail => (Tone::Bad, "fail"),
        };
        table.push(vec![
            cell(&check.name),
            toned(tone, word),
            cell(&check.words),
        ]);
    }
    table.print(style)
}
