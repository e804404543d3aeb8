//! The Terrace daemon and command line.

pub mod api;
pub mod config;
pub mod health;
pub mod netlink;
pub mod run;
