//! Classification rules of a NIC (ethtool's ntuple): packets that the host would drop
//! anyway, and requests for the queues that workers read. The host goes on doing what the
//! NIC does not.
//!
//! Neither exit codes nor the place that a driver names are taken for it: the table is read
//! back. Rules have no cookie, so whoever asks keeps a record of what is Terrace's; it is
//! written before a rule is, and a rule is Terrace's when it is in the record and reads
//! the same. What a killed daemon has left is found by that.

mod rule;
mod table;

pub use rule::{Kind, Rule, is_same, spec};
pub use table::{Nic, Outcome, Refused, Table, clear, holds, sync};
