//! Flower rules that only the NIC holds (`skip_sw`): prefixes whose packets the host
//! would drop anyway. The host goes on dropping what the NIC does not, so any part of
//! the list may be in the NIC, and nothing hangs on the order.
//!
//! The kernel's word is not taken for it: each rule is read back and must be `in_hw`.
//! A cookie says that a rule is Terrace's, so that what a killed daemon left is found.

mod everywhere;
mod message;
mod table;

use ipnet::IpNet;

pub use everywhere::{clear, holders, is_bare};
pub use message::{add, clsact, cookie, delete, read};
pub use table::{Counts, Outcome, Port, Refused, Table, sync};

/// A rule of Terrace's, as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Where it is.
    pub place: Place,
    /// Whose it is, and what it is for.
    pub cookie: [u8; 16],
    /// The NIC has it.
    pub in_hw: bool,
    /// Packets that it has dropped; may begin anew.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where a rule is among the filters of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// IPv6; else IPv4.
    pub is_ipv6: bool,
    /// Its number within the family.
    pub handle: u32,
}

impl Place {
    /// Behind everything that people use; one priority holds one protocol.
    pub fn priority(self) -> u32 {
        if self.is_ipv6 { 0xa001 } else { 0xa000 }
    }

    /// The protocol of its packets, as Ethernet has it.
    pub fn protocol(self) -> u16 {
        if self.is_ipv6 { 0x86dd } else { 0x0800 }
    }

    /// The family of a prefix, with a number.
    pub fn of(source: &IpNet, handle: u32) -> Self {
        Self {
            is_ipv6: matches!(source, IpNet::V6(_)),
            handle,
        }
    }
}
