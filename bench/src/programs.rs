//! `programs`: what a packet costs in the live programs, by BPF_PROG_TEST_RUN
//! with a fresh packet and another key for each run.

pub mod case;
mod cases;
mod egress;
pub mod frame;
pub mod harness;
mod heads;
mod sockets;
mod splices;
pub mod stage;
pub mod tables;
pub mod timing;

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::cpu;
use crate::report::Section;
use crate::result::{ArmResult, Measured};
use crate::run::Context;
use crate::scenario::{Role, Scenario};
use stage::Stage;
use timing::Effort;

#[derive(Debug, Args)]
pub struct Options {
    /// The CPU to run on
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// Fewer and shorter rounds, to see that it works
    #[arg(long)]
    quick: bool,
    /// Shorter rounds, for the standard set
    #[arg(long)]
    short: bool,
    /// Only rows whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Another build of xdp.bpf.c (an object file), to try a change
    #[arg(long)]
    object: Option<PathBuf>,
}

/// As a scenario.
pub fn measure(scenario: &Scenario, context: &Context) -> Result<Measured> {
    let section = run(&Options {
        cpu: scenario.cpus.client,
        quick: context.quick,
        short: context.standard,
        only: None,
        object: None,
    })?;
    let mut measured = context.empty(scenario);
    measured.load = section.title.clone();
    measured.arms = section.rows.iter().map(ArmResult::of_row).collect();
    measured.notes = section.notes;
    measured.notes.push(format!(
        "hardware counters: {}; without them there are no instructions of a packet",
        crate::instructions::availability()
    ));
    measured.arms.extend(verified()?);
    Ok(measured)
}

pub fn run(options: &Options) -> Result<Section> {
    let effort = match (options.quick, options.short) {
        (true, _) => Effort::QUICK,
        (_, true) => Effort::SHORT,
        _ => Effort::FULL,
    };
    let only = options.only.as_deref().unwrap_or_default();
    let mut section = cases::section(&effort);
    for flows in [stage::DEFAULT_FLOWS, stage::LARGE_FLOWS] {
        let limits = stage::limits(flows);
        let mut stage = Stage::new(&limits, options.object.as_deref()).context("set the stage")?;
        on_stage(&mut stage, options.cpu, |stage| {
            cases::run(stage, &effort, only, &mut section)
        })?;
    }
    sockets::run(options.cpu, only, &mut section)?;
    Ok(section)
}

/// Instructions that the verifier walks, of each program.
fn verified() -> Result<Vec<ArmResult>> {
    let stage = Stage::new(&stage::limits(stage::DEFAULT_FLOWS), None)?;
    let arm = |(name, count): (String, u32)| ArmResult {
        name: format!("program {name}"),
        role: Role::Ours,
        samples: [("verified".to_owned(), vec![f64::from(count)])].into(),
        ..ArmResult::default()
    };
    let all = stage.verified().into_iter().chain(sockets::verified()?);
    Ok(all.map(arm).collect())
}

/// Runs on a thread in the host's namespace, on one CPU.
pub fn on_stage<T: Send>(
    stage: &mut Stage,
    cpu: usize,
    work: impl FnOnce(&mut Stage) -> Result<T> + Send,
) -> Result<T> {
    let host = std::fs::File::open(stage.net.host.path())?;
    let inside = move || -> Result<T> {
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(host.as_fd(), kind)?;
        cpu::pin(cpu)?;
        work(stage)
    };
    std::thread::scope(|scope| scope.spawn(inside).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
