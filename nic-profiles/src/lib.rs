//! What the kernel does not tell of network drivers: one TOML file per driver,
//! situations that a driver is met in (a cloud, a firmware, a stacking), and
//! the rules that say what will be refused before it is tried.
//!
//! Everything here is data and pure functions. The files are embedded; those of
//! `/etc/terrace/nic-profiles.d` are merged over them ([`Profiles::load`]).
//! What is known here ranks below everything that the machine itself says.

mod driver;
mod expr;
mod fault;
mod keys;
mod merge;
mod profiles;
mod rule;
mod since;
mod situation;
mod value;

pub use driver::{AfXdp, AttachEffect, Driver, Hardware, Limits, RxMetadata, Xdp};
pub use expr::{Assignment, Predicate, Template};
pub use fault::{Fault, Faults};
pub use keys::is_known as is_fact_key;
pub use profiles::{Known, Profiles};
pub use rule::{Disruption, Effect, Fix, LosesTo, Outcome, Rule, Target};
pub use since::Since;
pub use situation::{Cap, Match, Means, Probe, Situation, Status};
pub use value::{Lookup, Value};

/// Where an operator's own files are.
pub const USER_FOLDER: &str = "/etc/terrace/nic-profiles.d";

mod files {
    include!(concat!(env!("OUT_DIR"), "/files.rs"));
}
