//! One driver: since when it can do what, within which limits.

use serde::{Deserialize, Serialize};

use crate::rule::{Disruption, Rule};
use crate::since::Since;
use crate::value::Value;

/// One file of `drivers/`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// The version of this format.
    pub schema: String,
    /// The name of the file.
    pub name: String,
    /// All names by which ethtool and sysfs call it.
    #[serde(rename = "match")]
    pub names: Vec<String>,
    /// Who makes it.
    pub vendor: String,
    /// `pf`, `vf`, `virtual`, `stacked`, `test`, ...
    pub kind: String,
    /// What it drives, for people.
    pub hardware: String,
    /// Some of its `vendor:device` ids; they tell drivers of one name apart.
    pub pci_ids: Vec<String>,
    /// What else is to be known.
    #[serde(default)]
    pub quirks: Vec<String>,
    /// XDP.
    pub xdp: Xdp,
    /// AF_XDP.
    pub af_xdp: AfXdp,
    /// Sizes, and what attaching does.
    pub limits: Limits,
    /// Rules in the NIC.
    pub hw: Hardware,
    /// What an XDP program can read besides the packet.
    pub rx_metadata: RxMetadata,
    /// Its quirks as rules.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// XDP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xdp {
    /// A program in the driver.
    pub native: Since,
    /// Which hardware or firmware it needs.
    pub native_note: Option<String>,
    /// Redirecting from it.
    pub redirect: Since,
    /// Being redirected to.
    pub ndo_xdp_xmit: Since,
    /// The feature bit is there only while a program is attached, so that its
    /// absence proves nothing.
    #[serde(default)]
    pub xmit_gated: bool,
    /// Since when, or on what it depends.
    pub xmit_gate: Option<String>,
    /// Several buffers a packet.
    pub frags: Since,
    /// Where that holds.
    pub frags_note: Option<String>,
    /// A program in the NIC.
    pub hw_offload: Since,
    /// Which firmware it needs.
    pub hw_offload_note: Option<String>,
}

/// AF_XDP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfXdp {
    /// Without a copy.
    pub zero_copy: Since,
    /// Where that holds.
    pub zero_copy_note: Option<String>,
    /// Buffers a packet without a copy; 1 = no jumbo frames.
    pub zc_max_segs: Option<u32>,
    /// What can be asked of the NIC at sending.
    #[serde(default)]
    pub tx_metadata: Vec<String>,
}

/// Sizes are for x86-64 with 4 KiB pages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Largest MTU with one buffer a packet; 0 = no check, or not known.
    pub mtu_limit_single_buffer: u32,
    /// The same with several; 0 = no check, or not known.
    pub mtu_limit_frags: u32,
    /// What the driver answers above that.
    pub mtu_errno: Option<String>,
    /// What the limit depends on.
    pub mtu_note: Option<String>,
    /// What the first attach and the last detach do.
    pub attach_effect: AttachEffect,
    /// What native XDP needs, for people; the rules say it for machines.
    pub requires: Vec<String>,
}

/// What attaching a first program, and detaching the last, does to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachEffect {
    /// Nothing.
    None,
    /// Rings stop for a moment.
    Pause,
    /// Queues are set up anew.
    Reconfig,
    /// The controller is restarted.
    Restart,
    /// The device is reset.
    Reset,
    /// The driver loads the device anew.
    Reload,
    /// The device is closed and opened.
    Reopen,
    /// Each channel is closed and opened.
    ChannelReopen,
    /// The link goes down and comes up.
    LinkReset,
    /// The whole function is reset; seconds on some optics.
    PfReset,
    /// Pages are allocated anew.
    PoolReload,
    /// Both ends negotiate anew.
    Renegotiate,
    /// As the virtual function behind it does.
    NoneOrVf,
    /// As each port does.
    PerSlave,
}

impl AttachEffect {
    /// What it does to traffic.
    pub fn disruption(self) -> Disruption {
        match self {
            Self::None => Disruption::None,
            Self::Pause | Self::PoolReload => Disruption::TrafficPause,
            _ => Disruption::LinkFlap,
        }
    }

