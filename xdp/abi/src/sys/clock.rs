//! The tick of the kernel's coarse clock, which is the jiffy.

use std::io;

/// Jiffies a second (CONFIG_HZ): the resolution of CLOCK_MONOTONIC_COARSE is
/// one tick.
pub fn hz() -> io::Result<u32> {
    let mut resolution = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `resolution` has room for one timespec.
    if unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut resolution) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let nanoseconds = u32::try_from(resolution.tv_nsec).map_err(io::Error::other)?;
    Ok((1_000_000_000 + nanoseconds / 2) / nanoseconds.max(1))
}
