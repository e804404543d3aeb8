//! Which metrics there are, and where their values come from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use terrace_abi::consts::FLOW_BY_XDP;

use super::family::{Family, Labels, counter, counters, gauge, gauges};
use crate::api;
use crate::control::{STATES, names, reason_counts, tables};
use crate::run::shared::{Shared, View};

pub(super) fn families(shared: &Shared) -> Result<Vec<Family>> {
    let view = shared.view();
    let mut families = vec![build_info()];
    families.extend(reasons(shared)?);
    families.extend(backends(shared)?);
    families.extend(flows(shared, &view)?);
    families.extend(capacity(shared));
    families.extend(placements(shared, &view));
    families.push(nics(&view));
    families.extend(changes(shared, &view));
    families.extend(life(shared)?);
    families.extend(health(&view));
    families.extend(super::shortcut::families(shared)?);
    families.extend(super::requests::families(shared));
    families.extend(super::sockets::families(shared));
    families.extend(super::workers::families(shared));
    Ok(families)
}

fn build_info() -> Family {
    let version = api::Version::of_this_program();
    let labels = vec![
        ("version", version.version),
        ("abi_version", version.abi_version.to_string()),
    ];
    gauges("build_info", "Version of the daemon.", [(labels, 1.0)])
}

fn reasons(shared: &Shared) -> Result<[Family; 2]> {
    let counts = reason_counts(shared)?;
    let labels = |count: &api::ReasonCount| -> Labels {
        vec![
            ("iface", count.iface.clone()),
            ("hook", count.hook.clone()),
            ("class", count.class.clone()),
            ("reason", count.reason.clone()),
        ]
    };
    Ok([
        counters(
            "packets",
            "Packets by what became of them",
            counts.iter().map(|count| (labels(count), count.packets)),
        ),
        counters(
            "bytes",
            "Bytes by what became of their packets",
            counts.iter().map(|count| (labels(count), count.bytes)),
        ),
    ])
}

fn backends(shared: &Shared) -> Result<[Family; 5]> {
    let mesh = shared.mesh();
    let directory = mesh.directory();
    let stats: BTreeMap<_, _> = shared.maps.backend_stats()?.into_iter().collect();
    let mut packets = Vec::new();
    let mut bytes = Vec::new();
    let mut connections = Vec::new();
    let mut ready = Vec::new();
    for (index, backend) in &directory.backends {
        let service =
            directory
                .pools
                .get(&backend.pool)
                .map_or_else(String::new, |pool| match pool.port_name.as_str() {
                    "" => pool.service.to_string(),
                    port => format!("{}:{port}", pool.service),
                });
        let labels: Labels = vec![
            ("service", service),
            ("backend", names::backend(directory, *index)),
            ("pool", backend.pool.to_string()),
        ];
        let with = |name, value: &str| {
            let mut labels = labels.clone();
            labels.push((name, value.to_owned()));
            labels
        };
        let stats = stats.get(index).copied().unwrap_or_default();
        for (direction, i) in [("to", 0), ("from", 1)] {
            packets.push((with("direction", direction), stats.packets[i]));
            bytes.push((with("direction", direction), stats.bytes[i]));
        }
        connections.push((labels.clone(), stats.connections));
        let is_ready = backend.state == terrace_mesh::directory::BackendState::Ready;
        ready.push((labels, f64::from(u8::from(is_ready))));
    }
    Ok([
        counters("backend_packets", "Packets to and from a backend", packets),
        counters("backend_bytes", "Bytes to and from a backend", bytes),
        counters(
            "backend_connections",
            "Connections given to a backend",
            connections,
        ),
        gauges(
            "backend_ready",
            "1 = the backend takes new connections",
            ready,
        ),
        gauge(
            "services",
            "Frontends in the tables",
            directory.frontends.len() as f64,
        ),
    ])
}

/// The state comes from the sweep, which sees every slot in ten seconds; the
/// tier needs a look at the table.
fn flows(shared: &Shared, view: &View) -> Result<[Family; 4]> {
    let census = shared.census();
    let by_state = STATES.iter().zip(census.by_state);
    let xdp = names::xdp_tier(view).name();
    let mut by_tier = BTreeMap::from([(xdp, 0u64), ("tc", 0)]);
    for entry in shared.maps.flows() {
        let by_xdp = u32::from(entry?.flags) & FLOW_BY_XDP != 0;
        *by_tier.entry(if by_xdp { xdp } else { "tc" }).or_default() += 1;
    }
    Ok([
        gauges(
            "flows",
            "Slots of the connection table in use, by state; a connection takes two",
            by_state.map(|(state, n)| (vec![("state", (*state).to_owned())], n as f64)),
        ),
        gauges(
            "flows_by_tier",
            "Slots of the connection table in use, by the tier of the latest packet",
            by_tier
                .into_iter()
                .map(|(tier, n)| (vec![("tier", tier.to_owned())], n as f64)),
        ),
        counter("flows_expired", "Flows that timed out", census.expired),
        counter(
            "sweep_rounds",
            "Whole sweeps of the connection table",
            census.rounds,
        ),
    ])
}

