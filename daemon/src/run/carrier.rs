//! Attaching a program resets the link of many NICs for a moment. Who waits for
//! the daemon sends as soon as it is ready, so it says so when links are back.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::events::{Events, Kind};
use super::interfaces::Interfaces;
use crate::api::Role;
use crate::netlink::{Netlink, Network};

/// Of mlx5, the slowest known, up to 10 s.
const LIMIT: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(100);

/// Waits until uplinks have the carrier that they had before; what takes longer
/// is told and not waited for.
pub async fn await_back(
    netlink: &Netlink,
    before: &Network,
    interfaces: &Interfaces,
    events: &Events,
) {
    let names = interfaces.names().into_iter();
    let uplinks: Vec<String> = names
        .filter_map(|(name, role)| (role == Role::Uplink).then_some(name))
        .collect();
    let end = Instant::now() + LIMIT;
    while let Ok(now) = netlink.network().await {
        let missing = missing(before, &now, &uplinks);
        if missing.is_empty() {
            return;
        }
        if Instant::now() >= end {
            for iface in missing {
                let waited = LIMIT.as_secs();
                let what = format!("{iface}: no carrier for {waited} s since its program came");
                events.tell(Kind::InterfaceFailed, what);
            }
            return;
        }
        sleep(LOOK).await;
    }
}

/// Those of the interfaces that had a carrier, are there, and have none.
fn missing<'i>(before: &Network, now: &Network, ifaces: &'i [String]) -> Vec<&'i str> {
    let lost = |name: &&str| {
        let had = before.links.values().find(|link| link.name == *name);
        had.is_some_and(|link| link.up && now.links.get(&link.ifindex).is_some_and(|now| !now.up))
    };
    ifaces.iter().map(String::as_str).filter(lost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Change, Link};

    fn network(links: &[(u32, bool)]) -> Network {
        let mut network = Network::default();
        for (ifindex, up) in links {
            network.apply(Change::Link(Link {
                ifindex: *ifindex,
                name: format!("up{ifindex}"),
                up: *up,
                ..Link::default()
            }));
        }
        network
    }

    #[test]
    fn a_link_is_waited_for_when_it_was_up_and_is_there() {
        let uplinks = ["up1".to_owned()];
        let rows = [
            ("as it was", &[(1, true)][..], &[(1, true)][..], false),
            ("down since", &[(1, true)], &[(1, false)], true),
            ("down before", &[(1, false)], &[(1, false)], false),
            ("gone since", &[(1, true)], &[], false),
            ("another one's", &[(2, true)], &[(2, false)], false),
        ];
        for (name, before, now, waits) in rows {
            let found = missing(&network(before), &network(now), &uplinks);
            assert_eq!(!found.is_empty(), waits, "{name}");
        }
    }
}
