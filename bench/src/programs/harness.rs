//! The driver programs, loaded with one set of keys.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, anyhow, ensure};
use libbpf_rs::{MapCore as _, MapFlags, Object, ObjectBuilder, OpenObject};
use terrace_abi::{Maps, messages, sys};

use super::frame::{FRAME_BYTES, Keys, Order};

const HARNESS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/harness.bpf.o"));
const LRU: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lru.bpf.o"));
const TARGET: [u8; 4] = 0u32.to_ne_bytes();
pub const XDP_PASS: u32 = 2;
pub const XDP_DROP: u32 = 1;
pub const XDP_TX: u32 = 3;

/// What the drivers are told before they are loaded.
#[derive(Debug, Clone)]
pub struct Settings {
    pub frame: [u8; FRAME_BYTES],
    pub keys: Keys,
    /// What the empty program answers: the same as the program under test.
    pub verdict: u32,
    /// Whether the frame is one of a worker's: the key is its flow's number.
    pub numbered: bool,
}

impl Settings {
    /// `struct settings` of harness.bpf.h.
    pub fn to_bytes(&self, bucket_mask: u32, ifindex: u32) -> Vec<u8> {
        let keys = &self.keys;
        let words = [
            keys.n_keys - 1,
            match keys.order {
                Order::Random => 0,
                Order::Once => 1,
            },
            keys.src.to_bits(),
            keys.src_mul,
            keys.src_shift,
            keys.dst.to_bits(),
            keys.dst_mask,
            keys.sport.into(),
            keys.sport_mask,
            keys.dport.into(),
            keys.dport_mask,
            self.verdict,
            bucket_mask,
            ifindex,
            self.numbered.into(),
            0,
        ];
        let mut bytes = self.frame.to_vec();
        bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }
}

/// A loaded object and the program of it that is run.
#[derive(Debug)]
pub struct Driver {
    /// Keeps the maps of the object.
    _object: Object,
    program: OwnedFd,
    /// What it is given: room for what it writes, and what follows.
    packet: Vec<u8>,
}

impl Driver {
    /// Packets have these bytes behind what the driver writes (tc alone).
    pub fn with_tail(mut self, tail: &[u8]) -> Self {
        self.packet.extend_from_slice(tail);
        self
    }
}

impl AsFd for Driver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// Which hook a driver runs at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    /// What the uplink receives.
    Tc,
    /// What a workload sends.
    TcWorkload,
    /// What the host sends out.
    TcUplinkEgress,
    /// What the host sends to a workload.
    TcWorkloadEgress,
    /// What workers send.
    TcPort,
}

impl Hook {
    fn drive(self) -> &'static str {
        match self {
            Self::Xdp => "drive_xdp",
            _ => "drive_tc",
        }
    }

    fn targets(self) -> &'static str {
        match self {
            Self::Xdp => "xdp_targets",
            _ => "tc_targets",
        }
    }

    fn empty(self) -> &'static str {
        match self {
            Self::Xdp => "empty_xdp",
            _ => "empty_tc",
        }
    }
}

/// Writes packets and calls `target`.
pub fn driver(
    maps: &Maps,
    hook: Hook,
    settings: &Settings,
    target: BorrowedFd<'_>,
) -> Result<Driver> {
    let object = load_harness(maps, settings)?;
    set_target(&object, hook, target)?;
    pick(object, hook.drive())
}

/// Writes packets and calls the empty program: the floor.
pub fn floor(maps: &Maps, hook: Hook, settings: &Settings) -> Result<Driver> {
    let object = load_harness(maps, settings)?;
    let empty = program(&object, hook.empty())?;
    set_target(&object, hook, empty.as_fd())?;
    pick(object, hook.drive())
}

/// Any other program of the harness: `empty_xdp`, `establish`, `empty_bucket`.
pub fn tool(maps: &Maps, settings: &Settings, name: &str) -> Result<Driver> {
    pick(load_harness(maps, settings)?, name)
}

