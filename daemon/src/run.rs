//! `terrace run`: the daemon.

pub mod events;
