//! Arguments of `terrace nic`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use terrace_offload::probe::{Consent, Mode};

#[derive(Debug, Args)]
pub struct NicArgs {
    /// Only these interfaces, and those that they rest on [default: all]
    #[arg(value_name = "IFACE")]
    pub interfaces: Vec<String>,
    /// How far to go; active wants names and --allow
    #[arg(long, value_name = "MODE", default_value = "passive")]
    pub mode: NicMode,
    /// Allow this active probe; may be given several times
    #[arg(long, value_name = "PROBE", value_delimiter = ',')]
    pub allow: Vec<Allow>,
    /// Report again whenever something changes, until interrupted
    #[arg(long, conflicts_with_all = ["replay", "record"])]
    pub watch: bool,
    /// Tell MAC addresses; reports are often passed on, so they are left out
    #[arg(long, conflicts_with_all = ["replay", "record"])]
    pub identify: bool,
    /// Also write what the kernel said to this file, without addresses, serial
    /// numbers and keys
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub record: Option<PathBuf>,
    /// Report from such a file instead of from this machine
    #[arg(long, value_name = "FILE", conflicts_with_all = ["interfaces", "mode", "allow"])]
    pub replay: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NicMode {
    /// Reads only; needs no rights
    Passive,
    /// Also loads programs and frees them, and binds AF_XDP sockets that copy
    Preload,
    /// Also attaches, binds and adds rules as far as --allow goes, and undoes it
    Active,
}

impl From<NicMode> for Mode {
    fn from(mode: NicMode) -> Self {
        match mode {
            NicMode::Passive => Self::Passive,
            NicMode::Preload => Self::Preload,
            NicMode::Active => Self::Active,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Allow {
    /// Attach passing programs in the driver; may reset the link
    Attach,
    /// Bind a zero-copy socket to the last queue; sets the queue up anew
    Xsk,
    /// Add a flower rule for a documentation address with skip_sw
    Flower,
    /// Add a classification rule for a documentation address
    Ntuple,
    /// All of these also on the interface of the default route
    DefaultRoute,
}

/// What the user allows.
pub fn consent(allowed: &[Allow]) -> Consent {
    let has = |one| allowed.contains(&one);
    Consent {
        attach: has(Allow::Attach),
        xsk: has(Allow::Xsk),
        flower: has(Allow::Flower),
        ntuple: has(Allow::Ntuple),
        default_route: has(Allow::DefaultRoute),
    }
}
