//! Ctrl-C and SIGTERM: what was built is taken down by its guards before the
//! program ends. The second one ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

static ASKED: AtomicBool = AtomicBool::new(false);
/// Of a shell, for a program that SIGINT has ended.
const INTERRUPTED: i32 = 130;

/// Watches for both signals from now on.
pub fn watch() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let runtime = runtime.context("watch for signals")?;
    // From here on neither ends the program by itself.
    let mut signals = {
        let _inside = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
        let terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
        (interrupt, terminate)
    };
    let watcher = move || loop {
        runtime.block_on(async {
            tokio::select! {
                _ = signals.0.recv() => (),
                _ = signals.1.recv() => (),
            }
        });
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
        eprintln!("interrupted: taking everything down; once more leaves it as it is");
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watcher)?;
    Ok(())
}

pub fn is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// An error once somebody has asked for the end. To be called between the
/// parts of a measurement.
pub fn check() -> Result<()> {
    ensure!(!is_asked(), "interrupted");
    Ok(())
}
