//! One packet kind at one hook: timed beside the floor, and proved.

use anyhow::{Context as _, Result, ensure};
use terrace_abi::Reason;

use super::frame::{Keys, Order, TCP_SYN, tcp_frame};
use super::harness::{self, Hook, Settings, XDP_TX};
use super::stage::Stage;
use super::tables;
use super::timing::{self, Arm, Effort, Times};

/// One packet kind at one hook.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub hook: Hook,
    pub settings: Settings,
    pub reason: Reason,
    /// Units of the empty program.
    pub target: Option<f64>,
    /// Empty the connection table before each slice.
    pub forget: bool,
    /// Share of packets that may take another way: those whose flow found no
    /// room in a table that is half full.
    pub strays: f64,
    pub effort: Effort,
}

impl Case {
    /// Without a target, and every packet goes that way.
    pub fn new(name: &str, hook: Hook, settings: Settings, reason: Reason, effort: Effort) -> Self {
        Self {
            name: name.to_owned(),
            hook,
            settings,
            reason,
            target: None,
            forget: false,
            strays: 0.0,
            effort,
        }
    }
}

/// A packet for a service, to be sent back out.
pub fn to_service(stage: &Stage, keys: Keys, flags: u8) -> Settings {
    let uplink = &stage.net.uplinks[0];
    Settings {
        frame: tcp_frame(uplink.mac, uplink.router_mac, flags),
        keys,
        verdict: XDP_TX,
        numbered: false,
    }
}

/// Opens a flow for each key, as answered ones.
pub fn open_flows(stage: &Stage, hook: Hook, keys: Keys, n: u32) -> Result<()> {
    let reason = if hook == Hook::Xdp {
        Reason::Tx
    } else {
        Reason::ToWorkload
    };
    open(stage, hook, &to_service(stage, keys, TCP_SYN), n, reason)
}

/// Sends `n` packets that open flows, and marks those as answered.
pub fn open(stage: &Stage, hook: Hook, first: &Settings, n: u32, reason: Reason) -> Result<()> {
    let driver = harness::driver(&stage.maps, hook, first, stage.program(hook))?;
    let before = stage.reasons()?;
    harness::run(&driver, &harness::context(hook, stage.ifindex(hook)), n)?;
    proved(&before, &stage.reasons()?, reason, n.into(), 0.0).context("open the flows")?;
    walk(stage, "establish")
}

/// Runs a program of the harness once for each bucket of the flow table.
pub fn walk(stage: &Stage, name: &str) -> Result<()> {
    let keys = Keys::clients(1, Order::Once, tables::SERVICE, tables::SERVICE_PORT);
    let settings = to_service(stage, keys, 0);
    let tool = harness::tool(&stage.maps, &settings, name)?;
    let context = harness::context(Hook::Xdp, stage.ifindex);
    harness::run(&tool, &context, stage.maps.limits().flow_buckets())?;
    Ok(())
}

/// What a case needs beside its packets.
#[derive(Clone, Copy)]
pub struct Anew<'a> {
    /// Bytes of each packet behind those of the frame.
    pub tail: &'a [u8],
    /// Brings back what a slice has changed; runs before each.
    pub restore: &'a dyn Fn() -> Result<()>,
}

/// Times a case, and proves from the counters that every packet took the way
/// that the case is about.
pub fn measure(stage: &Stage, case: &Case) -> Result<Times> {
    let restore = || match case.forget {
        true => walk(stage, "empty_bucket"),
        false => Ok(()),
    };
    let anew = Anew {
        tail: &[],
        restore: &restore,
    };
    measure_anew(stage, case, anew)
}

/// The same for packets that change what they meet.
pub fn measure_anew(stage: &Stage, case: &Case, anew: Anew<'_>) -> Result<Times> {
    let target = stage.program(case.hook);
    let driver = harness::driver(&stage.maps, case.hook, &case.settings, target)?;
    let before = stage.reasons()?;
    let times = time_anew(stage, case, driver, anew).with_context(|| case.name.clone())?;
    let runs = case.effort.runs() + u64::from(times.counted);
    proved(&before, &stage.reasons()?, case.reason, runs, case.strays)
        .with_context(|| case.name.clone())?;
    Ok(times)
}

/// Unit, floor and the program under test, in turns.
pub fn time(stage: &Stage, case: &Case, driver: harness::Driver) -> Result<Times> {
    let anew = Anew {
        tail: &[],
        restore: &|| Ok(()),
    };
    time_anew(stage, case, driver, anew)
}

fn time_anew(stage: &Stage, case: &Case, driver: harness::Driver, anew: Anew<'_>) -> Result<Times> {
    let (settings, hook) = (&case.settings, case.hook);
    let unit = harness::tool(&stage.maps, settings, "empty_xdp")?;
    let floor = harness::floor(&stage.maps, hook, settings)?.with_tail(anew.tail);
    let driver = driver.with_tail(anew.tail);
    let arm = |driver, hook| Arm {
        driver,
        hook,
        ifindex: stage.ifindex(hook),
        verdict: (case.strays == 0.0).then_some(settings.verdict),
    };
    let arms = [arm(&unit, Hook::Xdp), arm(&floor, hook), arm(&driver, hook)];
    timing::time(&arms, &case.effort, |at| match at {
        0 => (anew.restore)(),
        _ => Ok(()),
    })
}

/// Between the two readings `expected` packets were counted, all but a share of
/// `strays` for `reason`.
fn proved(
    before: &[(Reason, u64)],
    after: &[(Reason, u64)],
    reason: Reason,
    expected: u64,
    strays: f64,
) -> Result<()> {
    let count = |counts: &[(Reason, u64)], reason: Reason| {
        let counts = counts.iter().filter(|(of, _)| *of == reason);
        counts.map(|(_, packets)| packets).sum::<u64>()
    };
    let gone = |of: &Reason| count(after, *of) - count(before, *of);
    let all: u64 = Reason::ALL.iter().map(gone).sum();
    let other = all - gone(&reason);
    let ways = Reason::ALL.iter().filter(|of| gone(of) > 0);
    let ways: Vec<String> = ways
        .map(|of| format!("{} {}", gone(of), of.name()))
        .collect();
    ensure!(
        all == expected && other as f64 <= expected as f64 * strays,
        "{expected} packets should have been counted as {}, but: {}",
        reason.name(),
        ways.join(", ")
    );
    if other > 0 {
        eprintln!("  {}", ways.join(", "));
    }
    Ok(())
}
