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
    pub packets: u64,
    /// As its packets leave.
    pub leaves: [SocketAddr; 2],
    pub key: types::flow_key,
}

/// Established flows whose packets a NIC can serve as the programs would.
pub fn candidates(host: Host<'_>) -> Result<BTreeMap<Id, Seen>, terrace_abi::Error> {
    let policy_rev = host.maps.config()?.policy_rev;
    let mut found = BTreeMap::new();
    for entry in host.maps.flows() {
        let entry = entry?;
        if !may_leave(&entry, policy_rev) {
            continue;
        }
        let flow = &entry.flow;
        let id = Id {
            protocol: flow.key.proto,
            ends: [
                names::socket(&flow.key.saddr, flow.key.sport),
                names::socket(&flow.key.daddr, flow.key.dport),
            ],
            created: flow.created,
        };
        let seen = Seen {
            packets: flow.packets,
            leaves: [
                names::socket(&flow.new_saddr, flow.new_sport),
                names::socket(&flow.new_daddr, flow.new_dport),
            ],
            key: flow.key,
        };
        found.insert(id, seen);
    }
    Ok(found)
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

/// Packets a second of all flows that were there before.
pub fn rates(
    before: &BTreeMap<Id, Seen>,
    now: &BTreeMap<Id, Seen>,
    seconds: f64,
) -> BTreeMap<Id, u64> {
    let rate = |id: &Id, seen: &Seen| {
        let more = seen.packets.saturating_sub(before.get(id)?.packets);
        (seconds > 0.0).then(|| (*id, (more as f64 / seconds) as u64))
    };
    now.iter().filter_map(|(id, seen)| rate(id, seen)).collect()
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
