//! The rows, by subject; each is there for both families.

mod addresses;
mod answers;
mod errors;
mod established;
mod extensions;
mod fragments;
mod headers;
mod heads;
mod l7;
mod policy;
mod services;
mod spliced;
mod state;
mod ways;

pub use heads::armed;
use terrace_model::Family;

use crate::row::Row;

/// Someone in the network.
pub const CLIENT: &str = "192.0.2.7:1000";
/// A service with a remote backend on the same link.
pub const VIP: &str = "10.96.0.1:80";

pub fn all(family: Family) -> Vec<Row> {
    let parts = [
        addresses::rows,
        answers::rows,
        errors::rows,
        established::rows,
        extensions::rows,
        fragments::rows,
        headers::rows,
        heads::rows,
        l7::rows,
        policy::rows,
        services::rows,
        spliced::rows,
        state::rows,
        ways::rows,
    ];
    parts.into_iter().flat_map(|rows| rows(family)).collect()
}
