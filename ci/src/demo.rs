//! `demo`: the main job in network namespaces, every claim checked.

mod daemon;
mod load;
mod proof;
mod say;
mod stage;
mod steps;

use crate::{setup, shell, workspace};
use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::fs::{FlockOperation, flock};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use stage::Stage;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Args, Default)]
pub struct Options {
    /// Use the debug build (builds faster, runs slower)
    #[arg(long)]
    debug: bool,
    /// When a step fails, leave everything as it is until Ctrl-C
    #[arg(long)]
    hold: bool,
}

pub fn run(options: &Options) -> Result<()> {
    if !shell::is_root() {
        bail!("the demo makes network namespaces and loads BPF programs: run it as root");
    }
    setup::run()?;
    let profile = if options.debug { "dev" } else { "release" };
    shell::run(&mut shell::cargo(&[
        "build",
        "--locked",
        "--profile",
        profile,
        "-p",
        "terrace",
    ]))?;
    let folder = if options.debug { "debug" } else { "release" };
    let terrace = workspace::target().join(folder).join("terrace");

    let _lock = lock()?;
    let interrupted = watch_signals()?;
    let start = Instant::now();
    let mut stage = Stage::build(&terrace)?;
    for (number, step) in steps::STEPS.iter().enumerate() {
        say::headline(number + 1, steps::STEPS.len(), step.title);
        let result = (step.run)(&mut stage);
        // Ctrl-C reaches the step's programs too: their failure is no news.
        if interrupted.load(Ordering::Relaxed) {
            drop(stage);
            bail!("interrupted; everything is removed");
        }
        if let Err(error) = result {
            say::daemon_log(&stage.daemon_log());
            hold(options.hold, &error, &interrupted);
            return Err(error.context(format!("step {}: {}", number + 1, step.title)));
        }
    }
    drop(stage);
    say::end(start.elapsed());
    Ok(())
}

fn hold(wanted: bool, error: &anyhow::Error, interrupted: &AtomicBool) {
    if !wanted {
        return;
    }
    eprintln!(
        "{error:#}\nheld: nsenter --net=/run/netns/terrace-demo-host; Ctrl-C removes everything"
    );
    while !interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One demo at a time: its namespaces have fixed names.
fn lock() -> Result<File> {
    let path = "/run/terrace-demo.lock";
    let file = File::create(path).with_context(|| format!("make {path}"))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .context("another `cargo xtask demo` is running")?;
    Ok(file)
}

/// Ctrl-C ends the step, not the process, so that all guards clean up.
fn watch_signals() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, flag.clone()).context("watch signals")?;
    }
    Ok(flag)
}
