//! A packet's way, program by program.

use std::fmt::Write;

use super::mesh::{direction, place_of};
use super::reasons::tone;
use super::{Style, Tone};
use crate::api::{ExplainAnswer, ExplainedPacket, Hop, PolicyHit, RuleVerdict};

pub fn explain(answer: &ExplainAnswer, style: &Style) -> String {
    if answer.packets.is_empty() {
        return "no packets\n".into();
    }
    let many = answer.packets.len() > 1;
    let parts = answer.packets.iter().enumerate().map(|(i, packet)| {
        let number = many.then_some(i + 1);
        one_packet(number, packet, style)
    });
    parts.collect::<Vec<_>>().join("\n")
}

fn one_packet(number: Option<usize>, packet: &ExplainedPacket, style: &Style) -> String {
    let number = number.map(|n| format!("packet {n}: ")).unwrap_or_default();
    let title = format!("{number}{}, {} bytes", packet.summary, packet.len);
    let mut text = format!("{}\n", style.paint(Tone::Head, &title));
    for (i, hop) in packet.hops.iter().enumerate() {
        let _ = write!(text, "\n{}", one_hop(i + 1, hop, style));
    }
    text
}

fn one_hop(number: usize, hop: &Hop, style: &Style) -> String {
    let verdict = style.paint(tone(&hop.class), &format!("{} ({})", hop.class, hop.reason));
    let mut text = format!(
        "{number}. {} {}, {}: {verdict}, {}\n   {}\n",
        hop.iface,
        hop.hook,
        hop.tier.name(),
        hop.action,
        hop.text
    );
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "   {name:<11}{value}");
    };
    if let Some(tuple) = hop.tuple {
        line("packet", &tuple.to_string());
    }
    if let Some(service) = &hop.service {
        line("service", service);
    }
    if let Some(backend) = &hop.backend {
        line("backend", backend);
    }
    if !hop.flow.is_empty() {
        line("flow", &hop.flow);
    }
    match (
        hop.source_identity.as_str(),
        hop.destination_identity.as_str(),
    ) {
        ("", "") => {}
        (source, "") => line("identity", source),
        ("", destination) => line("identity", &format!("> {destination}")),
        (source, destination) => line("identity", &format!("{source} > {destination}")),
    }
    if let Some(policy) = &hop.policy {
        line("policy", &policy_line(policy));
    }
    if let Some(new) = hop.translated {
        line("becomes", &new.to_string());
    }
    if let Some(iface) = &hop.out_iface {
        line("leaves by", iface);
    }
    for (i, change) in hop.changes.iter().enumerate() {
        let name = if i == 0 { "changes" } else { "" };
        line(
            name,
            &format!("{:<13} {} > {}", change.field, change.before, change.after),
        );
    }
    text
}

fn policy_line(hit: &PolicyHit) -> String {
    let way = direction(hit.direction);
    let verdict = match hit.verdict {
        RuleVerdict::Allow => "allowed",
        RuleVerdict::Deny => "denied",
    };
    if hit.rule == 0 {
        return format!("{way} {verdict}: no rule names it (default deny)");
    }
    let place = place_of(&hit.source)
        .map(|place| format!(" ({place})"))
        .unwrap_or_default();
    match hit.policy.as_str() {
        "" => format!("{way} {verdict} by rule {}{place}", hit.rule),
        policy => format!("{way} {verdict} by rule {} of {policy}{place}", hit.rule),
    }
}
