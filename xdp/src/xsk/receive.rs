//! Taking packets.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd};
use std::time::Duration;

use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{FillQueue, RxQueue, Umem};

use super::{BATCH, XskStats};

/// The receiving half of a socket.
#[derive(Debug)]
pub struct Receiver {
    umem: Umem,
    rx: RxQueue,
    fill: FillQueue,
    batch: Box<[FrameDesc]>,
    /// Where packets of several frames are put together.
    scratch: Box<[u8]>,
    /// What of a packet came so far; its other frames come with the next batch.
    partial: usize,
    /// Frames of `batch` that are not with the kernel: not 0 behind a panic.
    taken: usize,
}

impl Receiver {
    pub(super) fn new(
        umem: Umem,
        rx: RxQueue,
        mut fill: FillQueue,
        frames: &[FrameDesc],
        scratch: Box<[u8]>,
    ) -> Self {
        // SAFETY: the frames are of this memory, and nobody else has them.
        unsafe { fill.produce(frames) };
        Self {
            umem,
            rx,
            fill,
            batch: vec![FrameDesc::default(); BATCH].into_boxed_slice(),
            scratch,
            partial: 0,
            taken: 0,
        }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    /// Lends up to [`BATCH`] packets to `each`, with their Ethernet headers.
    /// Returns how many frames came.
    #[inline]
    pub fn receive(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        self.give_back();
        // SAFETY: only this thread has the receiving half, and the fill ring
        // has frames of this memory alone.
        let n = unsafe { self.rx.consume(&mut self.batch) };
        self.taken = n;
        for desc in &self.batch[..n] {
            // SAFETY: the kernel has given this frame to us with the
            // descriptor, and gets it back behind this loop.
            let data = unsafe { self.umem.data(desc) };
            let bytes = data.contents();
            if self.partial == 0 && !desc.has_more_frames() {
                each(bytes);
                continue;
            }
            let end = self.partial + bytes.len();
            if let Some(room) = self.scratch.get_mut(self.partial..end) {
                room.copy_from_slice(bytes);
            }
            self.partial = end;
            if !desc.has_more_frames() {
                // A packet that does not fit is nothing that we have let in.
                if let Some(packet) = self.scratch.get(..end) {
                    each(packet);
                }
                self.partial = 0;
            }
        }
        self.give_back();
        n
    }

    fn give_back(&mut self) {
        if self.taken > 0 {
            // SAFETY: the frames are ours, and nothing of them is borrowed now.
            // The ring has room for all frames of the receiver.
            unsafe { self.fill.produce(&self.batch[..self.taken]) };
            self.taken = 0;
        }
    }

    /// Wakes the device where it waits for frames (zero-copy).
    pub fn wake_if_asked(&mut self) -> io::Result<()> {
        if self.fill.needs_wakeup() {
            let fd = self.rx.fd_mut();
            self.fill.wakeup(fd, 0)?;
        }
        Ok(())
    }

    pub(super) fn busy_poll(&self, budget: u32, time: Duration) -> io::Result<()> {
        let fd = self.fd();
        let micros = i32::try_from(time.as_micros()).unwrap_or(i32::MAX);
        let budget = i32::try_from(budget).unwrap_or(i32::MAX);
        set(fd, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, 1)?;
        set(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, micros)?;
        set(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL_BUDGET, budget)
    }

    /// What the kernel has counted; a system call.
    pub fn stats(&self) -> io::Result<XskStats> {
        let stats = self.rx.fd().xdp_statistics()?;
        Ok(XskStats {
            // In copy mode a packet without a frame counts as dropped, and the
            // look into the empty ring too (xp_alloc() in Linux 6.18).
            overruns: stats.rx_dropped().max(stats.rx_fill_ring_empty_descs())
                + stats.rx_ring_full(),
            refused: stats.rx_invalid_descs() + stats.tx_invalid_descs(),
        })
    }
}

/// Whether the device itself writes into the frames, as the kernel says of a
/// bound socket.
pub(super) fn is_zero_copy(fd: RawFd) -> io::Result<bool> {
    const SOL_XDP: libc::c_int = 283;
    const XDP_OPTIONS: libc::c_int = 8;
    const ZEROCOPY: u32 = 1;
    let mut flags = 0_u32;
    let mut len = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the option is one u32, of which `flags` is one for the call.
    let done = unsafe {
        let flags = std::ptr::from_mut(&mut flags).cast();
        libc::getsockopt(fd, SOL_XDP, XDP_OPTIONS, flags, &mut len)
    };
    match done {
        0 => Ok(flags & ZEROCOPY != 0),
        _ => Err(io::Error::last_os_error()),
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open for as long as the receiver has it.
        unsafe { BorrowedFd::borrow_raw(self.fd()) }
    }
}

pub(super) fn set(
    fd: RawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option takes an int, of which `value` is one for the call.
    let done =
        unsafe { libc::setsockopt(fd, level, option, std::ptr::from_ref(&value).cast(), len) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
