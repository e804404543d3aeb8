//! Metrics of the same-host shortcut.

use anyhow::Result;

use super::family::{Family, counter, counters, gauge, gauges};
use crate::api::Verdict;
use crate::control::shortcut;
use crate::run::shared::Shared;

pub(super) fn families(shared: &Shared) -> Result<Vec<Family>> {
    let shown = shortcut::shortcut(shared)?;
    let labels = |reason: &str| vec![("reason", reason.to_owned())];
    let messages = shown
        .reasons
        .iter()
        .map(|row| (labels(&row.reason), row.messages));
    let bytes = shown
        .reasons
        .iter()
        .map(|row| (labels(&row.reason), row.bytes));
    let checks = shown.checks.iter().map(|check| {
        let verdict = match check.verdict {
            Verdict::Pass => "pass",
            Verdict::Guarded => "guarded",
            Verdict::Fail => "fail",
            Verdict::Absent => "absent",
        };
        let labels = vec![
            ("check", check.name.clone()),
            ("verdict", verdict.to_owned()),
        ];
        (labels, 1.0)
    });
    let flag = |on: bool| f64::from(u8::from(on));
    Ok(vec![
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
        counters(
            "shortcut_messages",
            "Messages by the reason of their way; joined = from socket to socket",
            messages,
        ),
        counters(
            "shortcut_bytes",
            "Payload by the reason of its way; joined = from socket to socket",
            bytes,
        ),
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
        gauges(
            "shortcut_check",
            "The self-test of this start, by check and verdict",
            checks,
        ),
    ])
}
