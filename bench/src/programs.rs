//! `programs`: what a packet costs in the live programs, by BPF_PROG_TEST_RUN
//! with a fresh packet and another key for each run.

mod cases;
pub mod frame;
pub mod harness;
pub mod stage;
mod tables;
mod timing;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::cpu;
use crate::report::Section;
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
    /// Only rows whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Another build of xdp.bpf.c (an object file), to try a change
    #[arg(long)]
    object: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<Section> {
    let mut stage =
        Stage::new(&stage::limits(), options.object.as_deref()).context("set the stage")?;
    let effort = if options.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let file = stage.net.host.path();
    let host = std::fs::File::open(file)?;
    let work = move || -> Result<Section> {
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&host), kind)?;
        cpu::pin(options.cpu)?;
        let only = options.only.as_deref().unwrap_or_default();
        cases::run(&mut stage, &effort, only)
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
