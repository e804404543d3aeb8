//! Records of services and backends, and their directory entries.

use std::net::IpAddr;

use terrace_abi::consts::{
    BACKEND_DRAINING, BACKEND_LOCAL, BACKEND_READY, FAIL_CLOSED, FAIL_LAST, FAIL_OPEN,
    SERVICE_AFFINITY, SERVICE_DSR, SERVICE_L7, SERVICE_NODE_PORT, SERVICE_REJECT,
    SERVICE_TERMINATE,
};
use terrace_abi::hash::{CellKey, address_bytes, address_words, service_key_word};
use terrace_abi::types;

use super::super::Host;
use super::super::model::{Front, FrontKey};
use super::super::pools::{BackendSpec, PoolKey};
use super::{Pool, Wanted};
use crate::directory::{self, BackendState};
use crate::maglev;
use crate::objects::{FailMode, Forwarding, FrontendKind, NoBackend, Service};
use crate::tables::Tables;

pub fn cell_key(key: &FrontKey) -> CellKey {
    let words = address_words(&address_bytes(key.address));
    let last = service_key_word(key.port, key.protocol.number());
    [words[0], words[1], words[2], words[3], last]
}

/// The same on every host that has the backend.
pub fn seed((address, port): (IpAddr, u16)) -> u64 {
    let bytes = u128::from_be_bytes(address_bytes(address));
    let high = u64::try_from(bytes >> 64).expect("64 bits");
    let low = u64::try_from(bytes & u128::from(u64::MAX)).expect("64 bits");
    maglev::mix(maglev::mix(high) ^ low).wrapping_add(maglev::mix(u64::from(port)))
}

fn fail_mode(service: &Service, host: &Host<'_>) -> FailMode {
    service.fail_mode.unwrap_or(host.facts.fail_mode)
}

fn fail_number(service: &Service, host: &Host<'_>) -> u32 {
    match fail_mode(service, host) {
        FailMode::Last => FAIL_LAST,
        FailMode::Open => FAIL_OPEN,
        FailMode::Closed => FAIL_CLOSED,
    }
}

fn no_backend(service: &Service, host: &Host<'_>) -> NoBackend {
    service.no_backend.unwrap_or(host.facts.no_backend)
}

/// True when the frontend has routes now and had none.
pub fn write_front(
    index: u32,
    front: &Front,
    pool: &Pool,
    wanted: &Wanted,
    host: &Host<'_>,
    tables: &mut Tables,
) -> bool {
    let (service, mut flags) = (&*wanted.service, 0);
    if wanted.routed[front.port] {
        flags |= SERVICE_L7;
    }
    if service.forwarding == Forwarding::Dsr {
        flags |= SERVICE_DSR;
    }
    if no_backend(service, host) == NoBackend::Reject {
        flags |= SERVICE_REJECT;
    }
    if service.affinity_secs > 0 {
        flags |= SERVICE_AFFINITY;
    }
    if front.kind == FrontendKind::NodePort {
        flags |= SERVICE_NODE_PORT;
    }
    if service.terminate {
        flags |= SERVICE_TERMINATE;
    }
    let record = types::service {
        n_backends: u32::try_from(pool.members.len()).expect("backends are counted in u32"),
        maglev: pool.index,
        maglev_size: if pool.members.is_empty() {
            0
        } else {
            pool.size
        },
        affinity_secs: service.affinity_secs,
        flags: u16::try_from(flags).expect("service flags are 16 bits"),
        fail_mode: u8::try_from(fail_number(service, host)).expect("fail modes are 8 bits"),
        proto: front.key.protocol.number(),
        port: front.key.port.to_be(),
        group: pool.index,
        ..Default::default()
    };
    let before = tables.service(index);
    tables.services.write(index, &record);
    let entry = directory::Frontend {
        service: service.name.clone(),
        address: front.key.address,
        port: front.key.port,
        protocol: front.key.protocol,
        kind: front.kind,
        pool: pool.index,
    };
    tables.directory.frontends.insert(index, entry);
    wanted.routed[front.port] && u32::from(before.flags) & SERVICE_L7 == 0
}

pub fn write_backend(
    index: u32,
    place: (IpAddr, u16),
    spec: &BackendSpec,
    pool: u32,
    key: &PoolKey,
    tables: &mut Tables,
) {
    let mut flags = match spec.state {
        BackendState::Ready => BACKEND_READY,
        BackendState::Draining => BACKEND_DRAINING,
        BackendState::Unready | BackendState::Unhealthy => 0,
    };
    if spec.local {
        flags |= BACKEND_LOCAL;
    }
    let record = types::backend {
        addr: address_words(&address_bytes(place.0)),
        port: place.1.to_be(),
        proto: key.protocol.number(),
        flags: u8::try_from(flags).expect("backend flags are 8 bits"),
        group: pool,
        ..Default::default()
    };
    tables.backends.write(index, &record);
    let entry = directory::Backend {
        address: place.0,
        port: place.1,
        protocol: key.protocol,
        pool,
        weight: spec.weight,
        state: spec.state,
        local: spec.local,
        pod: spec.pod.clone(),
    };
    tables.directory.backends.insert(index, entry);
}

pub fn describe_pool(
    pool: &Pool,
    key: &PoolKey,
    wanted: &Wanted,
    host: &Host<'_>,
    tables: &mut Tables,
) {
    let service = &wanted.service;
    let port = service
        .ports
        .iter()
        .find(|port| port.name == key.port_name && port.protocol == key.protocol);
    let mut source = directory::Source::from(&service.origin);
    source.line = port.map_or(source.line, |port| port.line);
    let entry = directory::Pool {
        service: service.name.clone(),
        port_name: key.port_name.clone(),
        protocol: key.protocol,
        is_v6: key.is_v6,
        local_only: key.local_only,
        forwarding: service.forwarding,
        fail_mode: fail_mode(service, host),
        no_backend: no_backend(service, host),
        affinity_secs: service.affinity_secs,
        maglev_size: pool.size,
        health_check: service.health_check.clone(),
        backends: pool.backends.values().copied().collect(),
        source,
    };
    tables.directory.pools.insert(pool.index, entry);
}
