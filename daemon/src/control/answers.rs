//! Status and reasons.

use std::collections::BTreeMap;

use anyhow::Result;
use terrace_abi::consts::{HOOK_SOCKET, HOOK_TC_INGRESS, HOOK_XDP};
use terrace_abi::{Limits, Reason, Table};
use terrace_mesh::Tables;

use super::names;
use crate::api;
use crate::run::hardware::Part;
use crate::run::l7;
use crate::run::pulse::Census;
use crate::run::shared::Shared;

/// In the order of `enum flow_state`.
pub const STATES: [&str; 8] = [
    "new",
    "established",
    "closing",
    "closed",
    "udp",
    "udp-stream",
    "icmp",
    "other",
];

pub(super) fn status(shared: &Shared) -> api::Status {
    let view = shared.view();
    api::Status {
        version: api::Version::of_this_program(),
        phase: view.phase,
        node_name: shared.config.node_name.clone(),
        pid: std::process::id(),
        started_unix_ms: shared.started_unix_ms,
        uptime_ms: shared.uptime_ms(),
        config: shared.config.file.display().to_string(),
        pin_root: shared.config.pin_root.display().to_string(),
        heartbeat_age_ms: shared.heartbeat_age_ms(),
        taken_over: shared.taken_over,
        manifests: view.manifests.clone(),
        interfaces: view.interfaces.clone(),
        flows: flow_table(shared.maps.limits(), &shared.census()),
        shortcut: super::shortcut::shortcut(shared).unwrap_or_default(),
        nics: (*view.nics).clone(),
        l7_workers: l7::workers(shared),
        tables: tables(shared.mesh().tables(), &shared.census()),
        events: shared.events.latest(),
    }
}

/// How what is for workers comes from each uplink.
pub(super) fn readings(shared: &Shared) -> Vec<api::Reading> {
    let view = shared.view();
    let readings = view.readings.iter().map(|reading| api::Reading {
        iface: reading.iface.clone(),
        queues: reading.inlets.len(),
        mode: reading.mode.to_owned(),
        why: reading.why.clone(),
    });
    readings.collect()
}

fn flow_table(limits: &Limits, census: &Census) -> api::FlowTable {
    api::FlowTable {
        used: census.live,
        capacity: u64::from(limits.flows),
        by_state: STATES
            .iter()
            .zip(census.by_state)
            .map(|(name, n)| ((*name).to_owned(), n))
            .collect(),
    }
}

/// How full each table is. Hashed tables are full long before every cell is
/// taken; what matters is the trend.
pub fn tables(tables: &Tables, census: &Census) -> Vec<api::TableUse> {
    let directory = &tables.directory;
    let used = |table: Table| match table {
        Table::Services => directory.frontends.len(),
        Table::Backends => directory.backends.len(),
        Table::Endpoints => endpoints(tables),
        Table::ServiceCells => tables.service_cells.len() as usize,
        Table::AddressCells => tables.addresses.cells().len() as usize,
        Table::DenyCells => tables.deny.cells().len() as usize,
        Table::PolicyCells => tables.policy.len() as usize,
        // Direct tables have no use, only values.
        Table::AddressRoots | Table::DenyRoots | Table::PortClasses => 0,
    };
    let mut all: Vec<_> = [
        Table::Services,
        Table::ServiceCells,
        Table::Backends,
        Table::Endpoints,
        Table::AddressCells,
        Table::DenyCells,
        Table::PolicyCells,
    ]
    .into_iter()
    .map(|table| table_use(table, used(table) as u64, &tables.limits))
    .collect();
    let limits = tables.limits;
    let bucket = size_of::<terrace_abi::types::flow_bucket>() as u64;
    all.push(api::TableUse {
        table: "flows".into(),
        used: census.live,
        capacity: u64::from(limits.flows),
        bytes: u64::from(limits.flow_buckets()) * bucket,
    });
    all
}

fn table_use(table: Table, used: u64, limits: &Limits) -> api::TableUse {
    let entries = u64::from(table.entries(limits));
    let cells = match table {
        Table::Services | Table::Backends | Table::Endpoints => 1,
        _ => u64::from(terrace_abi::consts::CELLS_PER_BUCKET),
    };
    api::TableUse {
        table: table.map_name().to_owned(),
        used,
        capacity: entries * cells,
        bytes: entries * table.value_size() as u64,
    }
}

fn endpoints(tables: &Tables) -> usize {
    let addresses = tables.directory.addresses.values();
    let distinct: std::collections::BTreeSet<_> = addresses.map(|a| a.endpoint).collect();
    distinct.len()
}

pub fn hook_name(hook: u32) -> &'static str {
    match hook {
        HOOK_XDP => "xdp",
        HOOK_TC_INGRESS => "tc-ingress",
        HOOK_SOCKET => "socket",
        _ => "tc-egress",
    }
}

/// Slots of `ifaces` with the names of their interfaces; slot 0 is for
/// interfaces that are not in the configuration.
pub fn iface_names(shared: &Shared) -> Result<BTreeMap<u32, String>> {
    let view = shared.view();
    let mut names = BTreeMap::from([(0, "other".to_owned())]);
    for (slot, iface) in shared.maps.ifaces()? {
        names.insert(slot, names::iface(&view, iface.ifindex));
    }
    Ok(names)
}

/// Of the programs and of the NICs: every packet that came is under one of them.
pub fn reasons(shared: &Shared) -> Result<Vec<api::ReasonCount>> {
    let names = iface_names(shared)?;
    let counts = shared.maps.reasons()?.into_iter();
    let of_programs = counts.map(|count| {
        let iface = names.get(&count.slot).cloned().unwrap_or_default();
        let what = (count.packets, count.bytes);
        counted(iface, hook_name(count.hook), count.reason, what)
    });
    let view = shared.view();
    let nics = view
        .nics
        .iter()
        .filter(|nic| nic.packets > 0 && nic.part != "flows");
    let of_nics = nics.map(|nic| {
        let what = (nic.packets, nic.bytes);
        counted(nic.iface.clone(), "nic", Part::reason(&nic.part), what)
    });
    Ok(of_nics.chain(of_programs).collect())
}

fn counted(
    iface: String,
    hook: &str,
    reason: Reason,
    (packets, bytes): (u64, u64),
) -> api::ReasonCount {
    api::ReasonCount {
        iface,
        hook: hook.to_owned(),
        number: reason.number(),
        reason: reason.name().to_owned(),
        class: reason.class().name().to_owned(),
        text: reason.text().to_owned(),
        packets,
        bytes,
    }
}
