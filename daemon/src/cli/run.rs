//! `terrace run`: the daemon in the foreground.

use std::io::IsTerminal;

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use super::args::{Global, RunArgs};
use super::exit::{Code, Failure};
use crate::config::Config;
use crate::run::{self, Refused};

pub(super) fn run(global: &Global, args: &RunArgs) -> Result<Code, Failure> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|error| Failure::usage(error.to_string(), "write --log info,terrace=debug"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|error| anyhow!("start the log: {error}"))?;
    let config = Config::load(&global.config)?;
    match run::run(config) {
        Ok(()) => Ok(Code::Ok),
        Err(error) => Err(match error.downcast::<Refused>() {
            Ok(refused) => Failure {
                details: refused.faults,
                ..Failure::new(Code::Refused, refused.what, "see `terrace check`")
            },
            Err(error) => error.into(),
        }),
    }
}
