//! The socket tier with real programs, in namespaces and cgroups.

mod beside;
mod closing;
mod datagrams;
mod dns;
mod edges;
mod many;
mod proxied;
mod records;
mod redirect;
mod services;
mod stage;
mod tables;
