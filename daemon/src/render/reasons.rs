//! What happened to packets.

use std::collections::BTreeMap;
use std::fmt::Write;

use terrace_abi::Reason;

use super::table::{Table, cell, toned};
use super::units::{bytes, count};
use super::{Style, Tone};
use crate::api::ReasonCount;

/// The counters, then what their reasons mean.
pub fn reasons(reasons: &[ReasonCount], style: &Style) -> String {
    if reasons.is_empty() {
        return "no packet was counted\n".into();
    }
    let texts: BTreeMap<u32, (&str, &str)> = reasons
        .iter()
        .map(|r| (r.number, (r.reason.as_str(), r.text.as_str())))
        .collect();
    counters(reasons, style) + "\n" + &meanings(texts.into_values(), style)
}

/// The counters, then the meaning of every reason that there is.
pub fn reasons_with_zero(reasons: &[ReasonCount], style: &Style) -> String {
    let mut text = counters(reasons, style);
    if !reasons.is_empty() {
        text.push('\n');
    }
    let mut totals: BTreeMap<u32, u64> = BTreeMap::new();
    for reason in reasons {
        *totals.entry(reason.number).or_default() += reason.packets;
    }
    let mut table = Table::new(&[">NUMBER", "REASON", "CLASS", ">PACKETS", "MEANING"]);
    for reason in Reason::ALL {
        table.push(vec![
            cell(reason.number().to_string()),
            cell(reason.name()),
            toned(tone(reason.class().name()), reason.class().name()),
            cell(count(totals.get(&reason.number()).copied().unwrap_or(0))),
            cell(reason.text()),
        ]);
    }
    text + &table.print(style)
}

/// What was counted in the last `seconds`.
pub fn reasons_since(reasons: &[ReasonCount], seconds: u64, style: &Style) -> String {
    let packets: u64 = reasons.iter().map(|reason| reason.packets).sum();
    let title = format!("{} packets in {seconds} s", count(packets));
    format!(
        "{}\n{}",
        style.paint(Tone::Head, &title),
        counters(reasons, style)
    )
}

fn counters(reasons: &[ReasonCount], style: &Style) -> String {
    let mut table = Table::new(&["INTERFACE", "HOOK", "CLASS", "REASON", ">PACKETS", ">BYTES"]);
    for reason in reasons {
        table.push(vec![
            cell(&reason.iface),
            cell(&reason.hook),
            toned(tone(&reason.class), &reason.class),
            cell(&reason.reason),
            cell(count(reason.packets)),
            cell(bytes(reason.bytes)),
        ]);
    }
    table.print(style)
}

fn meanings<'a>(texts: impl Iterator<Item = (&'a str, &'a str)>, style: &Style) -> String {
    texts.fold(String::new(), |mut all, (name, text)| {
        let _ = writeln!(
            all,
            "{}  {text}",
            style.paint(Tone::Head, &format!("{name:<19}"))
        );
        all
    })
}

pub(super) fn tone(class: &str) -> Tone {
    match class {
        "forward" => Tone::Good,
        "answer" => Tone::Warn,
        "drop" => Tone::Bad,
        _ => Tone::Plain,
    }
}
