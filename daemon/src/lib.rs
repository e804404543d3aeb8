//! The Terrace daemon and command line.

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod explain;
pub mod health;
pub mod netlink;
pub mod render;
pub mod run;
