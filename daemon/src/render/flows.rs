//! The connection table.

use std::collections::HashMap;
use std::fmt::Write;

use super::table::{Table, cell, toned};
use super::units::{bytes, count, duration_ms, plural};
use super::{Style, Tone};
use crate::api::{Flow, Flows, Request};

/// One line a flow where the terminal is wide enough, else two.
pub fn flows(flows: &Flows, style: &Style) -> String {
    let mut text = match flows.flows.is_empty() {
        true => String::new(),
        false => {
            let ordered = by_connection(&flows.flows);
            let table = table(&ordered);
            match style.width.is_none_or(|width| table.width() <= width) {
                true => table.print(style),
                false => ordered.iter().map(|flow| folded(flow, style)).collect(),
            }
        }
    };
    text.push_str(&foot(flows));
    text
}

fn foot(flows: &Flows) -> String {
    let total = plural(flows.total, "flow");
    let shown = flows.flows.len();
    match (flows.matched, flows.total) {
        (_, 0) => "no flows\n".into(),
        (0, _) => format!("none of {total} matches\n"),
        (matched, _) if shown < matched => format!(
            "{} of {} shown, {total} in the table; --limit 0 shows all\n",
            count(shown as u64),
            count(matched as u64)
        ),
        (matched, all) if matched < all => format!("{} of {total}\n", count(matched as u64)),
        _ => format!("{total}\n"),
    }
}

/// Each reply right after its request, where both are there.
fn by_connection(flows: &[Flow]) -> Vec<&Flow> {
    let slots: HashMap<u32, &Flow> = flows.iter().map(|flow| (flow.slot, flow)).collect();
    let peer = |flow: &Flow| {
        slots
            .get(&flow.peer)
            .filter(|peer| peer.peer == flow.slot)
            .copied()
    };
    let is_reply = |flow: &Flow| flow.direction == "reply";
    let first = flows
        .iter()
        .filter(|flow| !is_reply(flow) || peer(flow).is_none_or(is_reply));
    first
        .flat_map(|flow| [Some(flow), peer(flow).filter(|peer| is_reply(peer))])
        .flatten()
        .collect()
}

fn table(flows: &[&Flow]) -> Table {
    let heads = ["PROTO", "SOURCE", "DESTINATION", "TO", "STATE", "TIER"];
    let numbers = [">PACKETS", ">BYTES", ">IDLE"];
    let requests = flows.iter().any(|flow| flow.request.is_some());
    let last = ["REQUEST"].get(..usize::from(requests)).unwrap_or_default();
    let mut table = Table::new(&[heads.as_slice(), numbers.as_slice(), last].concat());
    for flow in flows {
        let mut row = vec![
            cell(flow.tuple.protocol_name()),
            cell(flow.tuple.source.to_string()),
            cell(flow.tuple.destination.to_string()),
            cell(target(flow)),
            toned(tone(flow), &flow.state),
            cell(flow.tier.name()),
            cell(count(flow.packets)),
            cell(bytes(flow.bytes)),
            cell(duration_ms(flow.idle_ms)),
        ];
        if requests {
            row.push(cell(flow.request.as_ref().map_or("-".into(), latest)));
        }
        table.push(row);
    }
    table
}

/// The latest request of a connection.
fn latest(request: &Request) -> String {
    format!(
        "{} {}{} {} {}",
        request.method,
        request.host,
        request.path,
        request.status,
        super::verdict(request.verdict)
    )
}

/// What the packet's destination becomes; replies have their source changed.
fn target(flow: &Flow) -> String {
    match flow.translated {
        None => "-".into(),
        Some(new) if flow.dsr => format!("{} dsr", new.destination),
        Some(new) if new.destination != flow.tuple.destination => new.destination.to_string(),
        Some(new) => format!("as {}", new.source),
    }
}

fn tone(flow: &Flow) -> Tone {
    match flow.state.as_str() {
        "established" | "udp-stream" => Tone::Good,
        "closing" | "closed" => Tone::Faint,
        _ => Tone::Plain,
    }
}

fn folded(flow: &Flow, style: &Style) -> String {
    let mut text = format!("{}\n", flow.tuple);
    if let Some(new) = flow.translated {
        let _ = writeln!(text, "    as {} > {}", new.source, new.destination);
    }
    if !flow.service.is_empty() {
        let _ = writeln!(text, "    of {}", flow.service);
    }
    let _ = writeln!(
        text,
        "    {}, {}, {}, {}, idle {}",
        style.paint(tone(flow), &flow.state),
        flow.tier.name(),
        plural(
            usize::try_from(flow.packets).unwrap_or(usize::MAX),
            "packet"
        ),
        bytes(flow.bytes),
        duration_ms(flow.idle_ms)
    );
    if let Some(request) = &flow.request {
        let _ = writeln!(text, "    {}", latest(request));
    }
    text
}
