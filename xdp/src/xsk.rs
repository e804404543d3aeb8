//! AF_XDP sockets: packets to and from a queue of an interface, past the stack.
//!
//! One [`Memory`] (UMEM) is shared by the sockets of all workers; each socket
//! has frames of its own in it, so that no two threads ever share one. What is
//! received is lent to a closure and its frames go back to the kernel; what is
//! sent is written into a frame of the sender's by a closure. So nothing is
//! allocated, and no frame can be lost or used twice.

mod memory;
mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

pub use memory::{Memory, MemorySize};
pub use receive::Receiver;
pub use send::Sender;

/// Packets that are taken or given at once.
pub const BATCH: usize = 64;
/// Bytes of a frame; also the alignment that the kernel wants.
pub const FRAME_BYTES: usize = 4096;
/// Bytes of a packet that one frame holds: the kernel keeps room in front.
pub const FRAME_ROOM: u32 = FRAME_BYTES as u32 - 256;
/// The largest packet, with its Ethernet header.
pub const MAX_PACKET: usize = 9_216;

/// The longest packet, with its Ethernet header, that passes sockets in copy
/// mode on this kernel: before Linux 6.6 what one frame holds.
pub fn longest_packet() -> u32 {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    match takes_several_frames(&release) {
        true => MAX_PACKET as u32,
        false => FRAME_ROOM,
    }
}

/// `6.12.117+deb12-amd64` does.
fn takes_several_frames(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    (next(), next()) >= (Some(6), Some(6))
}

/// How a socket is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bind {
    /// The kernel copies; works on every device with native or generic XDP.
    Copy,
    /// The device writes into the frames. Packets are no longer than a frame.
    ZeroCopy,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum XskError {
    /// The UMEM.
    #[error(
        "make {mib} MiB of packet memory for AF_XDP: raise the limit of locked memory \
         (LimitMEMLOCK=infinity), or make [l7] frames smaller"
    )]
    Memory {
        /// How much was asked for.
        mib: usize,
        /// Why not.
        source: xsk_rs::umem::UmemCreateError,
    },
    /// The socket.
    #[error("bind an AF_XDP socket to queue {queue} of {iface}")]
    Socket {
        /// The interface.
        iface: String,
        /// Its queue.
        queue: u32,
        /// Why not.
        source: xsk_rs::socket::SocketCreateError,
    },
    /// A socket on this queue exists already.
    #[error("queue {queue} of {iface} has an AF_XDP socket already")]
    Taken {
        /// The interface.
        iface: String,
        /// Its queue.
        queue: u32,
    },
    /// Waiting or waking failed.
    #[error("AF_XDP socket: {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// A bound socket: a receiver and a sender for one thread.
#[derive(Debug)]
pub struct Xsk {
    pub receiver: Receiver,
    pub sender: Sender,
}

/// What the kernel counted for a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XskStats {
    /// No frame was free, or the ring was full: the worker is too slow.
    pub overruns: u64,
    /// Packets that the kernel refused.
    pub refused: u64,
}

impl Xsk {
    /// The descriptor, for the XSKMAP.
    pub fn fd(&self) -> RawFd {
        self.receiver.fd()
    }

    /// Lets the kernel poll the device from this thread's system calls instead
    /// of interrupts.
    pub fn busy_poll(&self, budget: u32, time: Duration) -> Result<(), XskError> {
        self.receiver
            .busy_poll(budget, time)
            .map_err(|source| XskError::Io {
                what: "switch busy polling on",
                source,
            })
    }

    /// Whether the device writes into the frames: what the kernel says of the
    /// bound socket, not what was asked for.
    pub fn is_zero_copy(&self) -> Result<bool, XskError> {
        receive::is_zero_copy(self.fd()).map_err(|source| XskError::Io {
            what: "read its options",
            source,
        })
    }

    /// What was lost so far.
    pub fn stats(&self) -> Result<XskStats, XskError> {
        self.receiver.stats().map_err(|source| XskError::Io {
            what: "read its statistics",
            source,
        })
    }
}
