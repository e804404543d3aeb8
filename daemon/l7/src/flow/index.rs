//! Flows by the two ends of a segment, from either side.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

use super::{Backend, FlowId};
use crate::tcp::Endpoint;

/// Sources that are tried for one connection; a look-up each.
const TRIES: usize = 4_096;

pub struct Index {
    /// Each flow has two entries at most; the room is taken at the start.
    entries: HashMap<(Endpoint, Endpoint), FlowId, Keyed>,
}

/// Clients choose what is hashed: without the key nobody finds ends that meet.
struct Keyed([u8; 16]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index of {} entries", self.entries.len())
    }
}

impl Index {
    pub fn new(n_flows: usize, secret: &[u8; 16]) -> Self {
        Self {
            entries: HashMap::with_capacity_and_hasher(2 * n_flows, Keyed(*secret)),
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
