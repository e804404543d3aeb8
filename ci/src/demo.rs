use anyhow::Result;
use clap::Args;

#[derive(Args, Default)]
pub struct Options {}

pub fn run(_options: &Options) -> Result<()> {
    Ok(())
}
