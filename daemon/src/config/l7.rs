//! `[l7]`: the workers that enforce HTTP rules and routes.

use std::ops::RangeInclusive;
use std::time::Duration;

use terrace_abi::consts::{HEAD_FIELDS_MAX, HEAD_MAX};
use terrace_l7::http::{Limits, MAX_FIELDS};

use super::section::{Section, Wrong};
use super::values::{boolean, duration, integer, ports, word};
use crate::l7::{UplinkSockets, Wait};

/// The L7 tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L7 {
    /// Off: manifests that need it are refused.
    pub enabled: bool,
    /// Threads, each with a queue of the port; 0 = half of the CPUs, at most 8.
    pub workers: u32,
    /// Where they run; empty = CPU 0, 1 and so on.
    pub cpus: Vec<usize>,
    pub wait: Wait,
    /// Silence of a worker after which its services' fail mode counts.
    pub heartbeat_timeout: Duration,
    /// Frames of 4 KiB that each worker has for either way; a power of two.
    pub frames: u32,
    /// Buffers of 16 KiB that each worker has for requests that it holds.
    pub buffers: u32,
    /// Half-open connections that each worker remembers; above it SYN cookies.
    pub half_open: u32,
    /// Of a request: bytes of its head and fields in it, above which it is 431,
    /// and bytes of its target, above which it is 414.
    pub limits: Limits,
    /// Until a head that has begun is whole: then it is 408.
    pub head_timeout: Duration,
    /// Requests that method and path decide pass without a worker.
    pub in_kernel: bool,
    /// Sockets of the workers on the queues of uplinks with native XDP.
    pub uplink_sockets: UplinkSockets,
    /// So many queues of each uplink are read at most; 0 = as many as there are.
    pub uplink_queues: u32,
    /// Of connections between a remote client and a remote backend.
    pub source_ports: RangeInclusive<u16>,
}

impl Default for L7 {
    fn default() -> Self {
        Self {
            enabled: true,
            workers: 0,
            cpus: Vec::new(),
            wait: Wait::Poll,
            heartbeat_timeout: Duration::from_secs(2),
            frames: 2_048,
            buffers: 4_096,
            half_open: 4_096,
            limits: Limits::default(),
            head_timeout: Duration::from_secs(60),
            in_kernel: true,
            uplink_sockets: UplinkSockets::Auto,
            uplink_queues: 0,
            source_ports: 30_000..=32_767,
        }
    }
}

pub(super) fn read(section: Section<'_>) -> L7 {
    let default = L7::default();
    let l7 = L7 {
        enabled: section.read("enabled", default.enabled, boolean),
        workers: section.read("workers", default.workers, |v| integer(v, 0..=64)),
        cpus: section.list("cpus", |v| integer(v, 0..=4_095).map(|cpu| cpu as usize)),
        wait: section.read("wait", default.wait, |v| word(v, &Wait::NAMES)),
        heartbeat_timeout: section.read("heartbeat_timeout", default.heartbeat_timeout, duration),
        frames: section.read("frames", default.frames, |v| integer(v, 256..=65_536)),
        buffers: section.read("buffers", default.buffers, |v| integer(v, 64..=65_536)),
        half_open: section.read("half_open", default.half_open, |v| {
            integer(v, 16..=1_000_000)
        }),
        limits: limits(&section),
        head_timeout: section.read("head_timeout", default.head_timeout, duration),
        in_kernel: section.read("in_kernel", default.in_kernel, boolean),
        uplink_sockets: section.read("uplink_sockets", default.uplink_sockets, |v| {
            word(v, &UplinkSockets::NAMES)
        }),
        uplink_queues: section.read("uplink_queues", default.uplink_queues, |v| {
            integer(v, 0..=1_024)
        }),
        source_ports: section.read("source_ports", default.source_ports, ports),
    };
    if !l7.frames.is_power_of_two() {
        let fix = "write 1024, 2048, 4096 or another power of two";
        section.fault("frames", Wrong::new("is no power of two", fix));
    }
    section.refuse_unknown();
    l7
}

fn limits(section: &Section<'_>) -> Limits {
    let default = Limits::default();
    let read = |key, default: usize, range: RangeInclusive<u32>| {
        section.read(key, default as u32, |v| integer(v, range.clone())) as usize
    };
    Limits {
        head_bytes: read(
            "max_head_bytes",
            default.head_bytes,
            1_024..=default.head_bytes as u32,
        ),
        fields: read("max_fields", default.fields, 8..=MAX_FIELDS as u32),
        target_bytes: read(
            "max_target_bytes",
            default.target_bytes,
            64..=default.head_bytes as u32,
        ),
    }
}

impl L7 {
    /// Why no request passes without a worker; `None` = those may that method
    /// and path decide. The programs do not know the limits, only their own.
    pub fn why_not_in_kernel(&self) -> Option<&'static str> {
        let reasons = [
            (!self.in_kernel, "[l7] in_kernel = false"),
            (
                self.limits.fields < HEAD_FIELDS_MAX as usize,
                "[l7] max_fields is below 64",
            ),
            (
                self.limits.target_bytes < HEAD_MAX as usize,
                "[l7] max_target_bytes is below 992",
            ),
        ];
        reasons.into_iter().find_map(|(is, why)| is.then_some(why))
    }

    /// Threads on a host with so many CPUs.
    pub fn n_workers(&self, n_cpus: usize) -> u32 {
        match self.workers {
            0 => (n_cpus as u32 / 2).clamp(1, 8),
            n => n,
        }
    }
}
