//! How a worker waits for packets, and how others wake it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::inlet::MAX_INLETS;

/// What a worker does while nothing comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// Sleeps in poll().
    #[default]
    Poll,
    /// Looks again and again for a moment, then sleeps: under load no call and
    /// no wake-up, at rest no CPU.
    Adaptive,
    /// Looks again and again: lowest latency, a whole CPU.
    Spin,
    /// Sleeps in poll(), and the kernel polls the device from there.
    BusyPoll,
}

impl Wait {
    pub const NAMES: [(&str, Self); 4] = [
        ("poll", Self::Poll),
        ("adaptive", Self::Adaptive),
        ("spin", Self::Spin),
        ("busy-poll", Self::BusyPoll),
    ];
}

/// Wakes a worker that sleeps. One that does not costs no system call.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
    asleep: AtomicBool,
}

impl Bell {
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self {
            fd,
            asleep: AtomicBool::new(false),
        })
    }

    pub fn ring(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // A full counter wakes as well.
            let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
        }
    }

    /// Sleeps until a packet comes, somebody rings, or the time is over; not at
    /// all when `is_idle` is no longer so.
    pub fn sleep<'s>(
        &'s self,
        sockets: impl Iterator<Item = BorrowedFd<'s>>,
        time: Duration,
        is_idle: impl Fn() -> bool,
    ) {
        self.asleep.store(true, Ordering::SeqCst);
        if is_idle() {
            let bell = || PollFd::new(&self.fd, PollFlags::IN);
            let mut fds: [_; 1 + MAX_INLETS] = std::array::from_fn(|_| bell());
            let mut n = 1;
            for (fd, socket) in fds[1..].iter_mut().zip(sockets) {
                *fd = PollFd::from_borrowed_fd(socket, PollFlags::IN);
                n += 1;
            }
            let time = Timespec {
                tv_sec: time.as_secs() as i64,
                tv_nsec: i64::from(time.subsec_nanos()),
            };
            // Interrupted or not, the worker looks at everything next.
            let _ = poll(&mut fds[..n], Some(&time));
            if !fds[0].revents().is_empty() {
                let _ = rustix::io::read(self.fd.as_fd(), &mut [0u8; 8]);
            }
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}
