//! Tiers, tasks, roles and wishes, under the names of the configuration.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Where work can run, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// The NIC's hardware.
    Nic,
    /// XDP in the driver.
    XdpNative,
    /// XDP in the stack.
    XdpGeneric,
    /// tc, always armed.
    Tc,
    /// The socket layer.
    Socket,
    /// An AF_XDP worker.
    Worker,
}

impl Tier {
    /// The name in configuration, metrics and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nic => "nic",
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::Tc => "tc",
            Self::Socket => "socket",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One piece of work for one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Drop what the deny list names.
    Prefilter,
    /// Choose a backend, translate, send to remote backends.
    Steer,
    /// Judge by identities.
    Policy,
    /// Hand packets to local workloads.
    Deliver,
    /// Give service addresses and proxies their real address at connect().
    Connect,
    /// Payload from socket to socket within the host.
    Shortcut,
}

impl Task {
    /// The name in configuration, metrics and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefilter => "prefilter",
            Self::Steer => "steer",
            Self::Policy => "policy",
            Self::Deliver => "deliver",
            Self::Connect => "connect",
            Self::Shortcut => "shortcut",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What an interface is to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Towards the network.
    Uplink,
    /// The host's side of a container, VM or process group.
    Workload,
}

impl Role {
    /// The tasks of an interface of this role. The deny list looks at what
    /// comes from the network only.
    pub fn tasks(self) -> &'static [Task] {
        match self {
            Self::Uplink => &[Task::Prefilter, Task::Steer, Task::Policy, Task::Deliver],
            Self::Workload => &[Task::Steer, Task::Policy, Task::Deliver],
        }
    }
}

/// What the operator wants of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Take it when it is the best that works.
    #[default]
    Auto,
    /// Take it, or fail the start.
    Require,
    /// Never take it.
    Forbid,
}

/// The operator's wishes, by interface, task and tier; what is not named is
/// [`Wish::Auto`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wishes(pub BTreeMap<String, BTreeMap<Task, BTreeMap<Tier, Wish>>>);

impl Wishes {
    /// The wish for one tier.
    pub fn of(&self, iface: &str, task: Task, tier: Tier) -> Wish {
        let wish = self
            .0
            .get(iface)
            .and_then(|tasks| tasks.get(&task)?.get(&tier));
        wish.copied().unwrap_or_default()
    }

    /// Adds or changes one wish.
    pub fn set(&mut self, iface: &str, task: Task, tier: Tier, wish: Wish) {
        let tasks = self.0.entry(iface.to_owned()).or_default();
        tasks.entry(task).or_default().insert(tier, wish);
    }
}
