//! The Terrace daemon and command line.

pub mod api;
pub mod apply;
pub mod capabilities;
pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod explain;
pub mod health;
pub mod l7;
pub mod lifecycle;
pub mod metrics;
pub mod netlink;
pub mod render;
pub mod run;
pub mod tune;
