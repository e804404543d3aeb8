//! What the previous tables have, by the keys that a new compilation knows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustc_hash::FxHashMap;
use terrace_abi::hash::{CellKey, address_from_bytes};
use terrace_abi::types::{backend, service};

use super::super::model::FrontKey;
use crate::objects::Protocol;
use crate::tables::Tables;

#[derive(Debug, Default)]
pub struct Adopted {
    pub fronts: FxHashMap<FrontKey, AdoptedFront>,
    /// By group, address and port.
    pub backends: FxHashMap<(u32, (IpAddr, u16), Protocol), u32>,
    /// Groups; also indexes of rings.
    pub pools: BTreeSet<u32>,
    /// Backends that repeat others or make no sense.
    pub strays: Vec<u32>,
}

#[derive(Debug)]
pub struct AdoptedFront {
    pub index: u32,
    pub group: u32,
}

impl From<&Tables> for Adopted {
    fn from(tables: &Tables) -> Self {
        let mut adopted = Self::default();
        for (key, index) in tables.service_cells.iter() {
            let Some(key) = front_key(&key).filter(|_| index < tables.services.entries()) else {
                continue;
            };
            let record: service = tables.services.read(index);
            adopted.pools.insert(record.group);
            let group = record.group;
            adopted.fronts.insert(key, AdoptedFront { index, group });
        }
        adopted.pools.extend(tables.rings.keys());
        adopted.pools.remove(&0);
        for index in (1..tables.backends.entries()).filter(|index| !tables.backends.is_zero(*index))
        {
            adopted.backend(index, &tables.backends.read(index));
        }
        adopted
    }
}

impl Adopted {
    fn backend(&mut self, index: u32, record: &backend) {
        let address = address_of(&record.addr);
        let Some(protocol) = Protocol::from_number(record.proto) else {
            self.strays.push(index);
            return;
        };
        let key = (record.group, (address, u16::from_be(record.port)), protocol);
        if let Some(repeated) = self.backends.insert(key, index) {
            self.strays.push(repeated);
        }
    }
}

fn address_of(words: &[u32]) -> IpAddr {
    let mut bytes = [0; 16];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    address_from_bytes(&bytes)
}

fn front_key(key: &CellKey) -> Option<FrontKey> {
    let port_be = u16::try_from(key[4] >> 16).expect("16 bits");
    let number = u8::try_from(key[4] & 0xff).expect("8 bits");
    Some(FrontKey {
        address: address_of(&key[..4]),
        port: u16::from_be(port_be),
        protocol: Protocol::from_number(number)?,
    })
}
