//! Waiting for a condition, never for a time.

use crate::{Error, Netns, Result};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that works never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(5);

/// Asks `probe` until it has a value; fails at the limit.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        if start.elapsed() >= limit {
            return Err(Error::Timeout {
                what: what.to_owned(),
                millis: limit.as_millis(),
            });
        }
        std::thread::sleep(STEP);
    }
}

/// Waits until a TCP connection from `ns` to `to` opens.
pub fn port(ns: &Netns, to: SocketAddr, limit: Duration) -> Result<()> {
    let what = format!("open port {to} seen from {}", ns.name());
    ns.enter(|| {
        until(&what, limit, || {
            TcpStream::connect_timeout(&to, Duration::from_millis(250)).ok()
        })
    })??;
    Ok(())
}

/// A call that blocks, made again when only a signal ended it: as when a machine is stopped
/// and goes on.
pub fn whole<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
