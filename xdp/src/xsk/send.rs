//! Giving packets.

use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, TxQueue, Umem};

use super::{BATCH, FRAME_ROOM, MAX_PACKET};

const ROOM: usize = FRAME_ROOM as usize;
const MORE: u32 = 1; // XDP_PKT_CONTD
const MAX_KICKS: u32 = 16;
const MAX_FRAMES: usize = MAX_PACKET.div_ceil(ROOM);

/// The sending half of a socket.
#[derive(Debug)]
pub struct Sender {
    umem: Umem,
    tx: TxQueue,
    comp: CompQueue,
    free: Vec<FrameDesc>,
    /// Written, not yet in the ring.
    ready: Vec<FrameDesc>,
    done: Box<[FrameDesc]>,
    ring_size: u32,
    scratch: Box<[u8]>,
    /// Packets for which there was no frame.
    pub dropped: u64,
    /// System calls so far.
    pub kicks: u64,
}

impl Sender {
    pub(super) fn new(
        umem: Umem,
        tx: TxQueue,
        comp: CompQueue,
        free: Vec<FrameDesc>,
        scratch: Box<[u8]>,
    ) -> Self {
        Self {
            umem,
            tx,
            comp,
            ring_size: free.len() as u32,
            ready: Vec::with_capacity(free.len()),
            free,
            done: vec![FrameDesc::default(); BATCH].into_boxed_slice(),
            scratch,
            dropped: 0,
            kicks: 0,
        }
    }

    /// Has `write` write a packet of at most `max_len` bytes, with its Ethernet
    /// header; it returns the length, 0 = none. `false`: there was no room, the
    /// packet is lost, as on a full wire.
    #[inline]
    pub fn send(&mut self, max_len: usize, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.free.len() < MAX_FRAMES {
            self.push();
            self.reclaim();
        }
        if max_len > ROOM {
            return self.send_large(write);
        }
        let Some(desc) = self.free.last_mut() else {
            self.dropped += 1;
            return false;
        };
        // SAFETY: the frame is free: no ring has it.
        let mut data = unsafe { self.umem.data_mut(desc) };
        data.cursor().set_pos(max_len);
        let len = write(data.contents_mut());
        data.cursor().set_pos(len.min(max_len));
        desc.set_options(0);
        if len > 0 {
            self.ready.extend(self.free.pop());
        }
        true
    }

    /// A packet of several frames.
    fn send_large(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let len = write(&mut self.scratch).min(MAX_PACKET);
        let n_frames = len.div_ceil(ROOM);
        if self.free.len() < n_frames {
            self.dropped += 1;
            return false;
        }
        let Self {
            umem,
            free,
            ready,
            scratch,
            ..
        } = self;
        for (i, part) in scratch[..len].chunks(ROOM).enumerate() {
            let Some(mut desc) = free.pop() else { break };
            // SAFETY: the frame is free: no ring has it.
            let mut data = unsafe { umem.data_mut(&mut desc) };
            data.cursor().set_pos(part.len());
            data.contents_mut()[..part.len()].copy_from_slice(part);
            desc.set_options(if i + 1 < n_frames { MORE } else { 0 });
            ready.push(desc);
        }
        true
    }

    /// Gives what is written to the kernel, with a system call where it must be
    /// told.
    pub fn flush(&mut self) {
        self.push();
        if self.in_ring() > 0 {
            self.reclaim();
        }
    }

    /// Frames that the kernel has not taken yet.
    pub fn n_waiting(&mut self) -> usize {
        self.ready.len() + self.in_ring() as usize
    }

    fn in_ring(&mut self) -> u32 {
        self.ring_size - self.tx.nb_free_exact()
    }

    fn push(&mut self) {
        if !self.ready.is_empty() {
            // SAFETY: the frames are of this memory, written, and in no other ring.
            let n = unsafe { self.tx.produce(&self.ready) };
            self.ready.drain(..n);
        }
    }

    /// Takes frames back that the kernel has sent.
    fn reclaim(&mut self) {
        // A call takes a part only; a kernel that is busy sends later, and the
        // next flush asks again.
        for _ in 0..MAX_KICKS {
            if self.in_ring() == 0 || !self.tx.needs_wakeup() {
                break;
            }
            self.kicks += 1;
            let _ = self.tx.wakeup();
        }
        loop {
            // SAFETY: only this thread has the completion ring.
            let n = unsafe { self.comp.consume(&mut self.done) };
            self.free.extend_from_slice(&self.done[..n]);
            if n < self.done.len() {
                break;
            }
        }
    }
}
