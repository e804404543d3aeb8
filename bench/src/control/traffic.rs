//! Packets through the live XDP program while the tables change under it.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use terrace_abi::Reason;

use super::mesh;
use crate::cpu;
use crate::programs::frame::{Keys, Order, TCP_ACK, TCP_SYN, tcp_frame};
use crate::programs::harness::{self, Driver, Hook, Settings, XDP_TX};
use crate::programs::stage::Stage;

const ESTABLISHED: u32 = 4096;
/// Flows that are opened meanwhile; as many as the source ports of ten
/// backends carry.
const NEW: u32 = 65_536;
/// Packets of one test run: some 10 ms.
const BATCH: u32 = 65_536;

#[derive(Debug)]
pub struct Traffic<'s> {
    stage: &'s Stage,
    established: Driver,
    new: Driver,
}

/// What became of the packets.
#[derive(Debug)]
pub struct Packets {
    pub all: u64,
    pub lost: u64,
    /// Every reason with its count.
    pub ways: String,
}

impl<'s> Traffic<'s> {
    /// Opens the flows that will be the established ones.
    pub fn new(stage: &'s Stage) -> Result<Self> {
        let keys = Keys::clients(ESTABLISHED, Order::Once, mesh::address(0), mesh::PORT);
        let new = Keys {
            src: [192, 168, 0, 0].into(),
            ..Keys::clients(NEW, Order::Once, mesh::address(0), mesh::PORT)
        };
        let traffic = Self {
            stage,
            established: driver(stage, keys, TCP_ACK)?,
            new: driver(stage, new, TCP_SYN)?,
        };
        let opener = driver(stage, keys, TCP_SYN)?;
        let tool = establish(stage, keys)?;
        traffic.inside(None, || {
            traffic.send(&opener)?;
            let context = harness::context(Hook::Xdp, stage.ifindex);
            harness::run(&tool, &context, stage.maps.limits().flow_buckets()).map(drop)
        })?;
        Ok(traffic)
    }

    fn send(&self, driver: &Driver) -> Result<()> {
        let context = harness::context(Hook::Xdp, self.stage.ifindex);
        harness::run(driver, &context, BATCH).map(drop)
    }

    /// Runs on a thread in the host's namespace.
    fn inside(&self, cpu: Option<usize>, work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
        let file = File::open(self.stage.net.host.path())?;
        let inside = || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            cpu.map_or(Ok(()), cpu::pin)?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Sends packets of both kinds while `work` runs on this thread.
    pub fn during<T>(&self, cpu: usize, work: impl FnOnce() -> T) -> Result<(T, Packets)> {
        let before = self.stage.reasons()?;
        let done = AtomicBool::new(false);
        let stream = || {
            while !done.load(Ordering::Relaxed) {
                self.send(&self.established)?;
                self.send(&self.new)?;
            }
            Ok(())
        };
        let result = std::thread::scope(|scope| {
            let sender = scope.spawn(|| self.inside(Some(cpu), stream));
            let result = work();
            done.store(true, Ordering::Relaxed);
            let sent = sender.join();
            sent.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                .context("send packets")?;
            Ok::<T, anyhow::Error>(result)
        })?;
        Ok((result, counted(&before, &self.stage.reasons()?)))
    }
}

fn driver(stage: &Stage, keys: Keys, flags: u8) -> Result<Driver> {
    let settings = settings(stage, keys, flags);
    harness::driver(&stage.maps, Hook::Xdp, &settings, stage.program(Hook::Xdp))
}

/// Makes every flow of the table an answered one: half open ones may give way.
fn establish(stage: &Stage, keys: Keys) -> Result<Driver> {
    harness::tool(&stage.maps, &settings(stage, keys, 0), "establish")
}

fn settings(stage: &Stage, keys: Keys, flags: u8) -> Settings {
    let uplink = &stage.net.uplinks[0];
    Settings {
        frame: tcp_frame(uplink.mac, uplink.router_mac, flags),
        keys,
        verdict: XDP_TX,
        numbered: false,
    }
}

fn counted(before: &[(Reason, u64)], after: &[(Reason, u64)]) -> Packets {
    let count = |counts: &[(Reason, u64)], reason: Reason| -> u64 {
        let counts = counts.iter().filter(|(of, _)| *of == reason);
        counts.map(|(_, packets)| packets).sum()
    };
    let mut packets = Packets {
        all: 0,
        lost: 0,
        ways: String::new(),
    };
    for reason in Reason::ALL {
        let n = count(after, *reason) - count(before, *reason);
        packets.all += n;
        if n > 0 && *reason != Reason::Tx {
            packets.lost += n;
            packets.ways += &format!(" {n} {}", reason.name());
        }
    }
    packets
}
