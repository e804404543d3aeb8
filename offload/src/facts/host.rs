//! What is known of a host as a whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Value;
use crate::KernelVersion;

/// A host's kernel and CPUs. `None` = unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFacts {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
    /// CPUs that run.
    pub cpus_online: Option<u32>,
    /// CPUs that may ever run: drivers size their XDP rings by it.
    pub cpus_possible: Option<u32>,
    /// Bytes of a page; MTU limits depend on it.
    pub page_size: u32,
    /// Bytes of a cache line.
    pub cache_line: Option<u32>,
    /// The kernel tells its types.
    pub btf: Option<bool>,
    /// BPF programs are compiled: `on`, `off`, `unknown`.
    pub jit: String,
    /// The kernel takes TCX links (6.6).
    pub tcx: Option<bool>,
    /// Effective capabilities of the asking process that matter: `net_admin`,
    /// `bpf`, `sys_admin`, `perfmon`, `net_raw`.
    pub caps: Vec<String>,
    /// `none`, `integrity`, `confidentiality` or `unknown`.
    pub lockdown: String,
    /// Generic netlink families; null = the kernel does not have it.
    pub netlink: BTreeMap<String, Option<Family>>,
    /// Kernel options: `y`, `m`, `n`, `unknown`.
    pub config: BTreeMap<String, String>,
}

/// A generic netlink family.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Family {
    /// Its version.
    pub version: u32,
    /// Its operations.
    pub ops: Vec<u32>,
}

impl HostFacts {
    /// The kernel's version, as far as drivers depend on it.
    pub fn version(&self) -> Option<KernelVersion> {
        self.kernel.parse().ok()
    }

    /// A host's fact under the key by which rules name it.
    pub fn value(&self, key: &str) -> Value {
        match key {
            "host.kernel" => self.kernel.as_str().into(),
            "host.arch" => self.arch.as_str().into(),
            "host.cpus_online" => self.cpus_online.into(),
            "host.cpus_possible" => self.cpus_possible.into(),
            "host.page_size" => self.page_size.into(),
            "host.cache_line" => self.cache_line.into(),
            "host.btf" => self.btf.into(),
            "host.jit" => self.jit.as_str().into(),
            "host.tcx" => self.tcx.into(),
            "host.lockdown" => self.lockdown.as_str().into(),
            _ => match key.strip_prefix("host.config.") {
                Some(option) => self.config(option).into(),
                None => Value::Null,
            },
        }
    }

    /// A kernel option: `y`, `m`, `n`; `None` = unknown.
    pub fn config(&self, option: &str) -> Option<&str> {
        let value = self.config.get(option)?.as_str();
        (value != "unknown").then_some(value)
    }
}