fn capacity(shared: &Shared) -> [Family; 3] {
    let tables = tables(shared.mesh().tables(), &shared.census());
    let of = |value: fn(&api::TableUse) -> u64| {
        let rows = tables.iter().map(|table| {
            let labels: Labels = vec![("table", table.table.clone())];
            (labels, value(table) as f64)
        });
        rows.collect::<Vec<_>>()
    };
    [
        gauges("table_used", "Entries in use", of(|t| t.used)),
        gauges(
            "table_capacity",
            "Entries that a table has",
            of(|t| t.capacity),
        ),
        gauges("table_bytes", "Memory of a table", of(|t| t.bytes)),
    ]
}

fn placements(shared: &Shared, view: &View) -> [Family; 3] {
    let placements = view.plan.placements.iter().map(|placement| {
        let labels: Labels = vec![
            ("task", placement.task.to_string()),
            ("iface", placement.iface.clone()),
            ("tier", placement.tier.name().to_owned()),
        ];
        (labels, 1.0)
    });
    let up = view.interfaces.iter().map(|iface| {
        let role = match iface.role {
            api::Role::Uplink => "uplink",
            api::Role::Workload => "workload",
        };
        let labels: Labels = vec![("iface", iface.name.clone()), ("role", role.to_owned())];
        (labels, f64::from(u8::from(iface.up)))
    });
    let events = shared.events.counts().into_iter();
    let events = events.map(|(kind, n)| {
        let labels: Labels = vec![
            ("kind", kind.name().to_owned()),
            ("severity", kind.severity().name().to_owned()),
        ];
        (labels, n)
    });
    [
        gauges(
            "placement",
            "Where a task runs",
            placements.collect::<Vec<_>>(),
        ),
        gauges("interface_up", "1 = the link is up", up.collect::<Vec<_>>()),
        counters("events", "Events by kind", events.collect::<Vec<_>>()),
    ]
}

fn nics(view: &View) -> Family {
    let held = view.nics.iter().filter(|nic| nic.held > 0).map(|nic| {
        let labels: Labels = vec![
            ("iface", nic.iface.clone()),
            ("part", nic.part.clone()),
            ("way", nic.way.clone()),
        ];
        (labels, nic.held as f64)
    });
    gauges(
        "nic_entries",
        "Entries of the deny list, or of what policy closes, that a NIC drops by itself",
        held.collect::<Vec<_>>(),
    )
}

fn changes(shared: &Shared, view: &View) -> Vec<Family> {
    let load = |total: &AtomicU64| total.load(Ordering::Relaxed);
    let seconds = |total: &AtomicU64| load(total) as f64 / 1e6;
    let totals = &shared.totals;
    let refused = !view.manifests.refused.is_empty();
    vec![
        gauge(
            "config_generation",
            "Applied changes since the start",
            view.manifests.revision as f64,
        ),
        gauge(
            "config_refused",
            "1 = the manifests are refused and an older state serves",
            f64::from(u8::from(refused)),
        ),
        counter(
            "config_refusals",
            "Changes that were refused",
            load(&totals.refusals),
        ),
        counter(
            "applies",
            "Changes written to the tables",
            load(&totals.applies),
        ),
        counter("apply_steps", "Table updates", load(&totals.changes)),
        gauge(
            "apply_duration_seconds",
            "The latest table update",
            seconds(&totals.last_apply_us),
        ),
        gauge(
            "compile_duration_seconds",
            "The latest compilation of the manifests",
            seconds(&totals.last_compile_us),
        ),
    ]
}

fn life(shared: &Shared) -> Result<Vec<Family>> {
    let config = shared.maps.config()?;
    let unresolved = shared.totals.unresolved.load(Ordering::Relaxed);
    Ok(vec![
        gauge(
            "policy_revision",
            "Of the policy in use",
            f64::from(config.policy_rev),
        ),
        gauge(
            "next_hop_revision",
            "Of routes and neighbours",
            f64::from(config.nexthop_rev),
        ),
        gauge(
            "heartbeat_age_seconds",
            "Since the programs last heard of the daemon",
            shared.heartbeat_age_ms() as f64 / 1e3,
        ),
        gauge(
            "uptime_seconds",
            "Since the start of the daemon",
            shared.uptime_ms() as f64 / 1e3,
        ),
        counter(
            "neighbour_failures",
            "Neighbours that the kernel refused to resolve",
            unresolved,
        ),
    ])
}

fn health(view: &View) -> [Family; 2] {
    [
        gauge(
            "health_checked_backends",
            "Backends with a health check",
            view.checked as f64,
        ),
        gauge(
            "health_unhealthy_backends",
            "Backends that fail their health check",
            view.unhealthy.len() as f64,
        ),
    ]
}
