//! Sockets, and the way of a connect().

use std::fmt::Write as _;

use super::table::{Table, cell, toned};
use super::units::{bytes, plural};
use super::{Style, Tone};
use crate::api::{ConnectAnswer, Socket, Sockets};

pub fn sockets(sockets: &Sockets, style: &Style) -> String {
    if sockets.cgroup.is_empty() && sockets.sockets.is_empty() {
        return "the socket tier is off: [socket] services = true arms it\n".to_owned();
    }
    let mut parts = Vec::new();
    for (on, name) in [(sockets.services, "services"), (sockets.proxy, "proxies")] {
        if on {
            parts.push(name);
        }
    }
    let mut text = table(&sockets.sockets).print(style);
    let total = plural(sockets.sockets.len(), "socket");
    let _ = match sockets.cgroup.as_str() {
        "" => writeln!(text, "{total}"),
        cgroup => writeln!(text, "{total}; {} on {cgroup}", parts.join(" and ")),
    };
    if !sockets.workloads.is_empty() {
        let _ = writeln!(text, "with a proxy: {}", sockets.workloads.join(", "));
    }
    text
}

fn table(sockets: &[Socket]) -> Table {
    let mut table = Table::new(&[
        "PROTO",
        "LOCAL",
        "REMOTE",
        "KIND",
        "SERVICE",
        "PEER",
        "STATE",
        "SHORTCUT",
        ">SENT",
        ">RECEIVED",
    ]);
    for socket in sockets {
        table.push(vec![
            cell(socket.protocol.as_str()),
            cell(socket.local.to_string()),
            cell(socket.remote.to_string()),
            cell(socket.kind.as_str()),
            cell(or_dash(&socket.service)),
            cell(socket.peer.to_string()),
            toned(tone(socket), &socket.state),
            cell(shortcut(socket)),
            cell(bytes(socket.sent)),
            cell(bytes(socket.received)),
        ]);
    }
    table
}

fn shortcut(socket: &Socket) -> String {
    match (socket.shortcut, socket.shortcut_reason.as_str()) {
        (None, _) => "-".to_owned(),
        (Some(true), _) => "yes".to_owned(),
        (Some(false), "") => "no".to_owned(),
        (Some(false), why) => format!("no: {why}"),
    }
}

fn tone(socket: &Socket) -> Tone {
    match socket.state.as_str() {
        "established" | "open" => Tone::Good,
        _ => Tone::Faint,
    }
}

fn or_dash(text: &str) -> &str {
    match text {
        "" => "-",
        text => text,
    }
}

pub fn connect(answer: &ConnectAnswer, style: &Style) -> String {
    let tone = match answer.class.as_str() {
        "drop" => Tone::Bad,
        "forward" => Tone::Good,
        _ => Tone::Plain,
    };
    let end = match answer.class.as_str() {
        "drop" => "fails".to_owned(),
        _ if answer.goes_to == answer.destination => "goes there".to_owned(),
        _ => format!("goes to {}", answer.goes_to),
    };
    let mut text = format!(
        "connect {} {} as user {} in {}: {}\n",
        answer.protocol,
        answer.destination,
        answer.uid,
        answer.netns,
        style.paint(tone, &end)
    );
    let rows = [
        ("reason", format!("{}: {}", answer.reason, answer.text)),
        ("workload", answer.workload.clone()),
        ("redirect", redirect(answer)),
        ("service", answer.service.clone()),
        ("backend", answer.backend.clone()),
        ("shortcut", joined(answer)),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "  {name:<9} {value}");
    }
    for note in &answer.notes {
        let _ = writeln!(text, "  {:<9} {note}", "note");
    }
    text
}

fn joined(answer: &ConnectAnswer) -> String {
    match (answer.shortcut_reason.as_str(), answer.shortcut) {
        ("", _) => String::new(),
        (why, true) => format!("yes, {why}"),
        (why, false) => format!("no: {why}"),
    }
}

fn redirect(answer: &ConnectAnswer) -> String {
    match answer.redirect.as_str() {
        "" => String::new(),
        redirect if redirect == answer.reason => String::new(),
        redirect => format!("{redirect}: {}", answer.redirect_text),
    }
}
