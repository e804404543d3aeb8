//! Requests of the L7 tier.

use super::table::{Table, cell, toned};
use super::units::{count, plural};
use super::{Style, Tone};
use crate::api::{Mirrors, Request, RequestVerdict, Requests};

/// A table; with nothing in it, what that means.
pub fn requests(requests: &Requests, style: &Style) -> String {
    let mut text = match requests.requests.is_empty() {
        true => "no requests; routes and HTTP rules make them seen\n".to_owned(),
        false => table(&requests.requests).print(style),
    };
    if requests.unrecorded > 0 {
        let n = count(requests.unrecorded);
        text += &format!("{n} more were not recorded: too many waited for answers\n");
    } else if !requests.requests.is_empty() {
        text += &format!("{}\n", plural(requests.requests.len(), "request"));
    }
    for mirrors in &requests.mirrors {
        text += &format!("{}\n", copies(mirrors));
    }
    text
}

/// What became of the copies of a rule's requests.
fn copies(mirrors: &Mirrors) -> String {
    let dropped = mirrors.mirror_dropped.iter();
    let dropped: Vec<String> = dropped
        .map(|(why, n)| format!("{} {why}", count(*n)))
        .collect();
    let dropped = match dropped.is_empty() {
        true => String::new(),
        false => format!(", not sent: {}", dropped.join(", ")),
    };
    let route = or_dash(&mirrors.route);
    format!("{} mirrored by {route}{dropped}", count(mirrors.mirrored))
}

fn table(requests: &[Request]) -> Table {
    let mut table = Table::new(&[
        "TIME",
        "CLIENT",
        "SERVICE",
        "METHOD",
        "HOST",
        "PATH",
        ">STATUS",
        ">TIME TAKEN",
        "VERDICT",
        "BACKEND",
        "BY",
    ]);
    for request in requests {
        table.push(vec![
            cell(time(request.unix_ms)),
            cell(request.client.to_string()),
            cell(or_dash(&request.service)),
            cell(or_dash(&method(request))),
            cell(or_dash(&request.host)),
            cell(or_dash(&request.path)),
            toned(tone(request), status(request)),
            cell(taken(request)),
            cell(verdict(request.verdict)),
            cell(or_dash(&request.backend)),
            cell(by(request)),
        ]);
    }
    table
}

/// One line, for those who follow.
pub fn request(request: &Request, style: &Style) -> String {
    let service = match request.service.is_empty() {
        true => request.destination.to_string(),
        false => request.service.clone(),
    };
    let target = match request.backend.is_empty() {
        true => String::new(),
        false => format!(" -> {}", request.backend),
    };
    format!(
        "{} {} > {service}{target} {} {}{} {} {} {} [{}]",
        time(request.unix_ms),
        request.client,
        method(request),
        request.host,
        request.path,
        style.paint(tone(request), &status(request)),
        taken(request),
        verdict(request.verdict),
        by(request)
    )
}

/// What decided: the route's rule, the policy's rule, or neither.
fn by(request: &Request) -> String {
    let parts = [&request.route, &request.rule];
    let parts: Vec<&str> = parts
        .into_iter()
        .map(String::as_str)
        .filter(|p| !p.is_empty())
        .collect();
    match parts.is_empty() {
        true => "-".to_owned(),
        false => parts.join(", "),
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// One line may stand for many that nobody but the kernel has seen.
fn method(request: &Request) -> String {
    match request.in_kernel {
        0 => request.method.clone(),
        n => format!("{n} in the kernel"),
    }
}

fn status(request: &Request) -> String {
    match request.status {
        0 if request.in_kernel > 0 => "?".to_owned(),
        0 => "none".to_owned(),
        status => status.to_string(),
    }
}

fn tone(request: &Request) -> Tone {
    match request.status {
        200..=399 => Tone::Good,
        0 if request.in_kernel > 0 => Tone::Plain,
        0 | 500.. => Tone::Bad,
        _ => Tone::Plain,
    }
}

pub fn verdict(verdict: RequestVerdict) -> &'static str {
    match verdict {
        RequestVerdict::Forwarded => "forwarded",
        RequestVerdict::Redirected => "redirected",
        RequestVerdict::Denied => "denied",
        RequestVerdict::NoRoute => "no-route",
        RequestVerdict::NoBackend => "no-backend",
        RequestVerdict::Malformed => "malformed",
    }
}

fn taken(request: &Request) -> String {
    match request.duration_us {
        _ if request.in_kernel > 0 => "?".to_owned(),
        us @ 0..1_000 => format!("{us} us"),
        us @ 1_000..10_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        us => format!("{} s", us / 1_000_000),
    }
}

/// UTC, with milliseconds.
fn time(unix_ms: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms as i64).unwrap_or_default();
    time.strftime("%H:%M:%S%.3f").to_string()
}
