//! rtnetlink: what this host's links, addresses and neighbours are, what
//! changes, and the little that Terrace asks the kernel to do about it.
//!
//! The model ([`Network`]) is pure: [`Network::apply`] takes a [`Change`] and
//! says what it means ([`Effects`]). The socket is in `socket`.

mod messages;
mod model;
mod socket;

pub use model::{Change, Effects, Link, Mac, Network, Vlan};
pub use socket::{Changes, Netlink, NextHop};
