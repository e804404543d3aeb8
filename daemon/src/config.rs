//! `terrace.toml`: what the operator decides for this host.
//!
//! The file is read with the place of every key, checked whole, and all that
//! is wrong is told at once. `examples/terrace.toml` documents each key.

pub mod deny;
mod faults;
mod l7;
pub mod manifests;
mod offload;
mod resolve;
mod section;
mod shortcut;
mod socket;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::GlobMatcher;
use ipnet::IpNet;
use terrace_abi::Limits;
use terrace_offload::damper::Patience;
use terrace_offload::verdict::Disruption;

pub use faults::{Fault, Faults};
pub use l7::L7;
pub use offload::{Into as OffloadInto, Offload};
pub use shortcut::{Shortcut, ShortcutMode};
pub use socket::{Redirect, Socket, WhenDown};
pub use terrace_offload::{Role, Task, Tier, Wish};

/// Where the configuration is when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/terrace/terrace.toml";
pub const DEFAULT_SOCKET: &str = "/run/terrace/terrace.sock";
pub const DEFAULT_PIN_ROOT: &str = "/sys/fs/bpf/terrace";

/// The resolved configuration. Paths are absolute or relative to the working
/// directory; those of the file count from its folder.
#[derive(Debug, Clone)]
pub struct Config {
    pub file: PathBuf,
    pub manifests: PathBuf,
    pub deny_lists: Vec<PathBuf>,
    pub node_name: String,
    pub remote_nodes: Vec<IpAddr>,
    pub cluster_cidrs: Vec<IpNet>,
    pub control_socket: PathBuf,
    /// None = no metrics.
    pub metrics_listen: Option<SocketAddr>,
    pub pin_root: PathBuf,
    pub manage_sysctls: bool,
    /// The first rule that matches a name decides.
    pub interfaces: Vec<InterfaceRule>,
    pub moves: Moves,
    pub offload: Offload,
    pub services: Services,
    pub shortcut: Shortcut,
    pub socket: Socket,
    pub l7: L7,
    pub policy: PolicyDefaults,
    pub health: HealthDefaults,
    pub timeouts: Timeouts,
    pub limits: Limits,
}

#[derive(Debug, Clone)]
pub struct InterfaceRule {
    /// As written: a name or a glob.
    pub pattern: String,
    pub matcher: GlobMatcher,
    pub role: Role,
    /// Task -> tier -> wish; what is not named is [`Wish::Auto`].
    pub tiers: BTreeMap<Task, BTreeMap<Tier, Wish>>,
}

/// When XDP of an interface that is served moves to another tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moves {
    /// The worst that attaching may do to its traffic.
    pub disruption: Disruption,
    pub patience: Patience,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// Slots of a service's Maglev ring; a prime.
    pub maglev_size: u32,
    pub no_backend: NoBackend,
    pub answer_echo: bool,
    /// Source ports that hairpin NAT takes.
    pub snat_ports: RangeInclusive<u16>,
    pub fail_mode: FailMode,
    /// Silence of the daemon after which `fail_mode` counts.
    pub heartbeat_timeout: Duration,
}

/// The answer of a service without a ready backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBackend {
    Reject,
    Drop,
}

/// What becomes of a service's traffic while the daemon is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailMode {
    Last,
    Open,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDefaults {
    pub allow_host_ingress: bool,
    pub check_source: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthDefaults {
    /// For services whose manifest says nothing.
    pub check: HealthCheck,
    pub interval: Duration,
    pub timeout: Duration,
    /// Successes in a row until a backend is healthy again.
    pub healthy_after: u32,
    /// Failures in a row until it is not.
    pub unhealthy_after: u32,
    pub http_path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthCheck {
    Off,
    Tcp,
    Http,
}

/// Idle time after which a flow is forgotten, by its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    pub new: Duration,
    pub established: Duration,
    pub closing: Duration,
    pub closed: Duration,
    pub udp: Duration,
    pub udp_stream: Duration,
    pub icmp: Duration,
    pub other: Duration,
}

impl Config {
    /// Reads, checks and resolves `path`.
    ///
    /// # Errors
    /// All faults of the file, or the one that kept it from being read.
    pub fn load(path: &Path) -> Result<Config, Faults> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Faults::one(
                path,
                format!("can't be read: {error}"),
                "name the file with -c; daemon/examples/terrace.toml is a start",
            )
        })?;
        Config::parse(path, &text)
    }

    /// As [`Config::load`], of a text; `path` names it and places its paths.
    pub fn parse(path: &Path, text: &str) -> Result<Config, Faults> {
        resolve::resolve(path, text)
    }

    /// The rule of an interface; None = Terrace leaves it alone.
    pub fn rule_of(&self, iface: &str) -> Option<&InterfaceRule> {
        self.interfaces
            .iter()
            .find(|rule| rule.matcher.is_match(iface))
    }
}

impl Default for Config {
    /// What an empty file would mean, were it allowed to name no interface.
    fn default() -> Self {
        Self {
            file: DEFAULT_PATH.into(),
            manifests: "/etc/terrace/manifests".into(),
            deny_lists: Vec::new(),
            node_name: values::host_name(),
            remote_nodes: Vec::new(),
            cluster_cidrs: Vec::new(),
            control_socket: DEFAULT_SOCKET.into(),
            metrics_listen: Some(SocketAddr::from(([127, 0, 0, 1], 9477))),
            pin_root: DEFAULT_PIN_ROOT.into(),
            manage_sysctls: true,
            interfaces: Vec::new(),
            moves: Moves::default(),
            offload: Offload::default(),
            services: Services::default(),
            shortcut: Shortcut::default(),
            socket: Socket::default(),
            l7: L7::default(),
            policy: PolicyDefaults::default(),
            health: HealthDefaults::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Moves {
    fn default() -> Self {
        Self {
            disruption: Disruption::TrafficPause,
            patience: Patience::default(),
        }
    }
}

impl Default for Services {
    fn default() -> Self {
        Self {
            maglev_size: 16_381,
            no_backend: NoBackend::Reject,
            answer_echo: true,
            snat_ports: 10_000..=29_999,
            fail_mode: FailMode::Last,
            heartbeat_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for PolicyDefaults {
    fn default() -> Self {
        Self {
            allow_host_ingress: true,
            check_source: true,
        }
    }
}

impl Default for HealthDefaults {
    fn default() -> Self {
        Self {
            check: HealthCheck::Off,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
            http_path: "/".into(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            new: Duration::from_secs(60),
            established: Duration::from_secs(8 * 3600),
            closing: Duration::from_secs(60),
            closed: Duration::from_secs(10),
            udp: Duration::from_secs(30),
            udp_stream: Duration::from_secs(120),
            icmp: Duration::from_secs(30),
            other: Duration::from_secs(600),
        }
    }
}

impl Timeouts {
    /// In the order of `enum flow_state` of abi.h.
    pub fn by_state(&self) -> [Duration; 8] {
        [
            self.new,
            self.established,
            self.closing,
            self.closed,
            self.udp,
            self.udp_stream,
            self.icmp,
            self.other,
        ]
    }
}
