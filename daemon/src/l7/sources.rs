//! Source addresses and ports of connections from remote clients to remote
//! backends: the answers must come back to this host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use terrace_l7::tcp::Endpoint;

/// The host's own addresses; all zero = none of that family.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sources {
    pub v4: [u8; 16],
    pub v6: [u8; 16],
}

impl Sources {
    pub fn towards(&self, server: &Endpoint) -> Option<[u8; 16]> {
        let ip = match server.is_v4() {
            true => self.v4,
            false => self.v6,
        };
        (ip != [0; 16]).then_some(ip)
    }
}

/// Ports of one worker, in turn: those of the range whose remainder by the
/// number of workers is its own, so that no two workers take the same. A port
/// that a connection to the same server still has is passed over; the programs
/// refuse one that an earlier worker's still has.
#[derive(Debug, Clone)]
pub struct Ports {
    first: u16,
    step: u16,
    n: u16,
    at: Arc<AtomicU32>,
}

impl Ports {
    /// The ports `min..=max` for worker `queue` of `n_workers`.
    pub fn share(min: u16, max: u16, queue: u32, n_workers: u32) -> Self {
        let step = n_workers.clamp(1, 64) as u16;
        let all = u32::from(max.saturating_sub(min)) + 1;
        let n = (all / u32::from(step)).clamp(1, u32::from(u16::MAX)) as u16;
        Self {
            first: min + queue as u16 % step,
            step,
            n,
            at: Arc::default(),
        }
    }

    pub fn next(&self) -> u16 {
        let at = self.at.fetch_add(1, Ordering::Relaxed) % u32::from(self.n);
        self.first + at as u16 * self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_workers_share_a_port_and_all_are_in_the_range() {
        for n_workers in [1, 2, 3, 8] {
            let mut seen = std::collections::BTreeMap::new();
            for queue in 0..n_workers {
                let ports = Ports::share(30_000, 30_099, queue, n_workers);
                for _ in 0..300 {
                    let port = ports.next();
                    assert!((30_000..=30_099).contains(&port), "{n_workers}: {port}");
                    let owner = *seen.entry(port).or_insert(queue);
                    assert_eq!(owner, queue, "{n_workers}: {port}");
                }
            }
        }
    }
}
