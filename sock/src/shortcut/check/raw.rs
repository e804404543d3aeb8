//! The system calls of the self-test that no crate here wraps.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// SO_ZEROCOPY (asm-generic/socket.h).
pub(super) const SO_ZEROCOPY: i32 = 60;
/// TCP_ULP (linux/tcp.h).
pub(super) const TCP_ULP: i32 = 31;

/// setsockopt() with plain bytes as value.
pub(super) fn set_option(
    socket: impl AsFd,
    level: i32,
    option: i32,
    value: &[u8],
) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `value` has the length that is given beside it.
    let done = unsafe {
        libc::setsockopt(
            fd,
            level,
            option,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    outcome(done)
}

/// A network namespace of this process's own, with `lo` up. `false` if it may
/// not make one.
pub(super) fn own_namespace() -> io::Result<bool> {
    // SAFETY: takes flags only; called before any thread is started.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Ok(false);
    }
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0))?;
    // SAFETY: all zero bits are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which outlives the call.
    outcome(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, &request) })?;
    Ok(true)
}

/// Bytes that a read would return now (FIONREAD).
pub(super) fn readable_bytes(socket: impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: FIONREAD writes one int.
    outcome(unsafe { libc::ioctl(fd, libc::FIONREAD, &mut count) })?;
    Ok(count.max(0) as usize)
}

fn outcome(done: libc::c_int) -> io::Result<()> {
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
