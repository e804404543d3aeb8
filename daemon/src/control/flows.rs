//! The connection table, as people read it.

use anyhow::Result;
use terrace_abi::FlowEntry;
use terrace_abi::consts::{FLOW_BY_XDP, FLOW_DSR, FLOW_NAT, FLOW_ORIG, FLOW_SNAT};
use terrace_mesh::directory::Directory;

use super::answers::STATES;
use super::names;
use crate::api::{Flow, FlowQuery, Flows, Tier, Tuple};
use crate::run::shared::Shared;

/// The clock of the table.
#[derive(Debug, Clone, Copy)]
struct Clock {
    now: u32,
    hz: u32,
}

impl Clock {
    /// Milliseconds since `then`. A time that a CPU noted after ours was read
    /// counts as now.
    fn since_ms(self, then: u32) -> u64 {
        let ago = self.now.wrapping_sub(then);
        let ago = if ago > u32::MAX / 2 { 0 } else { ago };
        u64::from(ago) * 1000 / u64::from(self.hz.max(1))
    }
}

pub(super) fn flows(shared: &Shared, query: &FlowQuery) -> Result<Flows> {
    let view = shared.view();
    let clock = Clock {
        now: shared.maps.clock()?,
        hz: shared.maps.config()?.hz,
    };
    let xdp = names::xdp_tier(&view);
    let mesh = shared.mesh();
    let mut error = None;
    let entries = shared
        .maps
        .flows()
        .map_while(|entry| entry.map_err(|e| error = Some(e)).ok());
    let flows = entries.map(|entry| flow(&entry, mesh.directory(), clock, xdp));
    let socket = super::shortcut::flows(shared)?;
    let mut answer = Flows::select(flows.chain(socket), query);
    drop(mesh);
    super::requests::name_requests(shared, &mut answer.flows);
    match error {
        None => Ok(answer),
        Some(error) => Err(error.into()),
    }
}

fn flow(entry: &FlowEntry, directory: &Directory, clock: Clock, xdp: Tier) -> Flow {
    let flags = u32::from(entry.flags);
    let has = |flag: u32| flags & flag != 0;
    let flow = &entry.flow;
    let tuple = Tuple {
        protocol: flow.key.proto,
        source: names::socket(&flow.key.saddr, flow.key.sport),
        destination: names::socket(&flow.key.daddr, flow.key.dport),
    };
    let translated = Tuple {
        protocol: flow.key.proto,
        source: names::socket(&flow.new_saddr, flow.new_sport),
        destination: names::socket(&flow.new_daddr, flow.new_dport),
    };
    let state = STATES.get(usize::from(entry.state)).copied();
    Flow {
        slot: entry.slot,
        peer: flow.peer,
        direction: if u32::from(entry.kind) == FLOW_ORIG {
            "request".into()
        } else {
            "reply".into()
        },
        tuple,
        translated: (has(FLOW_NAT) && translated != tuple).then_some(translated),
        state: state.unwrap_or("other").to_owned(),
        tier: if has(FLOW_BY_XDP) { xdp } else { Tier::Tc },
        service: names::service(directory, flow.service),
        backend: names::backend(directory, flow.backend),
        dsr: has(FLOW_DSR),
        snat: has(FLOW_SNAT),
        packets: flow.packets,
        bytes: flow.bytes,
        age_ms: clock.since_ms(flow.created),
        idle_ms: clock.since_ms(entry.last_seen),
        request: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_survive_the_wrap_of_jiffies_and_a_clock_ahead() {
        let rows = [
            ("a second", 1250, 1000, 1000),
            ("over the wrap", 10, u32::MAX - 239, 1000),
            ("noted after the clock was read", 1000, 1001, 0),
        ];
        for (name, now, then, expected) in rows {
            let clock = Clock { now, hz: 250 };
            assert_eq!(clock.since_ms(then), expected, "{name}");
        }
    }

    #[test]
    fn a_flow_shows_its_way_in_network_order() {
        let mut entry = FlowEntry {
            slot: 9,
            kind: FLOW_ORIG as u8,
            state: 1,
            flags: (FLOW_NAT | FLOW_BY_XDP) as u16,
            last_seen: 100,
            flow: Default::default(),
        };
        let words = |ip: &str| {
            let bytes = terrace_abi::hash::address_bytes(ip.parse().unwrap());
            terrace_abi::hash::address_words(&bytes)
        };
        entry.flow.key.saddr = words("10.0.0.1");
        entry.flow.key.daddr = words("10.96.0.10");
        entry.flow.key.sport = 4000u16.to_be();
        entry.flow.key.dport = 80u16.to_be();
        entry.flow.key.proto = 6;
        entry.flow.new_saddr = entry.flow.key.saddr;
        entry.flow.new_daddr = words("fd00::1");
        entry.flow.new_sport = entry.flow.key.sport;
        entry.flow.new_dport = 8080u16.to_be();
        entry.flow.service = 7;
        let clock = Clock { now: 350, hz: 250 };
        let shown = flow(&entry, &Directory::default(), clock, Tier::XdpNative);
        assert_eq!(shown.tuple.to_string(), "tcp 10.0.0.1:4000 > 10.96.0.10:80");
        let translated = shown.translated.unwrap().to_string();
        assert_eq!(translated, "tcp 10.0.0.1:4000 > [fd00::1]:8080");
        assert_eq!(
            (shown.state.as_str(), shown.tier, shown.idle_ms),
            ("established", Tier::XdpNative, 1000)
        );
        assert_eq!(shown.service, "service 7 (gone)");
        assert_eq!(shown.backend, "");
    }
}
