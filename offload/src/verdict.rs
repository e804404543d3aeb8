//! What an interface can carry: a verdict for each tier, with what stands in
//! the way.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Tier;
use crate::facts::Confidence;

/// A tier as the report splits it: [`Tier::Nic`] is three abilities and
/// [`Tier::Worker`] two. Best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NicTier {
    /// eBPF programs in the NIC.
    HwEbpf,
    /// Flower rules in the NIC's switch.
    HwSwitch,
    /// Classification rules in the NIC: ntuple, flower on a port.
    HwNic,
    /// AF_XDP without copies.
    AfxdpZc,
    /// XDP in the driver.
    XdpNative,
    /// tc.
    Tc,
    /// AF_XDP with a copy per packet.
    AfxdpCopy,
    /// XDP in the stack.
    XdpGeneric,
}

impl NicTier {
    /// All, best first. tc comes before generic XDP and AF_XDP in copy mode: it
    /// keeps GSO and checksum offload and does the same work for less.
    pub const ALL: [Self; 8] = [
        Self::HwEbpf,
        Self::HwSwitch,
        Self::HwNic,
        Self::AfxdpZc,
        Self::XdpNative,
        Self::Tc,
        Self::AfxdpCopy,
        Self::XdpGeneric,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::HwEbpf => "hw-ebpf",
            Self::HwSwitch => "hw-switch",
            Self::HwNic => "hw-nic",
            Self::AfxdpZc => "afxdp-zc",
            Self::XdpNative => "xdp-native",
            Self::Tc => "tc",
            Self::AfxdpCopy => "afxdp-copy",
            Self::XdpGeneric => "xdp-generic",
        }
    }

    /// The planner's tier that it is a part of.
    pub fn tier(self) -> Tier {
        match self {
            Self::HwEbpf | Self::HwSwitch | Self::HwNic => Tier::Nic,
            Self::AfxdpZc | Self::AfxdpCopy => Tier::Worker,
            Self::XdpNative => Tier::XdpNative,
            Self::Tc => Tier::Tc,
            Self::XdpGeneric => Tier::XdpGeneric,
        }
    }
}

impl fmt::Display for NicTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether a tier can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Now.
    Yes,
    /// Some of it, or for some rules.
    Partial,
    /// When the blockers' fixes are applied.
    AfterFix,
    /// Nobody could tell.
    Unknown,
    /// Not on this machine.
    No,
}

impl Verdict {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partial => "partial",
            Self::AfterFix => "after fix",
            Self::Unknown => "unknown",
            Self::No => "no",
        }
    }
}

/// One tier's line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierVerdict {
    /// The tier.
    pub tier: NicTier,
    /// Whether it can be had.
    pub verdict: Verdict,
    /// Why; at least one reason, the most important first.
    pub why: Vec<String>,
    /// How sure that is.
    pub confidence: Confidence,
    /// Numbers of the blockers that stand in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blockers: Vec<u32>,
}

/// A rule that holds here, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocker {
    /// Its number in the report; effects that only inform have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// The rule: `virtio.guest-offloads-fixed`.
    pub id: String,
    /// What it does to the tiers.
    pub effect: Effect,
    /// The tiers that it stands before.
    pub tiers: Vec<NicTier>,
    /// What is in the way.
    pub why: String,
    /// What removes it; `None` = nothing can.
    pub fix: Option<Fix>,
    /// Where that is known from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
}

/// What a rule does to the tiers that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// They would fail.
    Deny,
    /// They work slower, or do less.
    Degrade,
    /// Something to know before.
    Warn,
    /// Something to know.
    Info,
}

/// What removes a blocker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fix {
    /// The exact command; empty = none on this host, the note says what.
    pub cmd: String,
    /// The command that takes it back; empty = none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub undo: String,
    /// What else to know.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What it does to running traffic.
    pub disruption: Disruption,
}

/// What a change does to running traffic, mildest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Disruption {
    /// Nothing.
    #[default]
    None,
    /// Packets wait or are lost for a moment.
    TrafficPause,
    /// The link goes down and comes back.
    LinkFlap,
    /// The machine, or the VM, starts anew.
    Reboot,
}

impl Disruption {
    /// The words in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::TrafficPause => "traffic pause",
            Self::LinkFlap => "link flap",
            Self::Reboot => "reboot",
        }
    }
}
