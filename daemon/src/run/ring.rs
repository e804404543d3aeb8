//! Events of the BPF programs, from their ring buffer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use terrace_abi::types;
use tokio::sync::mpsc;

use super::events::Kind;
use super::shared::Shared;

/// How long the thread may outlive the daemon's other parts.
const POLL: Duration = Duration::from_millis(200);

/// Reads the ring on a thread of its own until the receiver is dropped; a ring
/// buffer's handle can't change threads.
///
/// # Errors
/// The thread can't be made.
pub fn read(shared: &Arc<Shared>) -> Result<mpsc::Receiver<types::event>> {
    let (send, receive) = mpsc::channel(1024);
    let shared = Arc::downgrade(shared);
    thread::Builder::new()
        .name("terrace-ring".into())
        .spawn(move || forward(&shared, &send))
        .context("start the thread that reads events of the programs")?;
    Ok(receive)
}

fn forward(shared: &Weak<Shared>, send: &mpsc::Sender<types::event>) {
    let failed = AtomicBool::new(false);
    let tell = |error: &terrace_abi::Error| {
        if !failed.swap(true, Ordering::Relaxed)
            && let Some(shared) = shared.upgrade()
        {
            let what = format!("events of the programs can't be read: {error}");
            shared.events.tell(Kind::KernelRefused, what);
        }
    };
    let Some(ring) = shared.upgrade().map(|shared| shared.maps.events()) else {
        return;
    };
    let ring = match ring {
        Ok(ring) => ring,
        Err(error) => return tell(&error),
    };
    while !send.is_closed() {
        match ring.poll(POLL) {
            Ok(events) => {
                for event in events {
                    // A full channel loses events, never the daemon's time:
                    // the counters of the reasons have them all.
                    let _ = send.try_send(event);
                }
            }
            Err(error) => {
                tell(&error);
                thread::sleep(POLL);
            }
        }
    }
}
