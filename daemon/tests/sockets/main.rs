//! The socket tier of a running `terrace`, with real programs in namespaces
//! and cgroups.

mod faults;
mod life;
mod placed;
mod proxy;
mod services;
mod stage;
