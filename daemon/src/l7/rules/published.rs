//! The rules in use: the main loop publishes, each worker reads. A worker
//! looks at one number a batch and takes the lock only when it has changed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Rules;

#[derive(Debug, Default)]
pub struct Published {
    rules: Mutex<Arc<Rules>>,
    version: AtomicU64,
    generation: AtomicU32,
}

impl Published {
    /// The generation of the next rules; `before` is what the programs go by
    /// when this process has not said anything yet.
    pub fn next_generation(&self, before: impl FnOnce() -> u32) -> u32 {
        let last = match self.generation.load(Ordering::Relaxed) {
            0 => before(),
            last => last,
        };
        let next = last.wrapping_add(1).max(1);
        self.generation.store(next, Ordering::Relaxed);
        next
    }

    pub fn publish(&self, rules: Arc<Rules>) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
        self.version.fetch_add(1, Ordering::Release);
    }

    pub fn get(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A worker's view.
#[derive(Debug)]
pub struct Reader {
    published: Arc<Published>,
    rules: Arc<Rules>,
    version: u64,
}

impl Reader {
    pub fn new(published: Arc<Published>) -> Self {
        let version = published.version.load(Ordering::Acquire);
        Self {
            rules: published.get(),
            published,
            version,
        }
    }

    /// Once a batch of packets.
    pub fn refresh(&mut self) {
        let version = self.published.version.load(Ordering::Acquire);
        if version != self.version {
            (self.rules, self.version) = (self.published.get(), version);
        }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}
