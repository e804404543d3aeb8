//! The contract between Terrace's BPF programs and userspace.
//!
//! `include/terrace/abi.h` is the only place where a structure, number or
//! reason that crosses the boundary is declared; this crate is its Rust side.
//! build.rs makes [`types`], [`consts`] and [`Reason`] from it.

mod error;
mod limits;
mod maps;
mod object;
mod patience;
mod plain;
mod reason;
mod skeleton;
mod table;

pub mod hash;
pub mod messages;
pub mod pins;
pub mod sys;

/// Every `#define` and enum value of abi.h, under its C name.
pub mod consts {
    include!(concat!(env!("OUT_DIR"), "/consts.rs"));
}

/// Every struct of abi.h, under its C name and with its layout.
pub mod types {
    pub use crate::skeleton::types::*;
}

pub use error::Error;
pub use limits::{Limits, cell_buckets};
pub use maps::{Events, FlowEntry, Flows, L7Tables, Maps, PacketRun, ReasonCount, default_config};
pub use object::{Constant, Loaded, OwnMap, Program, load, load_with};
pub use plain::Plain;
pub use reason::{Class, Reason};
pub use table::Table;
