//! Requests by service, route and backend.

use std::collections::BTreeMap;

use terrace_mesh::directory::Directory;

use super::family::{Family, Histogram, Labels, counter, counters, histograms};
use crate::control::names;
use crate::l7::requests::{BUCKETS_US, N_BUCKETS, N_OUTCOMES};
use crate::run::shared::Shared;

/// No answer, then the first digit of the status.
const OUTCOMES: [&str; N_OUTCOMES] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Debug, Default)]
struct Sum {
    outcomes: [u64; N_OUTCOMES],
    buckets: [u64; N_BUCKETS],
    sum_us: u64,
    in_kernel: u64,
}

pub(super) fn families(shared: &Shared) -> [Family; 7] {
    let workers = shared.requests.workers();
    let mut sums: BTreeMap<Labels, Sum> = BTreeMap::new();
    let mesh = shared.mesh();
    let directory = mesh.directory();
    let rules = shared.l7.get();
    for (key, reading) in workers.iter().flat_map(|told| told.meters.read()) {
        let [service, route, backend] = key;
        // Of somebody who is gone; the index may be another one's now.
        if !rules.still_own([service, backend], reading.owners) {
            continue;
        }
        let labels = vec![
            ("service", names::service(directory, service)),
            ("route", names::route(directory, route)),
            ("backend", names::backend(directory, backend)),
        ];
        let sum = sums.entry(labels).or_default();
        let add = |to: &mut [u64], from: &[u64]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        };
        add(&mut sum.outcomes, &reading.outcomes);
        add(&mut sum.buckets, &reading.buckets);
        sum.sum_us += reading.sum_us;
        sum.in_kernel += reading.in_kernel;
    }
    sums.retain(|_, sum| sum.buckets.iter().any(|n| *n > 0));
    let unrecorded = workers.iter().map(|told| told.meters.unrecorded()).sum();
    let [mirrored, dropped] = mirrors(shared, directory);
    [
        mirrored,
        dropped,
        in_kernel(&sums),
        counters(
            "requests",
            "Requests by the first digit of their answer's status",
            by_outcome(&sums),
        ),
        counters(
            "request_errors",
            "Requests without an answer or with one of 5xx",
            sums.iter()
                .map(|(labels, sum)| (labels.clone(), sum.outcomes[0] + sum.outcomes[5])),
        ),
        histograms(
            "request_duration_seconds",
            "From the whole head of a request to the head of its answer",
            sums.iter()
                .map(|(labels, sum)| (labels.clone(), histogram(sum))),
        ),
        counter(
            "requests_unrecorded",
            "Requests that were not measured: too many waited for answers",
            unrecorded,
        ),
    ]
}

fn mirrors(shared: &Shared, directory: &Directory) -> [Family; 2] {
    let all = crate::control::mirrors(shared, directory);
    let (mut sent, mut dropped) = (Vec::new(), Vec::new());
    for mirrors in all {
        let route = ("route", mirrors.route);
        sent.push((vec![route.clone()], mirrors.mirrored));
        for (why, n) in mirrors.mirror_dropped {
            dropped.push((vec![route.clone(), ("reason", why)], n));
        }
    }
    [
        counters("mirrored", "Copies of requests that a mirror took", sent),
        counters(
            "mirror_dropped",
            "Copies of requests that no mirror took whole, and why",
            dropped,
        ),
    ]
}

fn in_kernel(sums: &BTreeMap<Labels, Sum>) -> Family {
    let passed = sums.iter().filter(|(_, sum)| sum.in_kernel > 0);
    let text = "Requests that passed in the kernel by method and path: their status and duration are not known";
    let rows: Vec<_> = passed
        .map(|(labels, sum)| (labels.clone(), sum.in_kernel))
        .collect();
    counters("requests_in_kernel", text, rows)
}

fn by_outcome(sums: &BTreeMap<Labels, Sum>) -> Vec<(Labels, u64)> {
    let all = sums.iter().flat_map(|(labels, sum)| {
        let counted = OUTCOMES.iter().zip(sum.outcomes).filter(|(_, n)| *n > 0);
        counted.map(|(outcome, n)| {
            let mut labels = labels.clone();
            labels.push(("status", (*outcome).to_owned()));
            (labels, n)
        })
    });
    all.collect()
}

fn histogram(sum: &Sum) -> Histogram {
    let edges = BUCKETS_US.iter().map(|us| *us as f64 / 1e6);
    Histogram {
        sum: sum.sum_us as f64 / 1e6,
        buckets: edges.chain([f64::INFINITY]).zip(sum.buckets).collect(),
    }
}
