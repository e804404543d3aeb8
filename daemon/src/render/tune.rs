//! What is tuned, and what is left alone.

use std::fmt::Write as _;

use super::table::{Table, cell, toned};
use super::{Style, Tone};
use crate::tune::{StepState, Tuned};

/// Steps with their undo, then what is left with the reason.
pub fn tuned(tuned: &Tuned, style: &Style) -> String {
    let mut text = String::new();
    if !tuned.steps.is_empty() {
        let mut table = Table::new(&["INTERFACE", "STATE", "COMMAND", "UNDO", "TRAFFIC", "FOR"]);
        for step in &tuned.steps {
            let tone = match step.state {
                StepState::Done => Tone::Good,
                StepState::Failed | StepState::Stuck => Tone::Bad,
                _ => Tone::Plain,
            };
            table.push(vec![
                cell(&step.iface),
                toned(tone, step.state.name()),
                cell(&step.cmd),
                cell(&step.undo),
                cell(step.disruption.name()),
                cell(format!("{}: {}", step.tier, step.why)),
            ]);
        }
        text.push_str(&table.print(style));
    }
    if !tuned.left.is_empty() {
        let title = style.paint(Tone::Head, "Left alone:");
        let _ = writeln!(text, "{}{title}", if text.is_empty() { "" } else { "\n" });
        let mut table =
            Table::new(&["INTERFACE", "WHAT IS IN THE WAY", "FIX", "LEFT, FOR"]).indented(2);
        for left in &tuned.left {
            table.push(vec![
                cell(&left.iface),
                cell(&left.why),
                cell(&left.fix),
                cell(&left.because),
            ]);
        }
        text.push_str(&table.print(style));
    }
    let _ = match (tuned.outcome.as_str(), tuned.confirm_within) {
        ("applied", Some(seconds)) => writeln!(
            text,
            "\napplied; taken back in {seconds} s unless you confirm: terrace tune --confirm-now"
        ),
        ("planned", _) => writeln!(
            text,
            "\nnothing is changed; terrace tune --apply --confirm 60 does it"
        ),
        ("nothing-to-do", _) => writeln!(
            text,
            "nothing to tune: no command of this host unlocks a better tier"
        ),
        (outcome, _) => writeln!(text, "\n{}", outcome.replace('-', " ")),
    };
    text
}
