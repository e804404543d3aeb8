//! The daemon itself: its state, interfaces, plan, counters and errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use terrace_offload::Role;

use super::Shortcut;

/// How far the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Starting,
    Ready,
    Stopping,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: Version,
    pub phase: Phase,
    pub node_name: String,
    pub pid: u32,
    pub started_unix_ms: u64,
    pub uptime_ms: u64,
    pub config: String,
    pub pin_root: String,
    /// Since the last beat that the BPF programs saw.
    pub heartbeat_age_ms: u64,
    /// True when this daemon took over the tables of an earlier one.
    pub taken_over: bool,
    pub manifests: Manifests,
    pub interfaces: Vec<Interface>,
    pub flows: FlowTable,
    /// The same-host shortcut, with its self-test.
    #[serde(default)]
    pub shortcut: Shortcut,
    /// NICs that drop a part of the deny list by themselves.
    #[serde(default)]
    pub nics: Vec<NicFront>,
    /// Workers of the L7 tier; none while nothing needs them.
    #[serde(default)]
    pub l7_workers: Vec<Worker>,
    pub tables: Vec<TableUse>,
    /// The latest events, newest first.
    pub events: Vec<Event>,
}

/// A worker of the L7 tier, and what it has done since the daemon's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Connections that it knows, and buffers that hold their requests.
    pub flows: u64,
    pub buffers: u64,
    /// Of the connections, those that have not ended their handshake.
    #[serde(default)]
    pub half_open: u64,
    /// Acknowledgements that asked whether a segment was the client's own, and
    /// segments that were passed over: of no number of their connection.
    #[serde(default)]
    pub challenges: u64,
    #[serde(default)]
    pub strays: u64,
    /// SYNs answered by cookies above `half_open`, connections without a place,
    /// segments without a buffer.
    #[serde(default)]
    pub cookies: u64,
    #[serde(default)]
    pub full: u64,
    #[serde(default)]
    pub unheld: u64,
    /// Splices of an earlier worker, which go on without one.
    pub orphans: u64,
    pub requests: u64,
    pub resets: u64,
    /// Requests that were answered with 503: no source port was free.
    #[serde(default)]
    pub no_ports: u64,
    /// Packets that waited for it, copies that did not, and packets that it sent.
    pub packets: u64,
    pub copies: u64,
    pub sent: u64,
    /// For which there was no frame.
    pub dropped: u64,
    /// That the kernel had no frame for: the worker was too slow.
    #[serde(default)]
    pub overruns: u64,
    /// Packets that came to it and were another worker's.
    pub handed_over: u64,
    /// Of these, lost because the other worker's mailbox was full.
    #[serde(default)]
    pub not_handed: u64,
    /// Where its packets come in.
    #[serde(default)]
    pub sockets: Vec<WorkerSocket>,
    /// System calls: to tell the kernel of packets, to wait for packets.
    pub kicks: u64,
    pub waits: u64,
    /// Requests that passed in the kernel, counted once a second.
    #[serde(default)]
    pub passed: u64,
    pub panics: u64,
    /// Since its last heartbeat.
    pub silence_ms: u64,
}

/// A socket that a worker reads, since the daemon's start or its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSocket {
    /// `terrace-l7x`, the port, or an uplink.
    pub iface: String,
    pub queue: u32,
    pub packets: u64,
    /// That the kernel had no frame or no place for.
    pub overruns: u64,
}

/// The folder of manifests, as applied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifests {
    pub folder: String,
    pub files: usize,
    /// Counts applied changes since the start of the daemon.
    pub revision: u64,
    pub applied_unix_ms: u64,
    pub services: usize,
    pub backends: usize,
    pub ready_backends: usize,
    pub policies: usize,
    pub identities: usize,
    pub denied_prefixes: usize,
    /// Errors of the latest change when it was refused; the state before it
    /// still serves. Empty when the folder is applied as it is.
    pub refused: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    pub ifindex: u32,
    pub role: Role,
    pub driver: String,
    pub up: bool,
    pub mtu: u32,
    pub mac: String,
    pub addresses: Vec<String>,
    pub attachments: Vec<Attachment>,
}

/// One program on one hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// `nic`, `xdp`, `tc-ingress` or `tc-egress`.
    pub hook: String,
    /// `program`, `flower`, `native`, `generic`, `tcx` or `clsact`.
    pub kind: String,
    /// 0 = there is none: rules of tc flower.
    pub program_id: u32,
}

/// What a NIC holds of the deny list or of policy, and what it has dropped since the
/// daemon's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicFront {
    pub iface: String,
    pub ifindex: u32,
    /// `deny-list` or `policy`.
    #[serde(default)]
    pub part: String,
    /// `hw-ebpf` = a program in the NIC, `hw-switch` = rules of tc flower; empty =
    /// nothing now.
    pub way: String,
    /// Entries that it holds, from the start of the list, and entries of the list.
    pub held: usize,
    pub of: usize,
    #[serde(default)]
    pub program_id: Option<u32>,
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowTable {
    /// Slots in use; a connection uses two, one a direction.
    pub used: u64,
    pub capacity: u64,
    /// By name of the state: `new`, `established`, `closing`, `closed`, `udp`,
    /// `udp-stream`, `icmp`, `other`.
    pub by_state: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableUse {
    pub table: String,
    pub used: u64,
    pub capacity: u64,
    pub bytes: u64,
}

/// Something that an operator should know of, as it happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub unix_ms: u64,
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// A stable name: `tier-fallback`, `flows-full`, `manifests-refused`, ...
    pub kind: String,
    pub message: String,
    /// How often it happened since it was first seen.
    pub count: u64,
}

/// One counter of the `reasons` table; only those above zero are sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReasonCount {
    pub iface: String,
    pub hook: String,
    pub number: u32,
    pub reason: String,
    /// `pass`, `forward`, `answer` or `drop`.
    pub class: String,
    pub text: String,
    pub packets: u64,
    pub bytes: u64,
}

/// What `POST /v1/reload` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    pub revision: u64,
    /// Changes written to the tables.
    pub changes: usize,
    pub took_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub version: String,
    pub abi_version: u32,
}

impl Version {
    pub fn of_this_program() -> Version {
        Version {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi_version: terrace_abi::consts::ABI_VERSION,
        }
    }
}

/// The body of every answer that is not 200. Status codes: 400 the request is
/// wrong, 403 not permitted, 422 configuration or manifests refused, 503 not
/// ready yet, 500 the work failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// What failed and why.
    pub error: String,
    /// What to do.
    pub fix: String,
    /// One line per fault, when there are several (a refused reload).
    pub details: Vec<String>,
}
