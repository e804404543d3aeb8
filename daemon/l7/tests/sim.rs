//! Simulated TCP stacks talk through the engine and the splice model, over
//! paths that drop, duplicate, reorder, delay, cut and damage packets.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "sim/apps.rs"]
mod apps;
#[path = "sim/channel.rs"]
mod channel;
#[path = "sim/host.rs"]
mod host;
#[path = "sim/oracle.rs"]
mod oracle;
#[path = "sim/random.rs"]
mod random;
#[path = "sim/seeds.rs"]
mod seeds;
#[path = "sim/stack.rs"]
mod stack;
#[path = "sim/world.rs"]
mod world;
