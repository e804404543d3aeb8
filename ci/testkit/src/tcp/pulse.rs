//! Connections that talk without pause while a test changes things under them.

use super::Echo;
use crate::{Error, Netns, Result, wait};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause between two rounds of one connection: a test shares two cores.
const BREATH: Duration = Duration::from_millis(2);
const ROUND: usize = 700;

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// One a connection.
    rounds: Vec<AtomicU64>,
    failed: AtomicU64,
}

/// Some echo connections, each in its own thread, until [`Pulse::finish`].
#[derive(Debug)]
pub struct Pulse {
    shared: Arc<Shared>,
    servers: Vec<String>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Pulse {
    /// Opens `connections` connections from `ns` and starts to talk on all.
    pub fn start(ns: &Netns, to: SocketAddr, connections: usize) -> Result<Self> {
        let echoes = (0..connections)
            .map(|_| Echo::open(ns, to))
            .collect::<Result<Vec<_>>>()?;
        let servers = echoes.iter().map(|echo| echo.server().to_owned()).collect();
        let shared = Arc::new(Shared {
            rounds: (0..connections).map(|_| AtomicU64::new(0)).collect(),
            ..Shared::default()
        });
        let threads = echoes.into_iter().enumerate().map(|(number, echo)| {
            let shared = shared.clone();
            std::thread::spawn(move || talk(echo, &shared, number))
        });
        Ok(Self {
            threads: threads.collect(),
            servers,
            shared,
        })
    }

    /// The server of each connection.
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// Rounds done by all connections together.
    pub fn rounds(&self) -> u64 {
        self.shared
            .rounds
            .iter()
            .map(|r| r.load(Ordering::Relaxed))
            .sum()
    }

    /// Waits until every connection has done `more` rounds from now on; fails
    /// as soon as one connection has failed.
    pub fn wait_rounds(&self, more: u64) -> Result<()> {
        let goals: Vec<u64> = self
            .shared
            .rounds
            .iter()
            .map(|r| r.load(Ordering::Relaxed) + more)
            .collect();
        let alive = wait::until("more echo rounds", wait::PATIENCE * 2, || {
            if self.shared.failed.load(Ordering::Relaxed) > 0 {
                return Some(false);
            }
            let mut both = self.shared.rounds.iter().zip(&goals);
            both.all(|(r, goal)| r.load(Ordering::Relaxed) >= *goal)
                .then_some(true)
        })?;
        if alive {
            return Ok(());
        }
        Err(Error::wrong(
            "an echo connection has failed; finish() tells why",
        ))
    }

    /// Stops talking; the rounds done, or the first failure of any connection.
    pub fn finish(mut self) -> Result<u64> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(self.rounds())
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn talk(mut echo: Echo, shared: &Shared, number: usize) -> Result<()> {
    while !shared.stop.load(Ordering::Relaxed) {
        if let Err(error) = echo.round(ROUND) {
            shared.failed.fetch_add(1, Ordering::Relaxed);
            let server = echo.server();
            return Err(Error::wrong(format!(
                "connection {number} to {server}: {error}"
            )));
        }
        shared.rounds[number].fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(BREATH);
    }
    Ok(())
}
