//! What the L7 workers' sockets brought, and what strangers and limits made them do.

use super::family::{Family, Labels, counters, gauges};
use crate::api;
use crate::run::l7;
use crate::run::shared::Shared;

pub(super) fn families(shared: &Shared) -> Vec<Family> {
    let workers = l7::workers(shared);
    sockets(&workers)
        .into_iter()
        .chain(guards(&workers))
        .collect()
}

/// What each worker's sockets brought: of the l7 port and of uplinks.
fn sockets(workers: &[api::Worker]) -> [Family; 3] {
    let mut sockets = Vec::new();
    for (number, worker) in workers.iter().enumerate() {
        for socket in &worker.sockets {
            let labels: Labels = vec![
                ("iface", socket.iface.clone()),
                ("queue", socket.queue.to_string()),
                ("worker", number.to_string()),
            ];
            sockets.push((labels, socket));
        }
    }
    let of = |value: fn(&api::WorkerSocket) -> u64| {
        let rows = sockets.iter().map(|(labels, s)| (labels.clone(), value(s)));
        rows.collect::<Vec<_>>()
    };
    [
        counters(
            "l7_socket_packets",
            "Packets that came by a worker's socket",
            of(|s| s.packets),
        ),
        counters(
            "l7_socket_lost",
            "Packets that a worker's socket had no frame or place for",
            of(|s| s.overruns),
        ),
        counters(
            "l7_handed_over",
            "Packets that came to a worker and were another one's",
            told_apart(
                workers,
                "done",
                &[("yes", |w| w.handed_over), ("lost", |w| w.not_handed)],
            ),
        ),
    ]
}

type Value = fn(&api::Worker) -> u64;

fn of_worker(number: usize) -> Labels {
    vec![("worker", number.to_string())]
}

/// Several values of each worker in one family, told apart by a label.
fn told_apart(
    workers: &[api::Worker],
    label: &'static str,
    values: &[(&str, Value)],
) -> Vec<(Labels, u64)> {
    let mut rows = Vec::new();
    for (number, worker) in workers.iter().enumerate() {
        for (name, value) in values {
            let mut labels = of_worker(number);
            labels.push((label, (*name).to_owned()));
            rows.push((labels, value(worker)));
        }
    }
    rows
}

fn guards(workers: &[api::Worker]) -> [Family; 5] {
    let of = |value: Value| {
        let rows = workers.iter().enumerate();
        let rows = rows.map(|(number, worker)| (of_worker(number), value(worker)));
        rows.collect::<Vec<_>>()
    };
    let now = |value: Value| {
        let rows = of(value).into_iter();
        rows.map(|(labels, n)| (labels, n as f64))
            .collect::<Vec<_>>()
    };
    [
        gauges(
            "l7_flows",
            "Connections that a worker knows",
            now(|w| w.flows),
        ),
        gauges(
            "l7_half_open",
            "Of these, without the end of their handshake",
            now(|w| w.half_open),
        ),
        counters(
            "l7_bounded",
            "Segments that met a worker's limit: SYNs answered by cookies, connections without a place, bytes without a buffer, requests without a source port",
            told_apart(
                workers,
                "limit",
                &[
                    ("half_open", |w| w.cookies),
                    ("flows", |w| w.full),
                    ("buffers", |w| w.unheld),
                    ("source_ports", |w| w.no_ports),
                ],
            ),
        ),
        counters(
            "l7_challenges",
            "Acknowledgements that asked whether a segment was the client's own",
            of(|w| w.challenges),
        ),
        counters(
            "l7_strays",
            "Segments with numbers that are none of their connection's, passed over",
            of(|w| w.strays),
        ),
    ]
}
