//! `growth`: what a packet costs, how long one change takes, and how much
//! memory there is, as one table grows.

mod given;
mod memory;

use anyhow::{Context as _, Result, anyhow, bail};
use indicatif::ProgressBar;
use terrace_abi::Reason;
use terrace_mesh::{Compiler, Tables, diff, parse};

use crate::control;
use crate::programs::case::{self, Case};
use crate::programs::frame::{Keys, Order, TCP_ACK, TCP_SYN};
use crate::programs::harness::{self, Hook, Settings, XDP_DROP};
use crate::programs::on_stage;
use crate::programs::stage::{self, Stage};
use crate::programs::tables::{self, DENY_SCATTER, FIRST_RULE, RULE_PORT, RULE_PORTS};
use crate::programs::timing::{Effort, Times};
use crate::result::{ArmResult, Measured};
use crate::run::Context;
use crate::scenario::{Axis, Role, Scenario};
use terrace::apply::apply;

/// Flows of a measurement, at most.
const FLOWS: u32 = 4096;
/// Slots for 100,000 connections: each has two, and keys are a power of two.
const TRACKED_SLOTS: u32 = 1 << 20;
/// Changes of one service.
const CHANGES: u32 = 9;
const TC_DROP: u32 = 2;

pub fn measure(scenario: &Scenario, context: &Context, bar: &ProgressBar) -> Result<Measured> {
    let curve = scenario.curve.as_ref().context("no [curve]")?;
    let mut growth = Growth {
        cpu: scenario.cpus.client,
        effort: if context.quick { QUICK } else { EFFORT },
        stage: None,
    };
    let mut measured = context.empty(scenario);
    measured.load =
        "BPF_PROG_TEST_RUN, varying keys; units of the empty XDP program of the same run"
            .to_owned();
    for &n in &curve.values {
        crate::interrupt::check()?;
        bar.set_message(format!("{n} {}", curve.axis.shown()));
        for mut arm in growth.at(curve.axis, n)? {
            arm.at = Some(f64::from(n));
            if arm.role == Role::Ours {
                arm.samples
                    .extend(memory::of_daemon(curve.axis, n, context)?);
            }
            measured.arms.push(arm);
        }
        bar.inc(1);
    }
    Ok(measured)
}

const EFFORT: Effort = Effort {
    slice: 50_000,
    slices: 5,
    rounds: 5,
};
const QUICK: Effort = Effort {
    slice: 20_000,
    slices: 1,
    rounds: 3,
};

struct Growth {
    cpu: usize,
    effort: Effort,
    /// Of all points, but where the tables' sizes differ.
    stage: Option<Stage>,
}

impl Growth {
    /// The stage of all points, with tables of `flows` slots.
    fn stage(&mut self, flows: u32) -> Result<&mut Stage> {
        let stage = match self.stage.take() {
            Some(stage) => stage,
            None => Stage::new(&stage::limits(flows), None)?,
        };
        Ok(self.stage.insert(stage))
    }

    fn at(&mut self, axis: Axis, n: u32) -> Result<Vec<ArmResult>> {
        match axis {
            Axis::Services => Ok(vec![self.services(n)?]),
            Axis::Rules => Ok(vec![self.rules(n)?]),
            Axis::Denied => Ok(vec![self.denied(n)?]),
            Axis::Tracked => self.tracked(n),
            Axis::Connections | Axis::Size => bail!("tables do not grow by {}", axis.shown()),
        }
    }

    /// Established flows over all services, and one endpoint of one changed.
    fn services(&self, n: u32) -> Result<ArmResult> {
        let options = control::Options::of(n);
        let limits = control::mesh::limits(&options);
        let mut stage = Stage::new(&limits, None)?;
        let files: Vec<_> = (0..n)
            .map(|at| control::mesh::file(&options, at, None))
            .collect();
        let manifests = parse(&files).map_err(|errors| anyhow!("{errors}"))?;
        let facts = control::mesh::facts(&stage.net, &options, &limits);
        let compiled = Compiler::new(manifests, facts, None);
        let mut compiler = compiled.map_err(|errors| anyhow!("{errors}"))?;
        apply(&stage.maps, &diff(&Tables::new(&limits), compiler.tables()))?;
        let keys = Keys {
            dst_mask: (1 << n.min(FLOWS).ilog2()) - 1,
            ..Keys::clients(
                FLOWS,
                Order::Random,
                control::mesh::address(0),
                control::mesh::PORT,
            )
        };
        on_stage(&mut stage, self.cpu, |stage| {
            case::open_flows(stage, Hook::Xdp, keys.once(), FLOWS)?;
            let settings = case::to_service(stage, keys, TCP_ACK);
            let name = "established flow";
            let case = Case::new(name, Hook::Xdp, settings, Reason::Tx, self.effort);
            let mut arm = arm("established flow, XDP", &case::measure(stage, &case)?);
            let changes = (0..CHANGES).map(|change| {
                let times = control::change(stage, &mut compiler, &options, change)?;
                Ok((times.compile + times.apply).as_secs_f64() * 1e3)
            });
            let changes = changes.collect::<Result<Vec<_>>>()?;
            arm.samples.insert("change_ms".to_owned(), changes);
            arm.samples.insert(
                "maps_mb".to_owned(),
                vec![memory::of_maps(stage.maps.root())?],
            );
            Ok(arm)
        })
    }

