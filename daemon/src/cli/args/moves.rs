//! Moving a task by hand.

use clap::Args;

use crate::api::{Task, Tier};

#[derive(Debug, Args)]
pub struct MoveArgs {
    /// prefilter, steer, policy, deliver or shortcut
    #[arg(value_parser = named::<Task>)]
    pub task: Task,
    /// The interface; `host` for the shortcut
    pub iface: String,
    /// xdp-native, xdp-generic, tc, nic, socket, or auto
    #[arg(value_parser = tier_or_auto)]
    pub tier: Wanted,
}

/// A tier, or none in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted(pub Option<Tier>);

fn tier_or_auto(name: &str) -> Result<Wanted, String> {
    match name {
        "auto" => Ok(Wanted(None)),
        name => named(name).map(|tier| Wanted(Some(tier))),
    }
}

/// By its name in configuration and output.
fn named<T: serde::de::DeserializeOwned>(name: &str) -> Result<T, String> {
    serde_json::from_value(name.into()).map_err(|error| error.to_string())
}
