//! Flows by the two ends of a segment, from either side.

use std::collections::HashMap;
use std::fmt;

use rustc_hash::FxSeededState;

use super::{Backend, FlowId};
use crate::tcp::Endpoint;

/// Sources that are tried for one connection; a look-up each.
const TRIES: usize = 4_096;

pub struct Index {
    /// Each flow has two entries at most; the room is taken at the start.
    entries: HashMap<(Endpoint, Endpoint), FlowId, FxSeededState>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index of {} entries", self.entries.len())
    }
}

impl Index {
    pub fn new(n_flows: usize, secret: &[u8; 16]) -> Self {
        let seed = secret.iter().fold(0, |seed: usize, byte| {
            seed.rotate_left(8) ^ usize::from(*byte)
        });
        let hasher = FxSeededState::with_seed(seed);
        Self {
            entries: HashMap::with_capacity_and_hasher(2 * n_flows, hasher),
        }
    }

    pub fn find(&self, src: Endpoint, dst: Endpoint) -> Option<FlowId> {
        self.entries.get(&(src, dst)).copied()
    }

    /// The first that nobody has of the offered sources to a server, after the
    /// one in `backend`; none after a bounded number.
    pub fn free_source(
        &self,
        backend: &Backend,
        mut next: impl FnMut(Endpoint) -> Option<Endpoint>,
    ) -> Option<Endpoint> {
        let mut source = backend.source;
        for _ in 0..TRIES {
            if self.find(backend.server, source).is_none() {
                return Some(source);
            }
            source = next(source)?;
        }
        None
    }

    pub fn insert(&mut self, src: Endpoint, dst: Endpoint, id: FlowId) {
        self.entries.insert((src, dst), id);
    }

    /// Takes an entry out if it leads to `id`.
    pub fn remove(&mut self, src: Endpoint, dst: Endpoint, id: FlowId) {
        if self.find(src, dst) == Some(id) {
            self.entries.remove(&(src, dst));
        }
    }
}