    /// The name in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pause => "pause",
            Self::Reconfig => "reconfig",
            Self::Restart => "restart",
            Self::Reset => "reset",
            Self::Reload => "reload",
            Self::Reopen => "reopen",
            Self::ChannelReopen => "channel_reopen",
            Self::LinkReset => "link_reset",
            Self::PfReset => "pf_reset",
            Self::PoolReload => "pool_reload",
            Self::Renegotiate => "renegotiate",
            Self::NoneOrVf => "none_or_vf",
            Self::PerSlave => "per_slave",
        }
    }
}

/// Rules in the NIC.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// tc flower.
    pub tc_flower: Since,
    /// In which mode, with which firmware.
    pub tc_flower_note: Option<String>,
    /// Actions that its source handles: necessary, not sufficient.
    pub tc_flower_actions: Vec<String>,
    /// The receive classifier.
    pub ntuple: Since,
    /// With which limits.
    pub ntuple_note: Option<String>,
    /// It can drop.
    #[serde(default)]
    pub ntuple_drop: bool,
    /// It can send to an RSS context.
    pub rss_context_flow: Since,
}

/// What an XDP program can read besides the packet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RxMetadata {
    /// When the NIC received it.
    pub timestamp: Since,
    /// Its hash.
    pub hash: Since,
    /// The VLAN tag that was taken off.
    pub vlan: Since,
}

impl Driver {
    /// What rules may ask under `driver.`; `None` = not known for this kernel.
    pub fn fact(&self, name: &str, kernel: (u32, u32), page_size: u32) -> Option<Value> {
        if let Some(since) = self.since(name) {
            return since.at(kernel).map(Value::Bool);
        }
        match name {
            "name" => Some(Value::text(&self.name)),
            "kind" => Some(Value::text(&self.kind)),
            "native_since" => Some(Value::text(self.xdp.native.to_string())),
            "xmit_gated" => Some(Value::Bool(self.xdp.xmit_gated)),
            "zc_max_segs" => self.af_xdp.zc_max_segs.map(Value::from),
            "ntuple_drop" => Some(Value::Bool(self.hw.ntuple_drop)),
            "mtu_limit" => self.mtu_limit(page_size).map(Value::from),
            "mtu_limit_frags" => known(self.limits.mtu_limit_frags).map(Value::from),
            "mtu_errno" => self.limits.mtu_errno.as_deref().map(Value::from),
            "attach_effect" => Some(Value::text(self.limits.attach_effect.name())),
            _ => None,
        }
    }

    /// Since when it has an ability that rules ask under `driver.`.
    pub fn since(&self, name: &str) -> Option<Since> {
        Some(match name {
            "native" => self.xdp.native,
            "redirect" => self.xdp.redirect,
            "xmit" => self.xdp.ndo_xdp_xmit,
            "frags" => self.xdp.frags,
            "hw_offload" => self.xdp.hw_offload,
            "zero_copy" => self.af_xdp.zero_copy,
            "flower" => self.hw.tc_flower,
            "ntuple" => self.hw.ntuple,
            _ => return None,
        })
    }

    /// Largest MTU with one buffer a packet. Limits that come from the size of a
    /// page are known for 4 KiB pages only.
    pub fn mtu_limit(&self, page_size: u32) -> Option<u32> {
        const FROM_THE_PAGE: std::ops::RangeInclusive<u32> = 3400..=4096;
        let limit = known(self.limits.mtu_limit_single_buffer)?;
        (page_size == 4096 || !FROM_THE_PAGE.contains(&limit)).then_some(limit)
    }

    /// Names of what rules may ask under `driver.`.
    pub(crate) const FACTS: [&str; 18] = [
        "name",
        "kind",
        "native",
        "native_since",
        "redirect",
        "xmit",
        "xmit_gated",
        "frags",
        "hw_offload",
        "zero_copy",
        "zc_max_segs",
        "flower",
        "ntuple",
        "ntuple_drop",
        "mtu_limit",
        "mtu_limit_frags",
        "mtu_errno",
        "attach_effect",
    ];
}

fn known(limit: u32) -> Option<u32> {
    (limit != 0).then_some(limit)
}
