//! HTTP routes and rules on real connections: each test builds its own network,
//! starts `terrace` in it, and real programs talk through it.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod bodies;
mod bulk;
mod dying;
mod heads;
mod hostile;
mod kernel;
mod life;
mod load;
mod losses;
mod metrics;
mod mirrors;
mod overflow;
mod panics;
mod paths;
mod port;
mod rewrites;
mod routes;
mod servers;
mod sources;
mod stage;
mod statuses;
mod strangers;
mod uplinks;
mod waits;
mod workers;
