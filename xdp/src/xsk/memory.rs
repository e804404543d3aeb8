//! The packet memory of all workers, and sockets on it.

use std::num::NonZeroU32;
use std::os::fd::AsRawFd as _;

use xsk_rs::config::{
    BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig,
};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{Socket, Umem};

use super::receive::set;
use super::{Bind, FRAME_BYTES, MAX_PACKET, Receiver, Sender, Xsk, XskError};

/// Frames of one socket; powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySize {
    pub sockets: u32,
    /// That wait for packets.
    pub frames_in: u32,
    /// That carry packets away; 0 = the sockets only receive.
    pub frames_out: u32,
}

/// Of rings that nobody uses; the kernel wants them nevertheless.
const SMALLEST_RING: u32 = 64;

impl MemorySize {
    fn share(self) -> u32 {
        self.frames_in + self.frames_out
    }

    fn frames(self) -> u32 {
        self.sockets * self.share()
    }

    fn ring_out(self) -> QueueSize {
        queue_size(self.frames_out.max(SMALLEST_RING))
    }
}

/// A UMEM, cut into equal shares.
#[derive(Debug)]
pub struct Memory {
    umem: Umem,
    shares: Vec<Vec<FrameDesc>>,
    size: MemorySize,
    huge_pages: bool,
}

impl Memory {
    /// Takes the memory: in huge pages where the host has them free.
    pub fn new(size: MemorySize) -> Result<Self, XskError> {
        let bytes = size.frames() as usize * FRAME_BYTES;
        let huge = bytes
            .is_multiple_of(2 << 20)
            .then(|| Self::take(size, true));
        let (umem, frames, huge_pages) = match huge {
            Some(Ok((umem, frames))) => (umem, frames, true),
            _ => {
                let (umem, frames) =
                    Self::take(size, false).map_err(|source| XskError::Memory {
                        mib: bytes >> 20,
                        source,
                    })?;
                (umem, frames, false)
            }
        };
        let shares = frames.chunks_exact(size.share() as usize);
        let shares = shares.map(<[_]>::to_vec);
        Ok(Self {
            umem,
            shares: shares.collect(),
            size,
            huge_pages,
        })
    }

    fn take(
        size: MemorySize,
        huge: bool,
    ) -> Result<(Umem, Vec<FrameDesc>), xsk_rs::umem::UmemCreateError> {
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(FRAME_BYTES as u32).expect("4096 is allowed"))
            .fill_queue_size(queue_size(size.frames_in))
            .comp_queue_size(size.ring_out())
            .build()
            .expect("a frame of 4096 bytes has room for its headroom");
        let frames = NonZeroU32::new(size.frames()).unwrap_or(NonZeroU32::MIN);
        Umem::new(config, frames, huge)
    }

    /// Whether the memory is in huge pages.
    pub fn has_huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// Shares that no socket has taken.
    pub fn n_free(&self) -> usize {
        self.shares.len()
    }

    /// Binds a socket to a queue; it takes one share of the memory.
    /// In copy mode packets longer than a frame come and go in several, from
    /// Linux 6.6 on. Drivers that can in zero-copy are few, and the others
    /// refuse the flag.
    pub fn bind(&mut self, iface: &str, queue: u32, bind: Bind) -> Result<Xsk, XskError> {
        let taken = || XskError::Taken {
            iface: iface.to_owned(),
            queue,
        };
        let config = |how: BindFlags| {
            SocketConfig::builder()
                .rx_queue_size(queue_size(self.size.frames_in))
                .tx_queue_size(self.size.ring_out())
                .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
                .bind_flags(how | BindFlags::XDP_USE_NEED_WAKEUP)
                .build()
        };
        let name: Interface = iface.parse().map_err(|_| taken())?;
        let socket = |how| {
            // SAFETY: libxdp is told not to load a program of its own, which is
            // the only condition on a queue that is bound already.
            unsafe { Socket::new(config(how), &self.umem, &name, queue) }
        };
        let socket = match bind {
            Bind::Copy => socket(BindFlags::XDP_COPY | BindFlags::XDP_USE_SG)
                .or_else(|_| socket(BindFlags::XDP_COPY)),
            Bind::ZeroCopy => socket(BindFlags::XDP_ZEROCOPY),
        };
        let (tx, rx, rings) = socket.map_err(|source| XskError::Socket {
            iface: iface.to_owned(),
            queue,
            source,
        })?;
        let (fill, comp) = rings.ok_or_else(taken)?;
        let mut frames = self.shares.pop().ok_or_else(taken)?;
        let for_sending = frames.split_off(self.size.frames_in as usize);
        close_on_exec(rx.fd().as_raw_fd());
        allow_large_batches(rx.fd().as_raw_fd(), self.size.frames_out.max(SMALLEST_RING));
        let scratch = || vec![0; MAX_PACKET].into_boxed_slice();
        Ok(Xsk {
            receiver: Receiver::new(self.umem.clone(), rx, fill, &frames, scratch()),
            sender: Sender::new(self.umem.clone(), tx, comp, for_sending, scratch()),
        })
    }
}

fn queue_size(n: u32) -> QueueSize {
    QueueSize::new(n).expect("numbers of frames are powers of two")
}

/// libxdp leaves it open (xsk.c, 1.6.0): a child would hold the queue.
fn close_on_exec(fd: std::os::fd::RawFd) {
    // SAFETY: it changes a flag of a descriptor that the caller has open.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// One call may send all that is waiting, not 32 packets (Linux 6.17; others
/// refuse, and more calls do it).
fn allow_large_batches(fd: std::os::fd::RawFd, packets: u32) {
    const SOL_XDP: libc::c_int = 283;
    const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
    let packets = i32::try_from(packets).unwrap_or(i32::MAX);
    let _ = set(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, packets);
}
