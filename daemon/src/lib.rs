//! The Terrace daemon and command line.

pub mod api;
pub mod config;
