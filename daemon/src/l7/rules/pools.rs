//! Pools: the servers of a Service port, and which of them a client gets.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};
use terrace_l7::tcp::Endpoint;
use terrace_mesh::directory::{BackendState, Directory};
use terrace_mesh::maglev::Ring;

use super::{Asked, Owners};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    pub endpoint: Endpoint,
    /// Index in `backends`; 0 = the client went to the server itself.
    pub backend: u32,
    /// Whose the index is now.
    pub owner: u32,
    /// A workload of this host, or the host itself.
    pub local: bool,
    /// It takes new connections.
    ready: bool,
    /// It goes on with the connections that it has.
    serves: bool,
}

#[derive(Debug)]
pub struct Pool {
    ring: Option<Arc<Ring>>,
    /// By client address alone.
    affinity: bool,
    servers: FxHashMap<u32, Server>,
    by_endpoint: FxHashMap<Endpoint, u32>,
}

impl Server {
    /// The server that a client went to itself.
    pub fn direct(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            backend: 0,
            owner: 0,
            local: true,
            ready: true,
            serves: true,
        }
    }
}

impl Pool {
    pub fn of(
        directory: &Directory,
        pool: &terrace_mesh::directory::Pool,
        ring: Option<Arc<Ring>>,
        owners: &Owners,
    ) -> Self {
        let server = |index: &u32| {
            let backend = directory.backends.get(index)?;
            let endpoint = std::net::SocketAddr::new(backend.address, backend.port).into();
            let server = Server {
                endpoint,
                backend: *index,
                owner: owners.backend(*index),
                local: backend.local,
                ready: backend.state == BackendState::Ready,
                serves: matches!(backend.state, BackendState::Ready | BackendState::Draining),
            };
            Some((*index, server))
        };
        let servers: FxHashMap<u32, Server> = pool.backends.iter().filter_map(server).collect();
        Self {
            ring,
            affinity: pool.affinity_secs > 0,
            by_endpoint: servers.values().map(|s| (s.endpoint, s.backend)).collect(),
            servers,
        }
    }

    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.values()
    }

    /// The server that the flow has, else the ring's. `None` = no ready one.
    pub fn choose(&self, asked: &Asked) -> Option<Server> {
        let bound = asked.bound.and_then(|bound| self.by_endpoint.get(&bound));
        let bound = bound.and_then(|index| self.servers.get(index));
        if let Some(server) = bound.filter(|server| server.serves) {
            return Some(*server);
        }
        let ring = self.ring.as_ref()?;
        let mut hasher = FxHasher::default();
        asked.client.ip.hash(&mut hasher);
        if !self.affinity {
            asked.client.port.hash(&mut hasher);
        }
        let slot = (hasher.finish() >> 32) % u64::from(ring.size().max(1));
        let server = self.servers.get(&ring.get(slot as u32)?)?;
        server.ready.then_some(*server)
    }
}
