//! The worker's clocks; both are read without a system call (vDSO).

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Milliseconds of CLOCK_MONOTONIC: the engine's time.
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    nanos(now) / 1_000_000
}

/// Microseconds of CLOCK_MONOTONIC: how long requests take.
pub fn now_us() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic)) / 1_000
}

/// Nanoseconds of CLOCK_MONOTONIC_COARSE: what programs compare heartbeats with.
pub fn beat_ns() -> u64 {
    nanos(clock_gettime(ClockId::MonotonicCoarse))
}

fn nanos(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
