//! What the kernel finds in the tables: the same questions, asked in Rust.
//! The twins are service.h, cells.h and policy.h of terrace-abi.

use std::net::IpAddr;

use terrace_abi::consts::{POLICY_ALLOW, POLICY_DENY, POLICY_HAS_CELLS, POLICY_L7, POLICY_ROW};
use terrace_abi::hash::{
    CellKey, address_bytes, address_words, policy_class_index, service_key_word,
};
use terrace_abi::types::{endpoint, service};

use super::Tables;
use crate::objects::Direction;

/// Who talks to whom, on what. `port` is the type for ICMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyKey {
    pub subject: u32,
    pub remote: u32,
    pub direction: Direction,
    pub protocol: u8,
    pub port: u16,
}

/// What the policy table says: bits of `enum policy_value` and the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyVerdict {
    pub value: u32,
}

impl PolicyVerdict {
    pub fn allowed(self) -> bool {
        self.value & POLICY_ALLOW != 0 && !self.denied()
    }

    /// By a rule, not by default.
    pub fn denied(self) -> bool {
        self.value & POLICY_DENY != 0
    }

    /// The rule set that a request must pass.
    pub fn rule_set(self) -> Option<u32> {
        (self.allowed() && self.value & POLICY_L7 != 0).then_some(self.value >> 8)
    }

    /// Number of the rule, or of the rule set; 0 = no rule, the default.
    pub fn rule(self) -> u32 {
        self.value >> 8
    }
}

/// The row of `port_classes` of a protocol number.
fn class_row(protocol: u8) -> Option<u32> {
    match protocol {
        6 => Some(0),
        17 => Some(1),
        132 => Some(2),
        1 => Some(3),
        58 => Some(4),
        _ => None,
    }
}

/// The key of a service cell.
pub fn service_key(address: IpAddr, port: u16, protocol: u8) -> CellKey {
    let words = address_words(&address_bytes(address));
    [
        words[0],
        words[1],
        words[2],
        words[3],
        service_key_word(port, protocol),
    ]
}

impl Tables {
    /// Index of the service at an address, 0 when there is none.
    pub fn service_lookup(&self, address: IpAddr, port: u16, protocol: u8) -> u32 {
        self.service_cells
            .get(&service_key(address, port, protocol))
    }

    pub fn service(&self, index: u32) -> service {
        self.services.read(index)
    }

    /// Index of the endpoint of an address; 0 = everything else.
    pub fn address_lookup(&self, address: IpAddr) -> u32 {
        self.addresses.lookup(&address_bytes(address))
    }

    /// The endpoint of an address.
    pub fn endpoint_of(&self, address: IpAddr) -> endpoint {
        self.endpoints.read(self.address_lookup(address))
    }

    /// Whether the deny list has the address.
    pub fn deny_lookup(&self, address: IpAddr) -> bool {
        self.deny.lookup(&address_bytes(address)) != 0
    }

    /// The backend that a service's ring has for a flow hash, 0 when none.
    pub fn ring_slot(&self, service_index: u32, hash: u32) -> u32 {
        let service = self.service(service_index);
        if service.maglev_size == 0 {
            return 0;
        }
        let slot = hash % service.maglev_size;
        let ring = self.rings.get(&service.maglev);
        ring.and_then(|ring| ring.get(slot)).unwrap_or(0)
    }

    /// The class of a port, 0 when no rule names it.
    pub fn port_class(&self, generation: u32, protocol: u8, port: u16) -> u32 {
        let Some(row) = class_row(protocol) else {
            return 0;
        };
        let word: u64 = self
            .port_classes
            .read(policy_class_index(generation, row, port));
        u32::try_from(word >> (16 * (port & 3)) & 0xffff).expect("16 bits")
    }

    /// The verdict on a packet whose subject is under policy.
    pub fn policy_lookup(&self, key: &PolicyKey) -> PolicyVerdict {
        let generation = self.generation();
        let class = self.port_class(generation, key.protocol, key.port);
        let way = key.direction as u32 | generation << 8;
        let value = match self.policy_row(key.subject, key.remote, class, way) {
            0 => self.policy_row(key.subject, 0, class, way),
            value => value,
        };
        PolicyVerdict { value }
    }

    fn policy_row(&self, subject: u32, remote: u32, class: u32, way: u32) -> u32 {
        let row = self.policy.get(&[subject, remote, POLICY_ROW, way, 0]);
        if row & POLICY_HAS_CELLS == 0 {
            return row;
        }
        match self.policy.get(&[subject, remote, class, way, 0]) {
            0 => row,
            cell => cell,
        }
    }
}
