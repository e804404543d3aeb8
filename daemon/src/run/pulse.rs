//! What happens by the clock: the heartbeat and the sweep of the flow table.

use std::sync::Arc;
use std::time::Duration;

use terrace_abi::consts::FLOW_STATES;
use tokio::time::{MissedTickBehavior, interval};

use super::events::Kind;
use super::shared::Shared;

/// Beats within `services.heartbeat_timeout`, after which the programs give up
/// on the daemon; a busy host delays some.
const BEATS: u32 = 4;
const BEAT: Duration = Duration::from_secs(1);
const SLICE: Duration = Duration::from_millis(100);
/// The clock hand goes round in this time.
const ROUND: Duration = Duration::from_secs(10);
/// Buckets that one system call looks at: well below a millisecond of work.
const MAX_BUCKETS: u32 = 2048;

/// What one round of the sweep has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    pub live: u64,
    pub by_state: [u64; FLOW_STATES as usize],
    /// Flows that timed out, since the start.
    pub expired: u64,
    /// Whole rounds, since the start.
    pub rounds: u64,
}

/// Beats for as long as the main loop makes progress.
pub async fn beat(shared: Arc<Shared>) {
    let timeout = shared.config.services.heartbeat_timeout;
    let mut ticks = interval((timeout / BEATS).min(BEAT));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if !shared.alive() {
            continue;
        }
        match shared.maps.beat() {
            Ok(_) => shared.note_beat(),
            Err(error) => shared
                .events
                .tell(Kind::KernelRefused, format!("heartbeat: {error}")),
        }
    }
}

/// Frees what has timed out, slice by slice.
pub async fn sweep(shared: Arc<Shared>) {
    let buckets = shared.maps.limits().flow_buckets();
    let per_tick = per_tick(buckets);
    let mut ticks = interval(SLICE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cursor = 0;
    let mut round = Census::default();
    loop {
        ticks.tick().await;
        let mut left = per_tick;
        while left > 0 {
            let n = left.min(MAX_BUCKETS).min(buckets - cursor);
            match shared.maps.sweep(cursor, n) {
                Ok(swept) => round.add(&swept),
                Err(error) => {
                    let what = format!("sweep of the connection table: {error}");
                    shared.events.tell(Kind::KernelRefused, what);
                    break;
                }
            }
            cursor += n;
            left = left.saturating_sub(n);
            if cursor >= buckets {
                cursor = 0;
                round.rounds += 1;
                shared.note_census(round);
                round = round.next();
            }
            tokio::task::yield_now().await;
        }
    }
}

fn per_tick(buckets: u32) -> u32 {
    let ticks = (ROUND.as_millis() / SLICE.as_millis()) as u32;
    buckets.div_ceil(ticks)
}

impl Census {
    fn add(&mut self, swept: &terrace_abi::types::sweep) {
        self.live += u64::from(swept.live);
        self.expired += u64::from(swept.expired);
        for (sum, n) in self.by_state.iter_mut().zip(swept.by_state) {
            *sum += u64::from(n);
        }
    }

    /// Totals go on, the count of what lives starts again.
    fn next(self) -> Self {
        Self {
            expired: self.expired,
            rounds: self.rounds,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_visits_every_bucket_within_its_time() {
        for buckets in [2, 100, 1024, 65_536, 4_194_304] {
            assert!(per_tick(buckets) * 100 >= buckets, "{buckets}");
            assert!((per_tick(buckets) - 1) * 100 < buckets, "{buckets}");
        }
    }

    #[test]
    fn a_new_round_counts_the_living_again_and_keeps_the_totals() {
        let mut census = Census {
            rounds: 3,
            ..Census::default()
        };
        let mut swept = terrace_abi::types::sweep {
            live: 5,
            expired: 2,
            ..Default::default()
        };
        swept.by_state[1] = 5;
        census.add(&swept);
        census.add(&swept);
        assert_eq!(
            (census.live, census.by_state[1], census.expired),
            (10, 10, 4)
        );
        let next = census.next();
        assert_eq!((next.live, next.expired, next.rounds), (0, 4, 3));
    }
}
