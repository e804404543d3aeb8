//! Requests, with names for their numbers.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};
use terrace_l7::flow::MirrorEnd;
use terrace_l7::tcp::Endpoint;
use terrace_mesh::directory::Directory;

use super::names;
use crate::api::{Flow, Mirrors, Request, RequestQuery, RequestVerdict, Requests, Tier};
use crate::l7::requests::{ENDS, Numbered, Record};
use crate::run::events::unix_ms;
use crate::run::shared::Shared;

pub(super) fn requests(shared: &Shared, query: &RequestQuery) -> Result<Requests> {
    let (records, last) = shared.requests.since(query.after.unwrap_or(0));
    let mesh = shared.mesh();
    let clock = Clock::now();
    let shown = records
        .iter()
        .map(|numbered| request(numbered, mesh.directory(), &clock));
    let workers = shared.requests.workers();
    Ok(Requests {
        last,
        unrecorded: workers.iter().map(|told| told.meters.unrecorded()).sum(),
        mirrors: mirrors(shared, mesh.directory()),
        requests: query.select(shown.collect()),
    })
}

/// What became of copies, by rule, over all workers.
pub fn mirrors(shared: &Shared, directory: &Directory) -> Vec<Mirrors> {
    let mut sums: BTreeMap<String, Mirrors> = BTreeMap::new();
    let workers = shared.requests.workers();
    for (route, counts) in workers.iter().flat_map(|told| told.mirrors.read()) {
        let route = names::route(directory, route);
        for ((end, reason), n) in ENDS.iter().zip(counts).filter(|(_, n)| *n > 0) {
            let sum = sums.entry(route.clone()).or_default();
            sum.route.clone_from(&route);
            match end {
                MirrorEnd::Sent => sum.mirrored += n,
                _ => *sum.mirror_dropped.entry((*reason).to_owned()).or_default() += n,
            }
        }
    }
    sums.into_values().collect()
}

/// Gives flows the latest request of their connection.
pub(super) fn name_requests(shared: &Shared, flows: &mut [Flow]) {
    let (records, _) = shared.requests.since(0);
    if records.is_empty() {
        return;
    }
    let mut latest: HashMap<(SocketAddr, SocketAddr), &Numbered> = HashMap::new();
    for numbered in &records {
        let record = &numbered.record;
        latest.insert((socket(record.client), socket(record.service)), numbered);
    }
    let mesh = shared.mesh();
    let clock = Clock::now();
    for flow in flows.iter_mut().filter(|flow| flow.tuple.protocol == 6) {
        let new = flow.translated.unwrap_or(flow.tuple);
        let ends = match flow.direction.as_str() {
            "reply" => (new.destination, new.source),
            _ => (flow.tuple.source, flow.tuple.destination),
        };
        let found = latest.get(&ends);
        flow.request = found.map(|numbered| request(numbered, mesh.directory(), &clock));
    }
}

/// The two clocks at one moment.
struct Clock {
    unix_ms: u64,
    monotonic_us: u64,
}

impl Clock {
    fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Self {
            unix_ms: unix_ms(),
            monotonic_us: now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000,
        }
    }

    fn unix_ms_of(&self, monotonic_us: u64) -> u64 {
        self.unix_ms - self.monotonic_us.saturating_sub(monotonic_us) / 1_000
    }
}

fn socket(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.address(), endpoint.port)
}

fn request(numbered: &Numbered, directory: &Directory, clock: &Clock) -> Request {
    let Record { note, .. } = &numbered.record;
    let record = &numbered.record;
    Request {
        number: numbered.number,
        unix_ms: clock.unix_ms_of(record.asked_us),
        client: socket(record.client),
        destination: socket(record.service),
        service: names::service(directory, note.service),
        method: record.method.as_str().to_owned(),
        path: record.path.as_str().to_owned(),
        host: record.host.as_str().to_owned(),
        status: record.status,
        duration_us: record.duration_us,
        verdict: note.verdict,
        route: names::route(directory, note.route),
        rule: rule(directory, note.rule, note.verdict),
        backend: match record.server.port {
            0 => String::new(),
            _ => socket(record.server).to_string(),
        },
        client_identity: identity(directory, note.client),
        server_identity: identity(directory, note.server),
        tier: match record.in_kernel {
            0 => Tier::Worker,
            _ => Tier::Tc,
        },
        in_kernel: record.in_kernel,
        worker: record.worker,
    }
}

/// `value` as in [`crate::l7::rules::Note::rule`].
fn rule(directory: &Directory, value: u32, verdict: RequestVerdict) -> String {
    let (number, http) = (value >> 8, value & 255);
    let Some(rule) = directory.rule(number) else {
        return match verdict {
            RequestVerdict::Denied => "default deny".to_owned(),
            _ => String::new(),
        };
    };
    let place = format!("{} {}", rule.policy, rule.path);
    match (directory.rule_sets.contains_key(&number), verdict) {
        (true, _) => format!("none of {place}.rules.http"),
        (false, RequestVerdict::Denied) => place,
        (false, _) => format!("{place}.rules.http[{http}]"),
    }
}

/// `number name`, or `number labels`.
fn identity(directory: &Directory, number: u32) -> String {
    let Some(identity) = directory.identities.get(&number) else {
        return String::new();
    };
    match identity.name.is_empty() {
        false => identity.name.clone(),
        true => crate::api::short_labels(&identity.labels),
    }
}
