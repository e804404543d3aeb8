//! Which backends are checked, and how. Pure.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use terrace_mesh::Protocol;
use terrace_mesh::directory::{BackendState, Directory, Pool};

use crate::config::{HealthCheck, HealthDefaults};
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
