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
    let handed = workers.iter().enumerate().flat_map(|(number, worker)| {
        let labels = |done: &str| -> Labels {
            vec![("worker", number.to_string()), ("done", done.to_owned())]
        };
        [
            (labels("yes"), worker.handed_over),
            (labels("lost"), worker.not_handed),
        ]
    });
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
            handed.collect::<Vec<_>>(),
        ),
    ]
}

fn guards(workers: &[api::Worker]) -> [Family; 5] {
    let numbered = || (0..).zip(workers);
    let label = |number: u32| -> Labels { vec![("worker", number.to_string())] };
    let of = |value: fn(&api::Worker) -> u64| {
        let rows = numbered().map(|(number, worker)| (label(number), value(worker)));
        rows.collect::<Vec<_>>()
    };
    let now = |value: fn(&api::Worker) -> u64| {
        let rows = of(value).into_iter();
        rows.map(|(labels, n)| (labels, n as f64))
            .collect::<Vec<_>>()
    };
    let bounded = numbered().flat_map(|(number, worker)| {
        let with = |limit: &str| {
            let mut labels = label(number);
            labels.push(("limit", limit.to_owned()));
            labels
        };
        [
            (with("half_open"), worker.cookies),
            (with("flows"), worker.full),
            (with("buffers"), worker.unheld),
            (with("source_ports"), worker.no_ports),
        ]
    });
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
            bounded.collect::<Vec<_>>(),
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
