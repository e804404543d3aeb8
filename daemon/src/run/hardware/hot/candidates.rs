//! Flows that a NIC may have, and how busy each is.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use terrace_abi::consts::{
    FLOW_DSR, FLOW_ESTABLISHED, FLOW_FAIL_CLOSED, FLOW_FAIL_OPEN, FLOW_L7, FLOW_LOCAL, FLOW_NAT,
    FLOW_POLICY, FLOW_UDP_STREAM,
};
use terrace_abi::{FlowEntry, types};

use super::Host;
use crate::control::names;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// One direction of one connection: another one with the same ends is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub protocol: u8,
    pub ends: [SocketAddr; 2],
    pub created: u32,
}

/// A flow that a NIC may have, as the table has it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// As its packets leave.
    pub leaves: [SocketAddr; 2],
    pub key: types::flow_key,
}

/// Packets of each slot's flow at the last look, and when that flow was made: all that is
/// kept of flows that are not worth a rule, of which there may be a million.
#[derive(Debug, Default)]
pub struct Last(Vec<Option<(u32, u64)>>);

impl Last {
    /// Packets that a slot's flow has had since the last look; `None` = it was not there.
    fn more(&mut self, slot: u32, created: u32, packets: u64) -> Option<u64> {
        let at = slot as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        let before = self.0[at].replace((created, packets));
        let (of, before) = before?;
        (of == created).then(|| packets.saturating_sub(before))
    }

    fn forget(&mut self, slot: u32) {
        if let Some(place) = self.0.get_mut(slot as usize) {
            *place = None;
        }
    }
}

/// Flows that are worth a look, and packets a second of those that were there before.
#[derive(Debug, Default)]
pub struct Candidates {
    pub seen: BTreeMap<Id, Seen>,
    pub rates: BTreeMap<Id, u64>,
}

/// Established flows whose packets a NIC can serve as the programs would; `keeps` says by
/// their rate which of them.
pub fn candidates(
    host: Host<'_>,
    last: &mut Last,
    seconds: f64,
    keeps: impl Fn(&Id, &Seen, u64) -> bool,
) -> Result<Candidates, terrace_abi::Error> {
    let policy_rev = host.maps.config()?.policy_rev;
    let mut found = Candidates::default();
    for entry in host.maps.flows() {
        let entry = entry?;
        if !may_leave(&entry, policy_rev) {
            last.forget(entry.slot);
            continue;
        }
        let flow = &entry.flow;
        let more = last.more(entry.slot, flow.created, flow.packets);
        let rate = more.filter(|_| seconds > 0.0);
        let rate = rate.map(|more| (more as f64 / seconds) as u64);
        let (id, seen) = of(flow);
        if !keeps(&id, &seen, rate.unwrap_or(0)) {
            continue;
        }
        found.seen.insert(id, seen);
        found.rates.extend(rate.map(|rate| (id, rate)));
    }
    Ok(found)
}

fn of(flow: &types::flow) -> (Id, Seen) {
    let id = Id {
        protocol: flow.key.proto,
        ends: [
            names::socket(&flow.key.saddr, flow.key.sport),
            names::socket(&flow.key.daddr, flow.key.dport),
        ],
        created: flow.created,
    };
    let seen = Seen {
        leaves: [
            names::socket(&flow.new_saddr, flow.new_sport),
            names::socket(&flow.new_daddr, flow.new_dport),
        ],
        key: flow.key,
    };
    (id, seen)
}

/// Not those of workers, which read them; not those that are wrapped; not those to
/// local workloads, which no switch reaches; not those that a silent daemon would open or
/// close; and none that policy has to judge anew.
fn may_leave(entry: &FlowEntry, policy_rev: u32) -> bool {
    let flags = u32::from(entry.flags);
    let stays = FLOW_L7 | FLOW_DSR | FLOW_LOCAL | FLOW_FAIL_OPEN | FLOW_FAIL_CLOSED;
    let state = u32::from(entry.state);
    let lives = match entry.flow.key.proto {
        TCP => state == FLOW_ESTABLISHED,
        UDP => state == FLOW_UDP_STREAM,
        _ => false,
    };
    let judged = flags & FLOW_POLICY == 0 || entry.flow.policy_rev == policy_rev;
    lives && judged && flags & stays == 0 && flags & FLOW_NAT != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(protocol: u8, state: u32, flags: u32, policy_rev: u32) -> FlowEntry {
        let mut flow = types::flow::default();
        flow.key.proto = protocol;
        flow.policy_rev = policy_rev;
        FlowEntry {
            slot: 0,
            kind: 1,
            state: u8::try_from(state).expect("a state"),
            flags: u16::try_from(flags).expect("flags"),
            last_seen: 0,
            flow,
        }
    }

    #[test]
    fn a_rate_is_of_one_flow_that_was_there_at_the_last_look() {
        let mut last = Last::default();
        let rows = [
            ("the first look", 9, 1, 100, None),
            ("it has gone on", 9, 1, 150, Some(50)),
            ("it rests", 9, 1, 150, Some(0)),
            ("its counter went back", 9, 1, 20, Some(0)),
            ("another flow in its slot", 9, 2, 400, None),
            ("that one goes on", 9, 2, 401, Some(1)),
            ("another slot", 3, 2, 7, None),
        ];
        for (name, slot, created, packets, more) in rows {
            assert_eq!(last.more(slot, created, packets), more, "{name}");
        }
        last.forget(9);
        last.forget(1_000);
        assert_eq!(last.more(9, 2, 500), None, "it was away for a look");
    }

    #[test]
    fn only_flows_that_a_nic_serves_as_the_programs_would_may_go_there() {
        let tcp = |flags, policy_rev| entry(TCP, FLOW_ESTABLISHED, flags, policy_rev);
        let nat = FLOW_NAT;
        let rows = [
            ("a forwarded one", tcp(nat, 4), true),
            ("half open", entry(TCP, 0, nat, 4), false),
            ("closing", entry(TCP, 2, nat, 4), false),
            ("UDP both ways", entry(UDP, FLOW_UDP_STREAM, nat, 4), true),
            ("UDP one way", entry(UDP, 4, nat, 4), false),
            ("no address changes", tcp(0, 4), false),
            ("a worker's", tcp(nat | FLOW_L7, 4), false),
            ("direct return", tcp(nat | FLOW_DSR, 4), false),
            ("local", tcp(nat | FLOW_LOCAL, 4), false),
            ("fail open", tcp(nat | FLOW_FAIL_OPEN, 4), false),
            ("judged", tcp(nat | FLOW_POLICY, 4), true),
            ("to be judged", tcp(nat | FLOW_POLICY, 2), false),
        ];
        for (name, entry, expected) in rows {
            assert_eq!(may_leave(&entry, 4), expected, "{name}");
        }
    }
}
