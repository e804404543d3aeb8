//! Where a worker's packets come in: its queue of the port, and queues of
//! uplinks, which come and go while it runs.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use terrace_xdp::xsk::Receiver;

use super::stats::Count;

/// Sockets that one worker reads at most.
pub const MAX_INLETS: usize = 32;
/// A socket that is to be closed is read until it was empty for so long: the
/// programs that still had its place in hand are through by then.
const LINGER_MS: u64 = 100;

/// A socket as others see it.
#[derive(Debug, Default)]
pub struct InletState {
    pub packets: Count,
    /// Packets that the kernel had no frame or no place for.
    pub overruns: Count,
    leaves: AtomicBool,
    has_left: AtomicBool,
}

impl InletState {
    /// Has the worker close it, when what came by it is read.
    pub fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }

    /// Whether the worker has closed it: its queue is free.
    pub fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Relaxed)
    }
}

/// A socket that a worker reads.
pub struct Inlet {
    receiver: Receiver,
    state: Arc<InletState>,
    /// Of one that leaves: since when nothing came.
    empty_since: Option<u64>,
}

impl Inlet {
    pub fn new(receiver: Receiver, state: Arc<InletState>) -> Self {
        Self {
            receiver,
            state,
            empty_since: None,
        }
    }

    /// Lends what has come to `each`; how many frames.
    pub fn receive(&mut self, each: impl FnMut(&[u8])) -> usize {
        let n = self.receiver.receive(each);
        if n > 0 {
            self.state.packets.add(n as u64);
        }
        n
    }

    /// Whether nothing can come by it any more.
    pub fn is_over(&mut self, now: u64, received: usize) -> bool {
        if !self.state.leaves.load(Ordering::Relaxed) {
            return false;
        }
        if received > 0 {
            self.empty_since = None;
        }
        now - *self.empty_since.get_or_insert(now) >= LINGER_MS
    }

    /// Asks the kernel what it could not deliver; a system call.
    pub fn measure(&self) -> u64 {
        if let Ok(kernels) = self.receiver.stats() {
            self.state.overruns.set(kernels.overruns);
        }
        self.state.overruns.get()
    }

    /// Zero-copy devices wait to be told of frames; asking costs a call.
    pub fn wake_if_asked(&mut self) {
        let _ = self.receiver.wake_if_asked();
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        // The socket itself closes behind this; whoever binds anew tries again.
        self.state.has_left.store(true, Ordering::Relaxed);
    }
}
