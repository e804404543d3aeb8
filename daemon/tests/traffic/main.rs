//! The data path on real traffic: every test builds its own network, starts
//! `terrace` in it and lets real sockets talk through it.

mod life;
mod limits;
mod manifests;
mod moves;
mod paths;
mod policy;
mod probes;
mod stage;
