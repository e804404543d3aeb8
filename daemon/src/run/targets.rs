//! Which backends are checked, and how. Pure.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use terrace_abi::Plain as _;
use terrace_abi::consts::{BACKEND_DRAINING, BACKEND_READY};
use terrace_abi::types::backend;
use terrace_mesh::directory::{BackendState, Directory, Pool};
use terrace_mesh::{Protocol, Tables};

use crate::config::{HealthCheck, HealthDefaults};
use crate::control::names;
use crate::health::{Probe, Target};

/// One for each address and port, whatever services share it. Backends that the
/// manifests call unready need no check to stay without traffic.
pub fn health_targets(directory: &Directory, defaults: &HealthDefaults) -> BTreeSet<Target> {
    let backends = directory.backends.values();
    backends
        .filter(|backend| backend.protocol == Protocol::Tcp)
        .filter(|backend| matches!(backend.state, BackendState::Ready | BackendState::Unhealthy))
        .filter_map(|backend| {
            let pool = directory.pools.get(&backend.pool)?;
            let address = SocketAddr::new(backend.address, backend.port);
            target(pool, address, defaults)
        })
        .collect()
}

/// Backends that tables keep without new connections. Some because their check
/// failed: the first targets tell which.
pub fn withheld(tables: &Tables) -> BTreeSet<SocketAddr> {
    let records = tables.backends.bytes().chunks_exact(size_of::<backend>());
    let takes_some = |record: &backend| {
        u32::from(record.flags) & (BACKEND_READY | BACKEND_DRAINING) != 0 || record.addr == [0; 4]
    };
    records
        .filter_map(backend::from_bytes)
        .filter(|record| !takes_some(record) && record.proto == Protocol::Tcp.number())
        .map(|record| SocketAddr::new(names::address(&record.addr), u16::from_be(record.port)))
        .collect()
}

fn target(pool: &Pool, address: SocketAddr, defaults: &HealthDefaults) -> Option<Target> {
    let (probe, interval) = match (&pool.health_check, defaults.check) {
        (Some(check), _) => {
            let path = check.http_path.clone();
            let probe = path.map_or(Probe::Tcp, |path| Probe::Http { path });
            (probe, Duration::from_millis(check.interval_ms))
        }
        (None, HealthCheck::Off) => return None,
        (None, HealthCheck::Tcp) => (Probe::Tcp, defaults.interval),
        (None, HealthCheck::Http) => {
            let path = defaults.http_path.clone();
            (Probe::Http { path }, defaults.interval)
        }
    };
    Some(Target {
        address,
        probe,
        interval,
        timeout: defaults.timeout.min(interval),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use terrace_abi::Limits;

    #[test]
    fn what_takes_no_new_connections_is_withheld() {
        let tcp = Protocol::Tcp.number();
        let rows = [
            ("no backend", 0, tcp, 0, false),
            ("ready", 1, tcp, BACKEND_READY, false),
            ("draining", 1, tcp, BACKEND_DRAINING, false),
            ("neither", 1, tcp, 0, true),
            ("no check of UDP", 1, Protocol::Udp.number(), 0, false),
        ];
        for (name, address, proto, flags, expected) in rows {
            let mut tables = Tables::new(&Limits::small());
            let record = backend {
                addr: [0, 0, 0, address],
                port: 80u16.to_be(),
                proto,
                flags: flags as u8,
                ..backend::default()
            };
            let record = match address {
                0 => backend::default(),
                _ => record,
            };
            tables.backends.write(7, &record);
            let ports: Vec<u16> = withheld(&tables).iter().map(SocketAddr::port).collect();
            assert_eq!(ports == [80], expected, "{name}");
        }
    }
}
