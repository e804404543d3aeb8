//! `[offload]`: work that goes into NICs.

use std::net::SocketAddr;
use std::time::Duration;

use super::section::{Section, Wrong};
use super::values::{boolean, duration, integer, text, word};

/// What NICs are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offload {
    /// How the deny list may get into the NICs of uplinks.
    pub deny_list: Into,
    /// What policy drops whatever the port may go there, too.
    pub policy: bool,
    /// Entries of each NIC and list, at most.
    pub entries: u32,
    /// The NIC leads requests for workers to the queues that they read.
    pub l7_queues: bool,
    /// Hot flows may go into NICs that take rules of tc.
    pub flows: bool,
    /// Flows in all NICs, at most.
    pub flow_rules: u32,
    /// Packets a second from which on a flow is hot, and below which it is not any more.
    pub flow_heavy: u32,
    pub flow_light: u32,
    /// The connection table is looked at in this time.
    pub flow_look: Duration,
    /// Services whose flows go there whatever they do: protocol and address.
    pub pinned: Vec<(u8, SocketAddr)>,
}

/// A way into a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// None.
    Off,
    /// A program where the NIC runs one, else rules of either kind.
    Auto,
    /// A program only.
    Program,
    /// Rules of tc flower only.
    Flower,
    /// Classification rules (ethtool's ntuple) only.
    Ntuple,
}

impl Into {
    const NAMES: [(&str, Self); 5] = [
        ("off", Self::Off),
        ("auto", Self::Auto),
        ("program", Self::Program),
        ("flower", Self::Flower),
        ("ntuple", Self::Ntuple),
    ];
}

impl Default for Offload {
    fn default() -> Self {
        Self {
            deny_list: Into::Auto,
            policy: true,
            entries: 1_024,
            l7_queues: true,
            flows: false,
            flow_rules: 1_024,
            flow_heavy: 10_000,
            flow_light: 1_000,
            flow_look: Duration::from_secs(10),
            pinned: Vec::new(),
        }
    }
}

pub(super) fn read(section: Section<'_>) -> Offload {
    let default = Offload::default();
    let offload = Offload {
        deny_list: section.read("deny_list", default.deny_list, |v| word(v, &Into::NAMES)),
        policy: section.read("policy", default.policy, boolean),
        entries: section.read("entries", default.entries, |v| integer(v, 1..=65_536)),
        l7_queues: section.read("l7_queues", default.l7_queues, boolean),
        flows: section.read("flows", default.flows, boolean),
        flow_rules: section.read("flow_rules", default.flow_rules, |v| integer(v, 1..=65_536)),
        flow_heavy: section.read("flow_heavy", default.flow_heavy, |v| {
            integer(v, 1..=u32::MAX)
        }),
        flow_light: section.read("flow_light", default.flow_light, |v| {
            integer(v, 0..=u32::MAX)
        }),
        flow_look: section.read("flow_look", default.flow_look, duration),
        pinned: section.list("pinned", service),
    };
    section.refuse_unknown();
    offload
}

/// `tcp 192.0.2.1:80`, `udp [2001:db8::1]:53`.
fn service(value: &super::section::Value<'_>) -> Result<(u8, SocketAddr), Wrong> {
    let text = text(value)?;
    let wrong = || {
        let what = format!("\"{text}\" is no service");
        Wrong::new(
            what,
            "write \"tcp 192.0.2.1:80\" or \"udp [2001:db8::1]:53\"",
        )
    };
    let (protocol, end) = text.split_once(' ').ok_or_else(wrong)?;
    let protocol = match protocol {
        "tcp" => 6,
        "udp" => 17,
        _ => return Err(wrong()),
    };
    Ok((protocol, end.parse().map_err(|_| wrong())?))
}