    /// Packets that a policy of so many rules denies.
    fn rules(&mut self, n: u32) -> Result<ArmResult> {
        let (cpu, effort) = (self.cpu, self.effort);
        let stage = self.stage(stage::DEFAULT_FLOWS)?;
        let tables = tables::tables(&stage.net, stage.workload, n, Vec::new(), &stage.tables)?;
        stage.install(tables)?;
        on_stage(stage, cpu, |stage| {
            let sources = 1 << n.min(FLOWS).ilog2();
            let keys = Keys {
                src: FIRST_RULE,
                src_shift: 0,
                dport: RULE_PORT,
                dport_mask: RULE_PORTS.min(sources) - 1,
                ..Keys::clients(sources, Order::Random, stage.net.workload("web").v4, 0)
            };
            let settings = Settings {
                verdict: TC_DROP,
                ..case::to_service(stage, keys, TCP_SYN)
            };
            let reason = Reason::IngressDenied;
            let case = Case::new("denied by policy", Hook::Tc, settings, reason, effort);
            with_maps("denied by policy, tc", stage, &case)
        })
    }

    /// Packets that a deny list of so many addresses drops.
    fn denied(&mut self, n: u32) -> Result<ArmResult> {
        let (cpu, effort) = (self.cpu, self.effort);
        let stage = self.stage(stage::DEFAULT_FLOWS)?;
        let deny = tables::deny_list(n);
        let tables = tables::tables(&stage.net, stage.workload, 0, deny, &stage.tables)?;
        stage.install(tables)?;
        stage.deny_list(true)?;
        on_stage(stage, cpu, |stage| {
            let keys = Keys {
                src: [0, 0, 0, 0].into(),
                src_mul: DENY_SCATTER,
                src_shift: 0,
                ..Keys::clients(
                    1 << n.min(FLOWS).ilog2(),
                    Order::Random,
                    tables::SERVICE,
                    tables::SERVICE_PORT,
                )
            };
            let settings = Settings {
                verdict: XDP_DROP,
                ..case::to_service(stage, keys, TCP_SYN)
            };
            let case = Case::new("dropped", Hook::Xdp, settings, Reason::DenyList, effort);
            with_maps("dropped by the deny list, XDP", stage, &case)
        })
    }

    /// Established flows, and the kernel's LRU hash with as many keys.
    fn tracked(&mut self, n: u32) -> Result<Vec<ArmResult>> {
        let (cpu, effort) = (self.cpu, self.effort);
        let stage = self.stage(TRACKED_SLOTS)?;
        let tables = tables::tables(&stage.net, stage.workload, 0, Vec::new(), &stage.tables)?;
        stage.install(tables)?;
        let n = n.next_power_of_two();
        on_stage(stage, cpu, |stage| {
            let keys = Keys::clients(n, Order::Random, tables::SERVICE, tables::SERVICE_PORT);
            case::open_flows(stage, Hook::Xdp, keys.once(), n)?;
            let settings = case::to_service(stage, keys, TCP_ACK);
            let name = "established flow";
            let mut case = Case::new(name, Hook::Xdp, settings.clone(), Reason::Tx, effort);
            case.strays = if n > FLOWS { 0.01 } else { 0.0 };
            let ours = with_maps("established flow, XDP", stage, &case)?;
            let fill = case::to_service(stage, keys.once(), TCP_ACK);
            let [fill, look_up] = harness::lru(TRACKED_SLOTS, &fill, &settings)?;
            harness::run(&fill, &harness::context(Hook::Xdp, stage.ifindex), n)?;
            let mut theirs = arm(
                "LRU_HASH, the look-up alone",
                &case::time(stage, &case, look_up)?,
            );
            theirs.role = Role::Peer;
            case::walk(stage, "empty_bucket")?;
            Ok(vec![ours, theirs])
        })
    }
}

fn with_maps(name: &str, stage: &Stage, case: &Case) -> Result<ArmResult> {
    let mut arm = arm(name, &case::measure(stage, case)?);
    let maps = memory::of_maps(stage.maps.root())?;
    arm.samples.insert("maps_mb".to_owned(), vec![maps]);
    Ok(arm)
}

fn arm(name: &str, times: &Times) -> ArmResult {
    let net = times.best[2] - times.best[1];
    let mut samples: std::collections::BTreeMap<String, Vec<f64>> = [
        ("units".to_owned(), vec![net / times.best[0]]),
        ("net_ns".to_owned(), vec![net]),
    ]
    .into();
    if let Some(count) = times.instructions {
        samples.insert("instructions".to_owned(), vec![count]);
    }
    ArmResult {
        name: name.to_owned(),
        role: Role::Ours,
        samples,
        proof: Some(
            "all packets counted under the reason of this row, the last verdict checked".to_owned(),
        ),
        ..ArmResult::default()
    }
}
