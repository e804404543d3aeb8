//! A model of Terrace's packet pipeline, for tests only.
//!
//! [`Model`] says what the programs at XDP and tc have to do with a packet: the
//! reason, the action and the bytes afterwards. It is written from the
//! semantics, with plain collections in place of the tables, and shares with
//! the programs what both must agree on: reasons, flags and the hashes.
//!
//! The tests give the same [`World`] to the model and, as tables, to the real
//! programs, and the same packets to both. [`Packet`] builds those packets and
//! [`verify`] looks whether what comes out is a correct packet.

mod answer;
mod bytes;
mod checksum;
mod classify;
mod encap;
mod facts;
mod flows;
mod frame;
mod l7;
mod model;
mod open;
mod packet;
mod policy;
mod port;
mod related;
mod rewrite;
mod serve;
mod verify;
mod way;
mod world;

pub use checksum::{ones_sum, transport_sum};
pub use flows::{Flow, Key, Tuple};
pub use l7::{L7, Spliced};
pub use model::{Hook, Model, Outcome};
pub use packet::{Extension, Packet, Transport};
pub use verify::{Seen, seen, verify};
pub use world::{Backend, Endpoint, Family, Frontend, Hop, Iface, Rule, Service, World};
