//! Policy as the programs judge it (judge.h, policy.h), without the kernel:
//! the workers choose servers late, so they must ask before they connect.

use rustc_hash::FxHashMap;
use terrace_abi::consts::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, ENDPOINT_EGRESS, ENDPOINT_HOST, ENDPOINT_INGRESS,
    POLICY_ALLOW, POLICY_DENY, POLICY_HAS_CELLS, POLICY_L7, POLICY_ROW,
};
use terrace_abi::hash::{address_bytes, policy_class_index};
use terrace_abi::types::endpoint;
use terrace_mesh::Tables;

const TCP_ROW: u32 = 0;

#[derive(Debug, Default)]
pub struct PolicyView {
    /// Single addresses.
    hosts: FxHashMap<[u8; 16], Party>,
    /// Prefixes by length, the longest first.
    prefixes: Vec<(u32, FxHashMap<u128, Party>)>,
    world: Party,
    /// Subject, remote, class, direction.
    cells: FxHashMap<[u32; 4], u32>,
    /// Classes of TCP ports, four a word.
    classes: Box<[u64]>,
    /// The host itself may always connect to its workloads.
    host_may: bool,
    /// Of the tables that it was made from.
    pub(super) policy_rev: u32,
}

/// What an address is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Party {
    pub identity: u32,
    /// `ENDPOINT_` flags.
    pub flags: u32,
}

/// No rule allows it, or one denies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// 0 = by default.
    pub rule: u32,
}

/// A direction's verdict; with a number, requests must pass that rule set.
pub type Judgement = Result<Option<u32>, Denied>;

impl PolicyView {
    pub fn of(tables: &Tables, host_may: bool) -> Self {
        let generation = tables.generation();
        let party = |index: u32| {
            let record: endpoint = tables.endpoints.read(index);
            Party {
                identity: record.identity,
                flags: record.flags,
            }
        };
        let mut hosts = FxHashMap::default();
        let mut by_length: FxHashMap<u32, FxHashMap<u128, Party>> = FxHashMap::default();
        for (net, address) in &tables.directory.addresses {
            let bytes = address_bytes(net.network());
            let v4 = if net.addr().is_ipv4() { 96 } else { 0 };
            let (len, party) = (u32::from(net.prefix_len()) + v4, party(address.endpoint));
            match len {
                128 => drop(hosts.insert(bytes, party)),
                _ => {
                    let lengths = by_length.entry(len).or_default();
                    lengths.insert(u128::from_be_bytes(bytes), party);
                }
            }
        }
        let mut prefixes: Vec<_> = by_length.into_iter().collect();
        prefixes.sort_unstable_by_key(|(len, _)| std::cmp::Reverse(*len));
        let cells = tables.policy.iter().filter_map(|(key, value)| {
            let [subject, remote, class, way, _] = key;
            (way >> 8 == generation).then_some(([subject, remote, class, way & 0xff], value))
        });
        let first = policy_class_index(generation, TCP_ROW, 0);
        let words = first..first + (1 << 14);
        Self {
            hosts,
            prefixes,
            world: party(0),
            cells: cells.collect(),
            classes: words.map(|i| tables.port_classes.read(i)).collect(),
            host_may,
            policy_rev: tables.policy_rev,
        }
    }

    pub fn party(&self, address: &[u8; 16]) -> Party {
        if let Some(party) = self.hosts.get(address) {
            return *party;
        }
        let bits = u128::from_be_bytes(*address);
        let mut lengths = self.prefixes.iter();
        let found = lengths.find_map(|(len, prefixes)| {
            let kept = bits.checked_shr(128 - len).unwrap_or(0);
            prefixes.get(&kept.checked_shl(128 - len).unwrap_or(0))
        });
        *found.unwrap_or(&self.world)
    }

    /// What both ends say of a connection to a TCP port: egress, then ingress.
    pub fn judge(&self, from: Party, to: Party, port: u16) -> impl Iterator<Item = Judgement> {
        let egress = from.flags & ENDPOINT_EGRESS != 0;
        let exempt = from.flags & ENDPOINT_HOST != 0 && self.host_may;
        let ingress = to.flags & ENDPOINT_INGRESS != 0 && !exempt;
        let out = egress.then(|| self.verdict(from, to, port, DIRECTION_EGRESS));
        let into = ingress.then(|| self.verdict(to, from, port, DIRECTION_INGRESS));
        [out, into].into_iter().flatten()
    }

    fn verdict(&self, subject: Party, remote: Party, port: u16, direction: u32) -> Judgement {
        let word = self.classes.get(usize::from(port) / 4).unwrap_or(&0);
        let class = (word >> (16 * (port % 4)) & 0xffff) as u32;
        let row = |remote: u32| {
            let row = self.cell([subject.identity, remote, POLICY_ROW, direction]);
            match row & POLICY_HAS_CELLS {
                0 => row,
                _ => match self.cell([subject.identity, remote, class, direction]) {
                    0 => row,
                    cell => cell,
                },
            }
        };
        let value = match row(remote.identity) {
            0 => row(0),
            value => value,
        };
        let rule = value >> 8;
        if value & POLICY_DENY != 0 || value & POLICY_ALLOW == 0 {
            return Err(Denied { rule });
        }
        Ok((value & POLICY_L7 != 0).then_some(rule))
    }

    fn cell(&self, key: [u32; 4]) -> u32 {
        self.cells.get(&key).copied().unwrap_or(0)
    }
}
