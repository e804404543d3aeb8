//! What the kernel and the interfaces of a host can do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Role;

/// A kernel's version as far as drivers' abilities depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct KernelVersion(pub u32, pub u32);

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for KernelVersion {
    type Err = String;

    /// Reads the start of `uname -r`: `6.12.43+deb13-amd64` is 6.12.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => Err(format!("{text:?} is no kernel version")),
        }
    }
}

/// The input of the planner.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// Of the running kernel.
    pub kernel: KernelVersion,
    /// The kernel has TCX links; else clsact filters are used.
    pub tcx: bool,
    /// The interfaces that have a role.
    pub interfaces: Vec<Interface>,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// By ethtool: `virtio_net`, `veth`, ...; empty = it tells none.
    pub driver: String,
    /// Bytes of an IP packet.
    pub mtu: u32,
    /// The bond or team that it is a port of.
    pub controller: Option<String>,
    /// Name of an XDP program that is not Terrace's.
    pub foreign_xdp: Option<String>,
    /// Large receive offload is on; native XDP can't be with it.
    pub lro: bool,
}

impl Interface {
    /// A host side of a veth pair.
    pub fn is_veth(&self) -> bool {
        self.driver == "veth"
    }
}
