//! `budget`: how many instructions the verifier walks for each BPF program.

use anyhow::{Result, bail};
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Record what is measured as the new ceilings
    #[arg(long)]
    update: bool,
}

pub fn run(options: &Options) -> Result<()> {
    bail!("not yet {}", options.update)
}
