//! The socket tier's own metrics; its reasons are with all others.

use super::family::{Family, Labels, gauge, gauges};
use crate::run::shared::Shared;

pub(super) fn families(shared: &Shared) -> [Family; 4] {
    let config = &shared.config.socket;
    let armed = shared.sockets.get();
    let parts = [
        ("services", config.services),
        ("proxy", config.proxy),
        ("close", config.is_on()),
    ];
    let has = |part: &str| {
        armed.is_some_and(|armed| match part {
            "services" => armed.options.services,
            "proxy" => armed.options.proxy,
            _ => armed
                .iterators
                .as_ref()
                .is_some_and(|iterators| iterators.can_end()),
        })
    };
    let rows: Vec<(Labels, f64)> = parts
        .into_iter()
        .filter(|(_, wanted)| *wanted)
        .map(|(part, _)| {
            let labels: Labels = vec![("part", part.to_owned())];
            (labels, f64::from(u8::from(has(part))))
        })
        .collect();
    let (used, capacity) = armed.map_or((0, 0), |armed| armed.records());
    let workloads = armed.map_or(0, |armed| armed.workload_names().len());
    [
        gauges(
            "socket_armed",
            "1 = this part of the socket tier works, 0 = it was asked for and is not to be had",
            rows,
        ),
        gauge(
            "socket_workloads",
            "Workloads that are redirected to a proxy",
            workloads as f64,
        ),
        gauge(
            "socket_records",
            "Connected sockets in the table of what they asked for",
            used as f64,
        ),
        gauge(
            "socket_records_capacity",
            "Connected sockets that the table has room for",
            capacity as f64,
        ),
    ]
}
