//! Metrics of the same-host shortcut.

use anyhow::Result;

use super::family::{Family, Labels, counter, counters, gauge, gauges};
use crate::api::{Check, Shortcut, ShortcutReason, Verdict};
use crate::control::shortcut;
use crate::run::shared::Shared;

pub(super) fn families(shared: &Shared) -> Result<Vec<Family>> {
    let shown = shortcut::shortcut(shared)?;
    let mut families = Vec::from(state(&shown));
    families.extend(traffic(&shown.reasons));
    families.extend(faults(&shown));
    Ok(families)
}

fn state(shown: &Shortcut) -> [Family; 4] {
    let flag = |on: bool| f64::from(u8::from(on));
    let checks = shown.checks.iter().map(|check| (labels(check), 1.0));
    [
        gauge(
            "shortcut_armed",
            "1 = the self-test allows the shortcut and it is armed",
            flag(shown.armed),
        ),
        gauge(
            "shortcut_enabled",
            "1 = new data may take the shortcut",
            flag(shown.enabled),
        ),
        gauge(
            "shortcut_connections",
            "Connections in the shortcut's tables",
            shown.pairs as f64,
        ),
        gauges(
            "shortcut_check",
            "The self-test of this start, by check and verdict",
            checks,
        ),
    ]
}

fn labels(check: &Check) -> Labels {
    let verdict = match check.verdict {
        Verdict::Pass => "pass",
        Verdict::Guarded => "guarded",
        Verdict::Fail => "fail",
        Verdict::Absent => "absent",
    };
    vec![
        ("check", check.name.clone()),
        ("verdict", verdict.to_owned()),
    ]
}

fn traffic(reasons: &[ShortcutReason]) -> [Family; 2] {
    let labels = |row: &ShortcutReason| vec![("reason", row.reason.clone())];
    [
        counters(
            "shortcut_messages",
            "Messages by the reason of their way; joined = from socket to socket",
            reasons.iter().map(|row| (labels(row), row.messages)),
        ),
        counters(
            "shortcut_bytes",
            "Payload by the reason of its way; joined = from socket to socket",
            reasons.iter().map(|row| (labels(row), row.bytes)),
        ),
    ]
}

fn faults(shown: &Shortcut) -> [Family; 3] {
    [
        counter(
            "shortcut_split",
            "Connections that a policy change gave back to the stack",
            shown.split,
        ),
        counter(
            "shortcut_options_refused",
            "Socket options refused to sockets of the shortcut",
            shown.refused,
        ),
        counter(
            "shortcut_full",
            "Connections that found no room in the shortcut's tables",
            shown.full,
        ),
    ]
}
