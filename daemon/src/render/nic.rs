//! The report on interfaces: one screen each.

use std::fmt::Write;

use terrace_offload::facts::{InterfaceFacts, Probe, ProbeResult, Value};
use terrace_offload::judge::Judged;
use terrace_offload::report::{InterfaceReport, Report};
use terrace_offload::verdict::{Blocker, Effect, Fix, TierVerdict, Verdict};

use super::table::{Table, cell, toned};
use super::{Style, Tone};

/// The host's line, then the interfaces.
pub fn nic(report: &Report, style: &Style) -> String {
    let host = &report.host;
    let mut text = format!(
        "{}  {}  {} CPUs  mode {}\n",
        host.kernel,
        host.arch,
        number(host.cpus_online.map(i64::from)),
        mode(report),
    );
    for iface in &report.interfaces {
        text.push('\n');
        text.push_str(&interface(iface, style));
    }
    text
}

fn mode(report: &Report) -> &'static str {
    use terrace_offload::probe::Mode;
    match report.mode {
        Mode::Passive => "passive: nothing was tried",
        Mode::Preload => "preload",
        Mode::Active => "active",
    }
}

fn interface(iface: &InterfaceReport, style: &Style) -> String {
    let (known, judged) = (&iface.known, &iface.judged);
    let mut text = format!(
        "{}  {}\n",
        style.paint(Tone::Head, &known.name),
        identity(known)
    );
    for line in [relations(known), profile(judged)].into_iter().flatten() {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "\n  {}\n", best(judged, style));
    text.push_str(&tiers(&judged.tiers, style));
    let (numbered, rest): (Vec<&Blocker>, Vec<&Blocker>) = judged
        .blockers
        .iter()
        .partition(|blocker| blocker.number.is_some());
    for blocker in numbered {
        text.push_str(&in_the_way(blocker, style));
    }
    let notes: Vec<&Blocker> = rest
        .into_iter()
        .filter(|note| !is_said(note, judged))
        .collect();
    if !notes.is_empty() {
        text.push('\n');
    }
    for blocker in notes {
        text.push_str(&note(blocker, style));
    }
    let not_tried = not_tried(&known.probes);
    if !not_tried.is_empty() {
        text.push('\n');
        paragraph(&mut text, "  not tried: ", &not_tried, style);
    }
    text
}

/// `virtio_net (virtio2, PCI 1af4:1041)  mtu 1400  1 queue  speed unknown  NUMA -`
fn identity(known: &InterfaceFacts) -> String {
    let facts = &known.facts;
    let driver = facts.text("id.driver").filter(|driver| !driver.is_empty());
    let pci = facts.text("id.pci").map(|pci| format!("PCI {pci}"));
    let device: Vec<String> = facts
        .text("id.bus")
        .map(str::to_owned)
        .into_iter()
        .chain(pci)
        .collect();
    let device = match device.is_empty() {
        true => String::new(),
        false => format!(" ({})", device.join(", ")),
    };
    let speed = match facts.int("link.speed_mbps") {
        Some(mbps) if mbps % 1000 == 0 => format!("{} Gbit/s", mbps / 1000),
        Some(mbps) => format!("{mbps} Mbit/s"),
        None => "speed unknown".to_owned(),
    };
    let numa = match facts.get("host.numa_node") {
        None => String::new(),
        Some(node) if node.value == Value::Null => "  NUMA -".to_owned(),
        Some(node) => format!("  NUMA {}", node.value),
    };
    let mac = facts
        .text("id.mac")
        .map_or(String::new(), |mac| format!("  {mac}"));
    format!(
        "{}{device}  mtu {}  {}  {speed}{numa}{mac}",
        driver.unwrap_or("driver unknown"),
        number(facts.int("link.mtu")),
        queues(known),
    )
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
}

fn queues(known: &InterfaceFacts) -> String {
    let facts = &known.facts;
    let channels = ["channels.combined", "channels.rx", "link.rx_queues"];
    match channels.iter().find_map(|key| facts.int(key)) {
        Some(1) => "1 queue".to_owned(),
        Some(n) => format!("{n} queues"),
        None => "queues unknown".to_owned(),
    }
}