/// The LRU hash of `capacity` entries: the programs that fill it and look up.
pub fn lru(capacity: u32, fill: &Settings, look: &Settings) -> Result<[Driver; 2]> {
    let mut open = open("lru", LRU, &fill.to_bytes(0, 0))?;
    for mut map in open.maps_mut() {
        if map.name() == "peers" {
            map.set_max_entries(capacity)?;
        }
    }
    let filler = load(open)?;
    let mut open = self::open("lru", LRU, &look.to_bytes(0, 0))?;
    let peers = filler.maps().find(|map| map.name() == "peers");
    let peers = peers.context("lru.bpf.c has no map `peers`")?;
    for mut map in open.maps_mut() {
        if map.name() == "peers" {
            map.set_max_entries(capacity)?;
            map.reuse_fd(peers.as_fd())?;
        }
    }
    Ok([
        pick(filler, "lru_insert")?,
        pick(load(open)?, "lru_lookup")?,
    ])
}

fn load_harness(maps: &Maps, settings: &Settings) -> Result<Object> {
    let bytes = settings.to_bytes(maps.limits().flow_buckets() - 1, 0);
    let mut open = open("harness", HARNESS, &bytes)?;
    let flows = maps.handle("flows").context("the tables have no `flows`")?;
    for mut map in open.maps_mut() {
        if map.name() == "flows" {
            map.reuse_fd(flows.as_fd())?;
        }
    }
    load(open)
}

/// Opens an object with its `settings`.
pub fn open(name: &str, bytes: &[u8], settings: &[u8]) -> Result<OpenObject> {
    let mut open = ObjectBuilder::default().name(name)?.open_memory(bytes)?;
    for mut map in open.maps_mut() {
        if !map.name().to_string_lossy().ends_with(".rodata") {
            continue;
        }
        let value = map.initial_value_mut().context("no value of .rodata")?;
        ensure!(
            value.len() == settings.len(),
            "{name}: struct settings has {} bytes in C and {} in Rust",
            value.len(),
            settings.len()
        );
        value.copy_from_slice(settings);
    }
    Ok(open)
}

/// Opens an object without any.
pub fn open_plain(name: &str, bytes: &[u8]) -> Result<OpenObject> {
    Ok(ObjectBuilder::default().name(name)?.open_memory(bytes)?)
}

/// Loads an opened object.
pub fn load(open: OpenObject) -> Result<Object> {
    let (object, log) = messages::capture(|| open.load());
    object.with_context(|| format!("load a driver: {log}"))
}

fn set_target(object: &Object, hook: Hook, target: BorrowedFd<'_>) -> Result<()> {
    let targets = object.maps().find(|map| map.name() == hook.targets());
    let targets = targets.context("harness.bpf.c has no such map")?;
    let fd = target.as_raw_fd() as u32;
    targets
        .update(&TARGET, &fd.to_ne_bytes(), MapFlags::ANY)
        .context("put the program under test into the driver's table")
}

fn program(object: &Object, name: &str) -> Result<OwnedFd> {
    let found = object.progs().find(|program| program.name() == name);
    let found = found.ok_or_else(|| anyhow!("no program `{name}` in this object"))?;
    Ok(found.as_fd().try_clone_to_owned()?)
}

fn pick(object: Object, name: &str) -> Result<Driver> {
    Ok(Driver {
        program: program(&object, name)?,
        _object: object,
        packet: vec![0; FRAME_BYTES],
    })
}

/// A context whose device is `ifindex`, for `hook`.
pub fn context(hook: Hook, ifindex: u32) -> Vec<u8> {
    context_of(hook, ifindex, FRAME_BYTES)
}

/// The same for a frame of `size` bytes.
pub fn context_of(hook: Hook, ifindex: u32, size: usize) -> Vec<u8> {
    let put = |bytes: &mut Vec<u8>, at: usize, value: u32| {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    };
    let (len, fields) = match hook {
        // struct xdp_md: data_end, ingress_ifindex.
        Hook::Xdp => (24, [(4, size as u32), (12, ifindex)]),
        // struct __sk_buff: ingress_ifindex, ifindex.
        _ => (44, [(36, ifindex), (40, ifindex)]),
    };
    let mut bytes = vec![0; len];
    for (at, value) in fields {
        put(&mut bytes, at, value);
    }
    bytes
}

/// Runs a driver `repeat` times: its last verdict and the kernel's mean.
pub fn run(driver: &Driver, context: &[u8], repeat: u32) -> Result<sys::RunOutput> {
    sys::test_run(driver.as_fd(), &driver.packet, Some(context), repeat)
        .context("BPF_PROG_TEST_RUN of a driver")
}
