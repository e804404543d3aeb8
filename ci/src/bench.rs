//! `bench`: terrace-bench in a release build, as root.

use crate::{setup, shell};
use anyhow::{Result, bail};
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Arguments of terrace-bench; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub fn run(options: &Options) -> Result<()> {
    if !shell::is_root() {
        bail!("benchmarks load BPF programs and make network namespaces: run this as root");
    }
    setup::run()?;
    let mut command = shell::cargo(&["run", "--release", "--locked", "-p", "terrace-bench", "--"]);
    shell::run(command.args(&options.args))
}
