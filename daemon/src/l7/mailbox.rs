//! Packets that came to another worker's queue than that of their flow, and
//! sockets that a worker is given while it runs.

use crossbeam_queue::ArrayQueue;
use terrace_xdp::xsk::MAX_PACKET;

use super::inlet::{Inlet, MAX_INLETS};
use super::wait::Bell;

/// Packets that wait at most; more are lost, as on a full wire.
const SLOTS: usize = 64;

/// A frame, and how long it is.
struct Parcel {
    bytes: Box<[u8; MAX_PACKET]>,
    len: usize,
}

/// Where other workers put packets for one worker. All memory is taken at the
/// start; parcels go round between the two rings.
pub struct Mailbox {
    full: ArrayQueue<Parcel>,
    empty: ArrayQueue<Parcel>,
    inlets: ArrayQueue<Inlet>,
    pub bell: Bell,
}

impl Mailbox {
    pub fn new() -> std::io::Result<Self> {
        let empty = ArrayQueue::new(SLOTS);
        for _ in 0..SLOTS {
            let bytes = Box::new([0; MAX_PACKET]);
            let _ = empty.push(Parcel { bytes, len: 0 });
        }
        Ok(Self {
            full: ArrayQueue::new(SLOTS),
            empty,
            inlets: ArrayQueue::new(MAX_INLETS),
            bell: Bell::new()?,
        })
    }

    /// Copies a frame in; `false` when there is no room.
    pub fn post(&self, frame: &[u8]) -> bool {
        let Some(mut parcel) = self.empty.pop() else {
            return false;
        };
        parcel.len = frame.len().min(MAX_PACKET);
        parcel.bytes[..parcel.len].copy_from_slice(&frame[..parcel.len]);
        // As many rings' places as parcels.
        let _ = self.full.push(parcel);
        self.bell.ring();
        true
    }

    /// Gives the waiting frames to `each`; returns how many.
    pub fn take(&self, mut each: impl FnMut(&[u8])) -> usize {
        let mut n = 0;
        while let Some(parcel) = self.full.pop() {
            each(&parcel.bytes[..parcel.len]);
            let _ = self.empty.push(parcel);
            n += 1;
        }
        n
    }

    /// One more socket for the worker to read.
    pub fn give(&self, inlet: Inlet) {
        // As many places as sockets that a worker may have; see `Tier::open`.
        let _ = self.inlets.push(inlet);
        self.bell.ring();
    }

    /// The next of them.
    pub fn given(&self) -> Option<Inlet> {
        self.inlets.pop()
    }

    pub fn is_empty(&self) -> bool {
        self.full.is_empty() && self.inlets.is_empty()
    }
}
