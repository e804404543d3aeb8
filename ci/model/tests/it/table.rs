//! The connection table at rest: what must hold between its slots.

use std::collections::{BTreeMap, HashMap};

use libbpf_rs::{MapCore as _, MapFlags};
use terrace_abi::consts::*;
use terrace_abi::hash::address_from_bytes;
use terrace_abi::{Maps, Plain as _, types};
use terrace_model::Key;

use crate::image::limits;

/// A slot in use.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    pub number: u32,
    pub key: Key,
    pub flow: types::flow,
}

/// All slots in use, and what is wrong with the table.
#[derive(Debug)]
pub struct Table {
    pub slots: BTreeMap<u32, Slot>,
    pub faults: Vec<String>,
}

impl Table {
    pub fn read(maps: &Maps, seed: u32) -> Self {
        let buckets = buckets(maps);
        let mut table = Self {
            slots: BTreeMap::new(),
            faults: Vec::new(),
        };
        for (bucket, index) in buckets.iter().zip(0u32..) {
            for (flow, i) in bucket.slots.iter().zip(0u32..) {
                table.take(index * FLOW_SLOTS + i, flow);
            }
        }
        table.check_keys();
        table.check_places(&buckets, seed);
        table.check_peers();
        table
    }

    fn take(&mut self, number: u32, flow: &types::flow) {
        if flow.seq % 2 == 1 {
            self.faults.push(format!("slot {number} is still locked"));
        }
        if u32::from(flow.kind) != FLOW_FREE {
            let (key, flow) = (key_of(&flow.key), *flow);
            self.slots.insert(number, Slot { number, key, flow });
        }
    }

    /// The opener's directions.
    pub fn origs(&self) -> impl Iterator<Item = &Slot> {
        self.slots
            .values()
            .filter(|slot| u32::from(slot.flow.kind) == FLOW_ORIG)
    }

    fn check_keys(&mut self) {
        let mut seen = HashMap::new();
        for slot in self.slots.values() {
            if let Some(other) = seen.insert(slot.key, slot.number) {
                let fault = format!("slots {other} and {} have one key", slot.number);
                self.faults.push(fault);
            }
        }
    }

    /// Each key sits in one of its buckets, and `spilled` counts the second.
    fn check_places(&mut self, buckets: &[types::flow_bucket], seed: u32) {
        let mask = buckets.len() as u32 - 1;
        let mut spilled = vec![0; buckets.len()];
        for slot in self.slots.values() {
            let hash = slot.key.hash(seed);
            let first = hash as u32 & mask;
            let other = (first ^ (((hash >> 48) as u32).wrapping_mul(0x5bd1_e995) | 1)) & mask;
            let is_spilled = u32::from(slot.flow.flags) & FLOW_SPILLED != 0;
            let place = if is_spilled { other } else { first };
            if slot.number / FLOW_SLOTS != place {
                let fault = format!("slot {} is not in its bucket {place}", slot.number);
                self.faults.push(fault);
            }
            spilled[first as usize] += u32::from(is_spilled);
        }
        for (index, (bucket, expected)) in buckets.iter().zip(spilled).enumerate() {
            let found = bucket.slots[0].spilled;
            if found != expected {
                let fault = format!("bucket {index} counts {found} spilled, not {expected}");
                self.faults.push(fault);
            }
        }
    }

    fn check_peers(&mut self) {
        for slot in self.slots.values() {
            let peer = self.slots.get(&slot.flow.peer);
            let fits = peer.is_some_and(|peer| {
                peer.flow.peer == slot.number
                    && peer.flow.kind != slot.flow.kind
                    && translated(&peer.flow).reversed() == slot.key
            });
            if !fits {
                let Slot { number, key, flow } = slot;
                let kind = flow.kind;
                let fault = format!(
                    "slot {number} (kind {kind}, {key:?}) has no other direction at {}: {:?}",
                    flow.peer,
                    peer.map(|peer| (peer.key, peer.flow.kind, peer.flow.peer))
                );
                self.faults.push(fault);
            }
        }
    }
}

fn buckets(maps: &Maps) -> Vec<types::flow_bucket> {
    let flows = maps.handle("flows").unwrap();
    let read = |index: u32| {
        let bytes = flows.lookup(&index.to_ne_bytes(), MapFlags::ANY).unwrap();
        types::flow_bucket::from_bytes(&bytes.unwrap()).unwrap()
    };
    (0..limits().flow_buckets()).map(read).collect()
}

fn key_of(key: &types::flow_key) -> Key {
    let bytes = key.as_bytes();
    let address = |at: usize| address_from_bytes(bytes[at..at + 16].try_into().unwrap());
    Key {
        src: address(0),
        dst: address(16),
        sport: u16::from_be(key.sport),
        dport: u16::from_be(key.dport),
        proto: key.proto,
    }
}

/// What the packets of a flow become.
pub fn translated(flow: &types::flow) -> Key {
    key_of(&types::flow_key {
        saddr: flow.new_saddr,
        daddr: flow.new_daddr,
        sport: flow.new_sport,
        dport: flow.new_dport,
        ..flow.key
    })
}
