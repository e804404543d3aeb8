//! The socket tier with real programs, in namespaces and cgroups.

mod closing;
mod datagrams;
mod proxied;
mod redirect;
mod services;
mod stage;
mod tables;
