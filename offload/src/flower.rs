//! Flower rules that only the NIC holds (`skip_sw`): packets that the host would drop
//! anyway, and established flows that it would translate and send on. The host goes on
//! doing what the NIC does not, so any part may be in the NIC, and nothing hangs on the
//! order.
//!
//! The kernel's word is not taken for it: each rule is read back and must be `in_hw`.
//! A cookie says that a rule is Terrace's, so that what a killed daemon left is found.

mod actions;
mod everywhere;
mod message;
mod rule;
mod table;

pub use everywhere::{clear, clear_kind, holders, is_bare};
pub use message::{add, clsact, cookie, delete, read};
pub use rule::{Flow, Kind, Rule};
pub use table::{Counts, Outcome, Port, Refused, Table, of_kind, sync};

/// A rule of Terrace's, as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Where it is.
    pub place: Place,
    /// Whose it is, and what it is for.
    pub cookie: [u8; 16],
    /// The NIC has it.
    pub in_hw: bool,
    /// Packets that it has met; may begin anew.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where a rule is among the filters of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What it is for.
    pub kind: Kind,
    /// It stands before the others of its kind.
    pub first: bool,
    /// IPv6; else IPv4.
    pub is_ipv6: bool,
    /// Its packets come in a VLAN.
    pub is_tagged: bool,
    /// Its number within priority.
    pub handle: u32,
}

/// 802.1Q.
const VLAN: u16 = 0x8100;

/// Behind everything that people use; one priority holds one protocol.
const FIRST_PRIORITY: u32 = 0xa000;

impl Place {
    /// All priorities of Terrace, without handles.
    fn all() -> impl Iterator<Item = Self> {
        let kinds = Kind::ALL.into_iter();
        kinds.flat_map(|kind| {
            (0..8).map(move |bits| Self {
                kind,
                first: bits & 2 != 0,
                is_ipv6: bits & 1 != 0,
                is_tagged: bits & 4 != 0,
                handle: 0,
            })
        })
    }

    /// Denied ones come first, as in the programs.
    pub fn priority(self) -> u32 {
        let of_kind = match (self.kind, self.first, self.is_tagged) {
            (Kind::Deny, ..) => 0,
            (Kind::Policy, ..) => 2,
            (Kind::Flow, true, false) => 4,
            (Kind::Flow, false, false) => 6,
            (Kind::Flow, true, true) => 8,
            (Kind::Flow, false, true) => 10,
        };
        FIRST_PRIORITY + of_kind + u32::from(self.is_ipv6)
    }

    /// The protocol of its packets, as Ethernet has it.
    pub fn protocol(self) -> u16 {
        if self.is_tagged {
            return VLAN;
        }
        self.of_packet()
    }

    /// The protocol behind a tag.
    fn of_packet(self) -> u16 {
        if self.is_ipv6 { 0x86dd } else { 0x0800 }
    }

    /// Where a rule belongs, with a number.
    pub fn of(rule: &Rule, handle: u32) -> Self {
        Self {
            kind: rule.kind(),
            first: matches!(rule, Rule::LastHop { .. }),
            is_ipv6: rule.is_ipv6(),
            is_tagged: rule.is_tagged(),
            handle,
        }
    }
}
