//! What a process is told by signals. Listening begins before anything on the
//! host changes: a stop in the middle of a start takes effect when that is done.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
pub struct Stop {
    term: Signal,
    int: Signal,
}

pub struct Signals {
    pub stop: Stop,
    /// SIGHUP: the files are to be read again.
    pub hangup: Signal,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        let of = |kind| signal(kind).context("listen for signals");
        Ok(Self {
            stop: Stop {
                term: of(SignalKind::terminate())?,
                int: of(SignalKind::interrupt())?,
            },
            hangup: of(SignalKind::hangup())?,
        })
    }
}

impl Stop {
    /// Waits for one, or finds one that has come before.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
