//! The same-host shortcut, as people read it.

mod ask;

use anyhow::Result;
use terrace_sock::shortcut::{Direction, End, Pair};

use crate::api::{self, Flow, Tier, Tuple};
use crate::run::shared::Shared;

pub(crate) use ask::{Wanted, joins};

const TCP: u8 = 6;

pub(crate) fn shortcut(shared: &Shared) -> Result<api::Shortcut> {
    let config = &shared.config.shortcut;
    let mut shown = api::Shortcut {
        mode: config.mode.name().to_owned(),
        cgroups: paths(&config.cgroups),
        ports: config.settings.ports.clone(),
        accepted: config.accept.clone(),
        ..Default::default()
    };
    let Some(state) = shared.shortcut.get() else {
        return Ok(shown);
    };
    shown.reason.clone_from(&state.reason);
    shown.checks.clone_from(&state.report.checks);
    let Some(armed) = &state.armed else {
        return Ok(shown);
    };
    let counters = armed.counters()?;
    shown.armed = true;
    shown.enabled = armed.is_enabled()?;
    shown.pairs = counters.paired.saturating_sub(counters.closed);
    shown.reasons = counters
        .reasons
        .iter()
        .map(|count| api::ShortcutReason {
            reason: count.reason.name().to_owned(),
            text: count.reason.text().to_owned(),
            messages: count.messages,
            bytes: count.bytes,
        })
        .collect();
    shown.split = counters.split;
    shown.refused = counters.refused;
    shown.full = counters.full;
    Ok(shown)
}

fn paths(paths: &[std::path::PathBuf]) -> Vec<String> {
    let shown = paths.iter().map(|path| path.display().to_string());
    shown.collect()
}

/// Every pair; none when the shortcut is not armed.
pub(crate) fn pairs(shared: &Shared) -> Result<Vec<Pair>> {
    let state = shared.shortcut.get();
    match state.and_then(|state| state.armed.as_ref()) {
        Some(armed) => Ok(armed.pairs()?),
        None => Ok(Vec::new()),
    }
}

/// Two flows for each connection that bytes took the shortcut in. `packets`
/// are messages here: no packet exists.
pub(crate) fn flows(shared: &Shared) -> Result<Vec<Flow>> {
    let pairs = pairs(shared)?;
    let ways = pairs.iter().flat_map(|pair| {
        let server = pair.server.as_ref();
        let request = Some((&pair.client, server, "request"));
        let reply = server.map(|end| (end, Some(&pair.client), "reply"));
        request.into_iter().chain(reply)
    });
    let taken = ways.filter(|(end, ..)| end.sent.socket_messages > 0);
    Ok(taken
        .map(|(end, other, direction)| flow(end, other, direction))
        .collect())
}

fn flow(end: &End, other: Option<&End>, direction: &str) -> Flow {
    let tuple = Tuple {
        protocol: TCP,
        source: end.local,
        destination: end.remote,
    };
    let arrived = other.map(|other| Tuple {
        protocol: TCP,
        source: other.remote,
        destination: other.local,
    });
    let Direction {
        socket_messages,
        socket_bytes,
        ..
    } = end.sent;
    Flow {
        slot: 0,
        peer: 0,
        direction: direction.to_owned(),
        tuple,
        translated: arrived.filter(|arrived| *arrived != tuple),
        state: if end.open { "established" } else { "closing" }.to_owned(),
        tier: Tier::Socket,
        service: String::new(),
        backend: String::new(),
        dsr: false,
        snat: false,
        packets: socket_messages,
        bytes: socket_bytes,
        age_ms: 0,
        idle_ms: 0,
        request: None,
    }
}
