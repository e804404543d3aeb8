//! Events of the programs: what the daemon must act on at once.

use std::os::fd::RawFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use libbpf_rs::{RingBuffer, RingBufferBuilder};

use super::Maps;
use crate::error::io;
use crate::{Error, Plain as _, types};

/// The reading end of the event ring. One reader at a time gets each event.
pub struct Events {
    ring: RingBuffer<'static>,
    received: Receiver<types::event>,
}

impl Maps {
    /// Opens the event ring.
    pub fn events(&self) -> Result<Events, Error> {
        let read_error = |error| Error::Read {
            table: "events",
            source: io(error),
        };
        let (send, received) = channel();
        let mut builder = RingBufferBuilder::new();
        builder
            .add(self.map("events"), move |bytes| {
                if let Some(event) = types::event::from_bytes(bytes) {
                    // Fails only when the receiver is gone, and with it this ring.
                    _ = send.send(event);
                }
                0
            })
            .map_err(read_error)?;
        let ring = builder.build().map_err(read_error)?;
        Ok(Events { ring, received })
    }
}

impl Events {
    /// Waits for events, at most `timeout`; returns those that are there.
    pub fn poll(&self, timeout: Duration) -> Result<Vec<types::event>, Error> {
        match self.ring.poll(timeout) {
            // A signal, or SIGSTOP and SIGCONT: events wait in the ring.
            Err(error) if error.kind() == libbpf_rs::ErrorKind::Interrupted => {}
            polled => polled.map_err(|error| Error::Read {
                table: "events",
                source: io(error),
            })?,
        }
        Ok(self.received.try_iter().collect())
    }

    /// A descriptor that is readable when there are events, for an event loop.
    pub fn epoll_fd(&self) -> RawFd {
        self.ring.epoll_fd()
    }
}
