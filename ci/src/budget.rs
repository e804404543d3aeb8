//! `budget`: how many instructions the verifier walks for each BPF program.
//! `terrace-budget` measures; the suite runs its check too.

use crate::{setup, shell};
use anyhow::{Result, bail};
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Record what is measured as the new ceilings
    #[arg(long)]
    update: bool,
}

pub fn run(options: &Options) -> Result<()> {
    if !shell::is_root() {
        bail!("only root may load BPF programs: run this as root");
    }
    setup::run()?;
    let mut command = shell::cargo(&["run", "--quiet", "--locked", "-p", "terrace-budget"]);
    if options.update {
        command.args(["--", "--update"]);
    }
    shell::run(&mut command)
}
