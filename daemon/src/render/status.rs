//! The daemon's state, and what a reload did.

use std::fmt::Write;

use super::table::{Cell, Table, cell, toned};
use super::units::{bytes, count, duration_ms, percent, plural};
use super::{Style, Tone};
use crate::api::{Event, FlowTable, Interface, Phase, Reload, Role, Status, TableUse, Worker};

pub fn status(status: &Status, style: &Style) -> String {
    let mut text = head(status, style);
    if !status.manifests.refused.is_empty() {
        let told = "the latest change of the manifests is refused; the state before it serves:";
        let _ = writeln!(text, "\n{}", style.paint(Tone::Bad, told));
        for fault in &status.manifests.refused {
            let _ = writeln!(text, "  {fault}");
        }
    }
    let _ = write!(text, "\n{}", interfaces(&status.interfaces, style));
    let _ = write!(text, "\n{}", tables(&status.tables, style));
    if !status.events.is_empty() {
        let now = status.started_unix_ms + status.uptime_ms;
        let _ = write!(text, "\n{}", events(&status.events, now, style));
    }
    text
}

fn head(status: &Status, style: &Style) -> String {
    let (tone, phase) = match status.phase {
        Phase::Starting => (Tone::Warn, "starting"),
        Phase::Ready => (Tone::Good, "ready"),
        Phase::Stopping => (Tone::Warn, "stopping"),
    };
    let daemon = format!(
        "{}: {}, version {}, pid {}, up {}",
        status.node_name,
        style.paint(tone, phase),
        status.version.version,
        status.pid,
        duration_ms(status.uptime_ms)
    );
    let taken = if status.taken_over {
        ", taken over from an earlier daemon"
    } else {
        ""
    };
    let [manifests, objects] = manifests(status);
    let mut lines = vec![
        ("daemon", daemon),
        ("config", status.config.clone()),
        ("manifests", manifests),
        ("", objects),
        ("tables", format!("{}{taken}", status.pin_root)),
        (
            "heartbeat",
            format!("{} ago", duration_ms(status.heartbeat_age_ms)),
        ),
        ("flows", flows(&status.flows)),
        ("shortcut", super::shortcut::line(&status.shortcut, style)),
    ];
    if !status.l7_workers.is_empty() {
        lines.push(("workers", workers(&status.l7_workers)));
    }
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(
            text,
            "{}  {value}",
            style.paint(Tone::Head, &format!("{name:<9}"))
        );
        text
    })
}

/// What those of the L7 tier have and did, and what they could not take.
fn workers(workers: &[Worker]) -> String {
    let sum = |of: fn(&Worker) -> u64| workers.iter().map(of).sum::<u64>();
    let mut text = format!(
        "{}: {}, {}, {} more in the kernel",
        plural(workers.len(), "worker"),
        plural(sum(|w| w.flows) as usize, "connection"),
        plural(sum(|w| w.requests) as usize, "request"),
        count(sum(|w| w.passed)),
    );
    let odd = [
        (
            "packets lost",
            sum(|w| w.overruns + w.not_handed + w.dropped),
        ),
        ("met a limit", sum(|w| w.cookies + w.full + w.unheld)),
        ("segments of strangers", sum(|w| w.strays)),
        ("panics", sum(|w| w.panics)),
    ];
    for (what, n) in odd.iter().filter(|(_, n)| *n > 0) {
        let _ = write!(text, ", {} {what}", count(*n));
    }
    text
}

/// What was applied and when, and what is in it.
fn manifests(status: &Status) -> [String; 2] {
    let m = &status.manifests;
    let now = status.started_unix_ms + status.uptime_ms;
    let applied = format!(
        "{}: {}, revision {}, applied {} ago",
        m.folder,
        plural(m.files, "file"),
        m.revision,
        duration_ms(now.saturating_sub(m.applied_unix_ms))
    );
    let objects = format!(
        "{}, {} ({} ready), {}, {}, {}",
        plural(m.services, "service"),
        plural(m.backends, "backend"),
        count(m.ready_backends as u64),
        plural(m.policies, "policy"),
        plural(m.identities, "identity"),
        plural(m.denied_prefixes, "denied prefix")
    );
    [applied, objects]
}

fn flows(flows: &FlowTable) -> String {
    let states = flows.by_state.iter().filter(|(_, n)| **n > 0);
    let states: Vec<String> = states
        .map(|(state, n)| format!("{} {state}", count(*n)))
        .collect();
    format!(
        "{} of {} slots ({}){}{}",
        count(flows.used),
        count(flows.capacity),
        percent(flows.used, flows.capacity),
        if states.is_empty() { "" } else { ": " },
        states.join(", ")
    )
}

fn interfaces(interfaces: &[Interface], style: &Style) -> String {
    let heads = [
        "INTERFACE",
        "ROLE",
        "LINK",
        ">MTU",
        "DRIVER",
        "PROGRAMS",
        "ADDRESSES",
    ];
    let mut table = Table::new(&heads);
    for iface in interfaces {
        let programs: Vec<String> = iface
            .attachments
            .iter()
            .map(|a| format!("{} {}", a.hook, a.kind))
            .collect();
        table.push(vec![
            cell(&iface.name),
            cell(role(iface.role)),
            if iface.up {
                toned(Tone::Good, "up")
            } else {
                toned(Tone::Bad, "down")
            },
            cell(iface.mtu.to_string()),
            cell(&iface.driver),
            some_of(&programs, 3, "none"),
            some_of(&iface.addresses, 2, "-"),
        ]);
    }
    match interfaces.is_empty() {
        true => "no interface of this host is configured\n".into(),
        false => table.print(style),
    }
}

/// The first ones, and how many more there are.
pub(super) fn some_of(items: &[String], shown: usize, none: &str) -> Cell {
    match items.len() {
        0 => toned(Tone::Faint, none),
        n if n <= shown => cell(items.join(", ")),
        n => cell(format!(
            "{} and {} more",
            items[..shown].join(", "),
            n - shown
        )),
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Uplink => "uplink",
        Role::Workload => "workload",
    }
}

fn tables(tables: &[TableUse], style: &Style) -> String {
    let mut table = Table::new(&["TABLE", ">USED", ">CAPACITY", ">FULL", ">MEMORY"]);
    for t in tables {
        let tone = match t.used.saturating_mul(100) / t.capacity.max(1) {
            90.. => Tone::Bad,
            75.. => Tone::Warn,
            _ => Tone::Plain,
        };
        table.push(vec![
            cell(&t.table),
            cell(count(t.used)),
            cell(count(t.capacity)),
            toned(tone, percent(t.used, t.capacity)),
            cell(bytes(t.bytes)),
        ]);
    }
    table.print(style)
}

fn events(events: &[Event], now: u64, style: &Style) -> String {
    let mut table = Table::new(&["WHEN", "SEVERITY", "EVENT", ">TIMES", "MESSAGE"]);
    for event in events {
        let tone = match event.severity.as_str() {
            "error" => Tone::Bad,
            "warning" => Tone::Warn,
            _ => Tone::Plain,
        };
        table.push(vec![
            cell(format!(
                "{} ago",
                duration_ms(now.saturating_sub(event.unix_ms))
            )),
            toned(tone, &event.severity),
            cell(&event.kind),
            cell(count(event.count)),
            cell(&event.message),
        ]);
    }
    table.print(style)
}

pub fn reload(reload: &Reload, _style: &Style) -> String {
    format!(
        "revision {}: {} written in {}\n",
        reload.revision,
        plural(reload.changes, "change"),
        duration_ms(reload.took_ms)
    )
}
