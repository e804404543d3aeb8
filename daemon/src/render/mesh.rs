//! Services, policies and identities.

use std::fmt::Write;

use super::status::some_of;
use super::table::{Cell, Table, cell, toned};
use super::units::{bytes, count, duration_ms};
use super::{Style, Tone};
use crate::api::{
    Backend, Direction, Identity, L7Rung, Policy, RuleVerdict, Service, Source, short_labels,
};

pub fn services(services: &[Service], style: &Style) -> String {
    if services.is_empty() {
        return "no services\n".into();
    }
    let parts: Vec<String> = services
        .iter()
        .map(|service| one_service(service, style))
        .collect();
    parts.join("\n")
}

fn one_service(service: &Service, style: &Style) -> String {
    let mut name = format!("{}/{}", service.namespace, service.name);
    if !service.port_name.is_empty() {
        let _ = write!(name, ":{}", service.port_name);
    }
    let mut facts = vec![
        service.forwarding.clone(),
        format!("fail {}", service.fail_mode),
    ];
    if service.affinity_secs > 0 {
        let time = duration_ms(u64::from(service.affinity_secs) * 1000);
        facts.push(format!("client affinity {time}"));
    }
    facts.extend(place_of(&service.source));
    let mut text = format!("{}  {}\n", style.paint(Tone::Head, &name), facts.join(", "));
    for frontend in &service.frontends {
        let address = std::net::SocketAddr::new(frontend.address, frontend.port);
        let _ = writeln!(
            text,
            "  {:<13}  {address}/{}",
            frontend.kind, frontend.protocol
        );
    }
    if let Some(l7) = &service.l7 {
        let _ = writeln!(text, "  l7 {}", rung(l7));
    }
    if service.backends.is_empty() {
        let _ = writeln!(text, "  {}", style.paint(Tone::Bad, "no backends"));
    }
    let whole = backends(&service.backends, true);
    let fits = style.width.is_none_or(|width| whole.width() <= width);
    let table = if fits {
        whole
    } else {
        backends(&service.backends, false)
    };
    text + &table.print(style)
}

/// A rung, and why it is not a lower one.
pub fn rung(l7: &L7Rung) -> String {
    match l7.not_in_kernel.as_str() {
        "" => format!("{}: {}", l7.rung, l7.why),
        why => format!("{}: {}; worker: {why}", l7.rung, l7.why),
    }
}

fn backends(backends: &[Backend], with_pod: bool) -> Table {
    let mut heads = vec![
        "BACKEND",
        "STATE",
        ">SHARE",
        ">OPENED",
        ">OPEN",
        ">PKTS TO",
        ">BYTES TO",
    ];
    heads.extend([">PKTS FROM", ">BYTES FROM"]);
    if with_pod {
        heads.push("POD");
    }
    let mut table = Table::new(&heads).indented(2);
    for backend in backends {
        let address = std::net::SocketAddr::new(backend.address, backend.port);
        let share = backend.share_permille;
        let t = &backend.traffic;
        let mut row = vec![
            cell(address.to_string()),
            state(backend),
            cell(format!("{}.{} %", share / 10, share % 10)),
            cell(count(t.connections)),
            cell(count(t.live_connections)),
            cell(count(t.packets_to)),
            cell(bytes(t.bytes_to)),
            cell(count(t.packets_from)),
            cell(bytes(t.bytes_from)),
        ];
        if with_pod {
            row.push(cell(&backend.pod));
        }
        table.push(row);
    }
    table
}

fn state(backend: &Backend) -> Cell {
    let tone = match backend.state.as_str() {
        "ready" => Tone::Good,
        "draining" => Tone::Warn,
        _ => Tone::Bad,
    };
    let place = if backend.local { " local" } else { "" };
    toned(tone, format!("{}{place}", backend.state))
}

pub fn policies(policies: &[Policy], style: &Style) -> String {
    if policies.is_empty() {
        return "no policies: everything is allowed\n".into();
    }
    let parts: Vec<String> = policies
        .iter()
        .map(|policy| one_policy(policy, style))
        .collect();
    parts.join("\n")
}

fn one_policy(policy: &Policy, style: &Style) -> String {
    let name = match policy.namespace.as_str() {
        "" => policy.name.clone(),
        namespace => format!("{namespace}/{}", policy.name),
    };
    let place = place_of(&policy.source)
        .map(|place| format!("  {place}"))
        .unwrap_or_default();
    let title = style.paint(Tone::Head, &name);
    let mut text = format!("{title}  {}{place}\n", policy.kind);
    let selects = match policy.selects.is_empty() {
        true => "no pod of this host".into(),
        false => policy.selects.join(", "),
    };
    let _ = writeln!(text, "  selects       {selects}");
    let directions: Vec<&str> = policy.directions.iter().map(|d| direction(*d)).collect();
    if !directions.is_empty() {
        let _ = writeln!(text, "  default deny  {}", directions.join(", "));
    }
    let mut table = Table::new(&[">RULE", "DIRECTION", "VERDICT", "PEERS", "PORTS", ">LINE"]);
    for rule in &policy.rules {
        table.push(vec![
            cell(rule.number.to_string()),
            cell(direction(rule.direction)),
            verdict(rule.verdict),
            some_of(&rule.peers, 3, "all"),
            some_of(&rule.ports, 4, "all"),
            cell(rule.source.line.to_string()),
        ]);
    }
    text + &table.indented(2).print(style)
}

fn verdict(verdict: RuleVerdict) -> Cell {
    match verdict {
        RuleVerdict::Allow => toned(Tone::Good, "allow"),
        RuleVerdict::Deny => toned(Tone::Bad, "deny"),
    }
}

pub(super) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

pub(super) fn place_of(source: &Source) -> Option<String> {
    match (source.file.as_str(), source.line) {
        ("", _) => None,
        (file, 0) => Some(file.to_owned()),
        (file, line) => Some(format!("{file}:{line}")),
    }
}

pub fn identities(identities: &[Identity], style: &Style) -> String {
    if identities.is_empty() {
        return "no identities\n".into();
    }
    let heads = [
        ">NUMBER",
        "NAME OR LABELS",
        "ENFORCED",
        "INTERFACES",
        "ADDRESSES",
    ];
    let mut table = Table::new(&heads);
    for identity in identities {
        let enforced = match (identity.ingress_enforced, identity.egress_enforced) {
            (false, false) => toned(Tone::Faint, "-"),
            (true, false) => cell("ingress"),
            (false, true) => cell("egress"),
            (true, true) => cell("both"),
        };
        table.push(vec![
            cell(identity.number.to_string()),
            cell(name_of(identity)),
            enforced,
            some_of(&identity.ifaces, 2, "-"),
            some_of(&identity.addresses, 2, "-"),
        ]);
    }
    table.print(style)
}

fn name_of(identity: &Identity) -> String {
    match identity.name.as_str() {
        "" => short_labels(&identity.labels),
        name => name.to_owned(),
    }
}
