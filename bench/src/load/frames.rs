//! Frames sent from the outside into the host's uplink, and counted when they
//! come back.

use std::os::fd::AsFd as _;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context as _, Result, ensure};
use libbpf_rs::{MapCore as _, MapFlags, Object, ProgramInput};
use terrace_abi::sys;
use terrace_testkit::Netns;

use super::sender::Sender;
use super::{Sample, packets};
use crate::cpu;
use crate::lab::Arm;
use crate::lab::net::{NIC, Net, OUTSIDE_MAC, UPLINK, UPLINK_MAC};
use crate::programs::frame::{FRAME_BYTES, Keys, Order, udp_frame};
use crate::programs::harness::{self, Hook, Settings, XDP_DROP};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/live.bpf.o"));
/// include/uapi/linux/bpf.h.
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 2;
/// Flows that the frames belong to.
pub const FLOWS: u32 = 256;
/// Frames of one call: some tens of milliseconds.
const FRAMES: u32 = 100_000;
/// A page less what the kernel keeps in it (net/bpf/test_run.c).
const LARGEST: usize = 3400;

#[derive(Debug)]
pub struct Generator {
    /// Running a program needs it for itself.
    object: Mutex<Object>,
    /// None: the frames are live ones.
    socket: Option<Mutex<Sender>>,
    ifindex: u32,
    size: usize,
}

impl Generator {
    /// Puts the sink where the arm's frames end: on the outside,
    /// or at the host's uplink for the floor.
    pub fn new(arm: &Arm, size: usize, by_socket: bool) -> Result<Self> {
        ensure!(
            (FRAME_BYTES..=LARGEST).contains(&size),
            "generated frames have {FRAME_BYTES} to {LARGEST} bytes: use the load `udp` for others"
        );
        let (address, port) = arm.remote();
        let keys = Keys::clients(FLOWS, Order::Random, address, port);
        let settings = Settings {
            frame: udp_frame(UPLINK_MAC, OUTSIDE_MAC, size),
            keys,
            verdict: XDP_DROP,
            numbered: false,
        };
        let ifindex = index_of(&arm.net.outside, NIC)?;
        let bytes = settings.to_bytes(0, ifindex);
        let object = harness::load(harness::open("live", OBJECT, &bytes)?)?;
        let mut generator = Self {
            object: Mutex::new(object),
            socket: None,
            ifindex,
            size,
        };
        generator.attach_sink(arm)?;
        if by_socket {
            let sender = Sender::new(&arm.net.outside, &settings, size)?;
            generator.socket = Some(Mutex::new(sender));
        }
        Ok(generator)
    }

    fn attach_sink(&self, arm: &Arm) -> Result<()> {
        let net = &arm.net;
        let object = self.object();
        let sink = object.progs().find(|program| program.name() == "sink");
        let sink = sink.context("no program `sink` in live.bpf.c")?;
        let sink = sink.as_fd();
        if arm.drops() {
            let ifindex = index_of(&net.host, UPLINK)?;
            let attach = || sys::xdp_attach(ifindex, sink, sys::XdpMode::Native);
            return Ok(net.host.enter(attach)??);
        }
        // A veth takes redirected frames only when it polls: by GRO where no
        // XDP program runs.
        net.host.run("ethtool", &["-K", UPLINK, "gro", "on"])?;
        let attach = || sys::xdp_attach(self.ifindex, sink, sys::XdpMode::Native);
        Ok(net.outside.enter(attach)??)
    }

    fn object(&self) -> MutexGuard<'_, Object> {
        locked(&self.object)
    }

    pub fn run(&self, arm: &Arm, seconds: f64, cpu: usize) -> Result<Sample> {
        match &self.socket {
            Some(socket) => self.run_socket(&mut locked(socket), arm, seconds, cpu),
            None => self.run_live(arm, seconds, cpu),
        }
    }

    fn run_socket(
        &self,
        socket: &mut Sender,
        arm: &Arm,
        seconds: f64,
        cpu: usize,
    ) -> Result<Sample> {
        let before = self.arrived()?;
        let sent = socket.send(&arm.net.outside, seconds, cpu)?;
        let arrived = self.arrived()? - before;
        let mut sample = packets(sent.frames, arrived, sent.seconds, Some(cpu));
        let calls = sent.calls as f64 / sent.frames.max(1) as f64;
        sample.metrics.push(("sender_calls", calls));
        Ok(sample)
    }

    /// Sends for `seconds` of the kernel's own time.
    fn run_live(&self, arm: &Arm, seconds: f64, cpu: usize) -> Result<Sample> {
        let before = self.arrived()?;
        let send = || -> Result<(u64, f64)> {
            cpu::pin(cpu)?;
            let (mut sent, mut nanoseconds) = (0, 0.0);
            while nanoseconds < seconds * 1e9 {
                nanoseconds += self.send()? * f64::from(FRAMES);
                sent += u64::from(FRAMES);
            }
            Ok((sent, nanoseconds))
        };
        let (sent, nanoseconds) = arm.net.outside.enter(send)??;
        let arrived = self.arrived()? - before;
        Ok(packets(sent, arrived, nanoseconds / 1e9, Some(cpu)))
    }

    /// Nanoseconds a frame.
    fn send(&self) -> Result<f64> {
        generate(&mut self.object(), self.ifindex, self.size, FRAMES)
    }

    fn arrived(&self) -> Result<u64> {
        let object = self.object();
        let map = object.maps().find(|map| map.name() == "arrived");
        let map = map.context("no map `arrived` in live.bpf.c")?;
        let values = map.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)?;
        let values = values.context("`arrived` has one entry")?;
        let values = values.iter().filter_map(|value| value.first_chunk::<8>());
        Ok(values.map(|value| u64::from_ne_bytes(*value)).sum())
    }
}

/// Sends one live frame of each key, from the outside into the host's uplink.
pub fn send_each(net: &Net, settings: &Settings) -> Result<()> {
    // A veth takes redirected frames only when it polls.
    net.host.run("ethtool", &["-K", UPLINK, "gro", "on"])?;
    let ifindex = index_of(&net.outside, NIC)?;
    let bytes = settings.to_bytes(0, ifindex);
    let mut object = harness::load(harness::open("live", OBJECT, &bytes)?)?;
    let n_keys = settings.keys.n_keys;
    let send = || generate(&mut object, ifindex, FRAME_BYTES, n_keys);
    net.outside.enter(send)??;
    Ok(())
}

/// Sends `n` frames: nanoseconds a frame.
fn generate(object: &mut Object, ifindex: u32, size: usize, n: u32) -> Result<f64> {
    let mut context = harness::context_of(Hook::Xdp, ifindex, size);
    let frame = vec![0; size];
    let generate = object.progs_mut().find(|p| p.name() == "generate");
    let generate = generate.context("no program `generate` in live.bpf.c")?;
    let output = generate.test_run(ProgramInput {
        context_in: Some(&mut context),
        data_in: Some(&frame),
        flags: BPF_F_TEST_XDP_LIVE_FRAMES,
        repeat: n,
        ..ProgramInput::default()
    })?;
    Ok(output.duration.as_nanos() as f64)
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(|poison| poison.into_inner())
}

fn index_of(ns: &Netns, name: &str) -> Result<u32> {
    let interfaces = ns.enter(sys::interfaces)??;
    let found = interfaces.iter().find(|(_, found)| found == name);
    found
        .map(|(index, _)| *index)
        .with_context(|| format!("no interface {name}"))
}
