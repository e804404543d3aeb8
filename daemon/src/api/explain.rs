//! A packet run through the live programs without being sent.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Direction, RuleVerdict, Source, Tier, Tuple};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// Where the packets arrive; none = found from the source address.
    #[serde(default)]
    pub iface: Option<String>,
    pub packets: Vec<PacketSpec>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PacketSpec {
    Tuple(TupleSpec),
    /// An Ethernet frame in hexadecimal.
    Frame(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TupleSpec {
    /// `tcp`, `udp`, `icmp` (v6 by the addresses) or `sctp`.
    pub protocol: String,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// Letters of `FSRPAU`; empty = `S`. TCP only.
    #[serde(default)]
    pub tcp_flags: String,
    /// Bytes after the transport header.
    #[serde(default)]
    pub payload_len: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainAnswer {
    pub packets: Vec<ExplainedPacket>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainedPacket {
    /// The five-tuple, or why there is none.
    pub summary: String,
    pub len: usize,
    /// In the order in which the packet meets the programs.
    pub hops: Vec<Hop>,
}

/// One program's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    pub iface: String,
    /// `xdp`, `tc-ingress` or `tc-egress`.
    pub hook: String,
    pub tier: Tier,
    pub number: u32,
    pub reason: String,
    /// `pass`, `forward`, `answer` or `drop`.
    pub class: String,
    pub text: String,
    /// As the kernel names it: `XDP_TX`, `TC_ACT_REDIRECT`, ...
    pub action: String,
    /// `namespace/name:port`.
    pub service: Option<String>,
    /// `address:port`, with the pod's name when it is known.
    pub backend: Option<String>,
    /// `new`, or direction and state of the tracked flow.
    pub flow: String,
    pub source_identity: String,
    pub destination_identity: String,
    pub policy: Option<PolicyHit>,
    pub tuple: Option<Tuple>,
    pub translated: Option<Tuple>,
    /// Header fields that the program changed.
    pub changes: Vec<HeaderChange>,
    pub out_iface: Option<String>,
    /// The packet as it left the program, in hexadecimal.
    pub frame: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeaderChange {
    /// `ip.dst`, `tcp.dport`, `eth.src`, ...
    pub field: String,
    pub before: String,
    pub after: String,
}

/// The lookup that decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyHit {
    pub direction: Direction,
    pub verdict: RuleVerdict,
    /// 0 = no rule: the default of a selected endpoint.
    pub rule: u32,
    /// `kind namespace/name`, empty for the default.
    pub policy: String,
    pub source: Source,
}
