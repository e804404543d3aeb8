//! Keeps the neighbours alive that Terrace sends to past the stack.
//!
//! `bpf_fib_lookup` and the next hop cache use the kernel's neighbour entries
//! but do not confirm them as the stack does when it sends; without traffic of
//! the stack they would go stale and be collected.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::events::Kind;
use super::shared::Shared;
use crate::netlink::{Netlink, NextHop};

/// Well below the kernel's `gc_stale_time` of 60 s.
const ROUND: Duration = Duration::from_secs(10);
/// Routes are asked again in this time even if nobody told of a change.
const ROUTES_EVERY: u32 = 6;
/// A router changes its routes all the time; backends are asked for at most once
/// in so much time.
const PAUSE: Duration = Duration::from_millis(200);
/// Requests under way at one time.
const PARALLEL: usize = 64;

/// Whom Terrace sends to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destinations {
    /// Reached by a route.
    pub remote: BTreeSet<IpAddr>,
    /// On the link of a workload.
    pub local: BTreeSet<NextHop>,
    /// Raised when routes may have changed.
    pub routes_rev: u32,
}

/// Ends when both senders are gone.
pub async fn keep(
    shared: Arc<Shared>,
    netlink: Netlink,
    mut destinations: watch::Receiver<Destinations>,
    mut urgent: mpsc::Receiver<NextHop>,
) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hops = BTreeSet::new();
    let mut n = 0u32;
    let mut ask_at = Some(Instant::now());
    loop {
        tokio::select! {
            hop = urgent.recv() => match hop {
                Some(hop) => resolve(&shared, &netlink, [hop]).await,
                None => return,
            },
            changed = destinations.changed() => match changed {
                Ok(()) => { ask_at.get_or_insert_with(|| Instant::now() + PAUSE); }
                Err(_) => return,
            },
            () = sleep_until(ask_at.unwrap_or_else(Instant::now)), if ask_at.is_some() => {
                ask_at = None;
                hops = next_hops(&shared, &netlink, &destinations).await;
                resolve(&shared, &netlink, hops.iter().copied()).await;
            }
            _ = rounds.tick() => {
                n += 1;
                if n.is_multiple_of(ROUTES_EVERY) {
                    ask_at.get_or_insert_with(Instant::now);
                }
                resolve(&shared, &netlink, hops.iter().copied()).await;
            }
        }
    }
}

async fn next_hops(
    shared: &Shared,
    netlink: &Netlink,
    destinations: &watch::Receiver<Destinations>,
) -> BTreeSet<NextHop> {
    let (remote, mut hops) = {
        let wanted = destinations.borrow();
        (wanted.remote.clone(), wanted.local.clone())
    };
    let mut answers = stream::iter(remote)
        .map(|to| netlink.next_hop(to))
        .buffer_unordered(PARALLEL);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(hop) => hops.extend(hop),
            Err(error) => shared
                .events
                .tell(Kind::KernelRefused, format!("{error:#}")),
        }
    }
    hops
}

/// For one that is confirmed this costs the kernel a timestamp and no packet.
async fn resolve(shared: &Shared, netlink: &Netlink, hops: impl IntoIterator<Item = NextHop>) {
    let mut answers = stream::iter(hops)
        .map(|hop| netlink.resolve(hop))
        .buffer_unordered(PARALLEL);
    while let Some(answer) = answers.next().await {
        // A link that has just gone is no news.
        if let Err(error) = answer {
            tracing::debug!("{error:#}");
            shared.note_unresolved();
        }
    }
}
