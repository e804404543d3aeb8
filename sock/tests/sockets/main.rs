//! The socket tier with real programs, in namespaces and cgroups.

mod datagrams;
mod services;
mod stage;
mod tables;