/// What it lies on, what lies on it, and where programs go.
fn relations(known: &InterfaceFacts) -> Option<String> {
    let mut parts = Vec::new();
    if !known.lower.is_empty() {
        parts.push(format!("on {}", known.lower.join(", ")));
    }
    if !known.upper.is_empty() {
        parts.push(format!("under {}", known.upper.join(", ")));
    }
    if known.attach_to.as_slice() != [known.name.clone()] {
        parts.push(format!("programs go to {}", known.attach_to.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn profile(judged: &Judged) -> Option<String> {
    let profile = judged.profile.as_ref()?;
    let reviewed = profile.reviewed.as_ref();
    let reviewed = reviewed.map_or(String::new(), |date| format!(" {date}"));
    Some(format!(
        "profile  {} ({}{reviewed})",
        profile.id, profile.status
    ))
}

fn best(judged: &Judged, style: &Style) -> String {
    let Some(best) = judged.best else {
        return style.paint(Tone::Bad, "BEST TIER  none that is sure to work");
    };
    let mut numbers: Vec<u32> = judged
        .tiers
        .iter()
        .take_while(|line| line.tier != best)
        .flat_map(|line| line.blockers.iter().copied())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let after = match numbers.len() {
        0 => {
            let line = judged.tiers.iter().find(|line| line.tier == best);
            let why = line.and_then(|line| line.why.first());
            why.map_or(String::new(), |why| format!("    {why}"))
        }
        count => {
            let marks: Vec<String> = numbers.iter().map(|n| format!("!{n}")).collect();
            let things = if count == 1 { "thing" } else { "things" };
            format!(
                "    better ones are blocked by {count} {things}, see {}",
                marks.join(" ")
            )
        }
    };
    format!("BEST TIER  {}{after}", style.paint(Tone::Good, best.name()))
}

fn tiers(lines: &[TierVerdict], style: &Style) -> String {
    let mut table = Table::new(&["TIER", "VERDICT", "", "KNOWN", "WHY"]).indented(2);
    for line in lines {
        let marks: Vec<String> = line.blockers.iter().map(|n| format!("!{n}")).collect();
        table.push(vec![
            cell(line.tier.name()),
            toned(tone(line.verdict), line.verdict.name()),
            toned(Tone::Warn, marks.join(" ")),
            toned(Tone::Faint, line.confidence.name()),
            cell(line.why.join("; ")),
        ]);
    }
    table.print(style)
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Yes => Tone::Good,
        Verdict::Partial | Verdict::AfterFix => Tone::Warn,
        Verdict::Unknown => Tone::Plain,
        Verdict::No => Tone::Faint,
    }
}

/// Whether a tier's line says it already: a no without a remedy is told there.
fn is_said(note: &Blocker, judged: &Judged) -> bool {
    let mut reasons = judged.tiers.iter().flat_map(|line| &line.why);
    let in_a_line = reasons.any(|why| why.contains(&note.why));
    note.fix.is_none() && (in_a_line || note.effect == Effect::Deny)
}

/// A numbered blocker with what removes it.
fn in_the_way(blocker: &Blocker, style: &Style) -> String {
    let mark = blocker
        .number
        .map_or(String::new(), |number| format!("!{number}"));
    let mut text = String::from("\n");
    let why = format!("{} [{}]", blocker.why, blocker.id);
    paragraph(&mut text, &format!("  {mark:<4}"), &why, style);
    if let Some(fix) = &blocker.fix {
        paragraph(&mut text, "      fix: ", &fix_words(fix), style);
        if !fix.undo.is_empty() {
            paragraph(&mut text, "      undo: ", &fix.undo, style);
        }
    }
    if !blocker.source.is_empty() {
        paragraph(&mut text, "      see: ", &blocker.source.join("; "), style);
    }
    text
}

/// Something to know that stands in nobody's way.
fn note(blocker: &Blocker, style: &Style) -> String {
    let mut text = String::new();
    let why = match &blocker.fix {
        Some(fix) => format!("{}; fix: {}", blocker.why, fix_words(fix)),
        None => blocker.why.clone(),
    };
    paragraph(&mut text, "  note  ", &why, style);
    text
}

fn fix_words(fix: &Fix) -> String {
    let parts = [fix.cmd.as_str(), fix.note.as_str()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!(
        "{}  (disruption: {})",
        parts.join("   # "),
        fix.disruption.name()
    )
}

/// A text after its lead; further lines begin below the text.
fn paragraph(to: &mut String, lead: &str, words: &str, style: &Style) {
    let indent = lead.chars().count();
    let room = style
        .width
        .map_or(usize::MAX, |width| width.saturating_sub(indent).max(20));
    let mut line = String::new();
    let mut start = lead.to_owned();
    for word in words.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            let _ = writeln!(to, "{start}{line}");
            start = " ".repeat(indent);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(to, "{start}{line}");
}

/// What was not tried, by reason.
fn not_tried(probes: &[Probe]) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for probe in probes.iter().filter(|p| p.result == ProbeResult::NotRun) {
        let why = probe.why_not.as_deref().unwrap_or_default();
        match reasons.iter_mut().find(|(same, _)| *same == why) {
            Some((_, names)) => names.push(&probe.name),
            None => reasons.push((why, vec![&probe.name])),
        }
    }
    let words = reasons
        .iter()
        .map(|(why, names)| format!("{} ({why})", names.join(", ")));
    words.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_folds_at_words_and_aligns() {
        let style = Style {
            color: false,
            width: Some(30),
        };
        let mut text = String::new();
        paragraph(
            &mut text,
            "  !1  ",
            "guest offloads cannot be switched off",
            &style,
        );
        assert_eq!(text, "  !1  guest offloads cannot be\n      switched off\n");
    }
}
