//! Requests, as the workers tell of them: one record each when it is answered
//! or given up, and totals with histograms.
//!
//! A worker writes without a lock and without allocating. Records wait in a
//! queue of bounded length in which new ones drive out old ones; totals are
//! never lost.

mod history;
mod log;
mod meters;
mod mirrors;

pub use history::{History, Numbered};
pub use log::RequestLog;
pub use meters::{BUCKETS_US, Meter, MeterKey, Meters, N_BUCKETS, N_OUTCOMES};
pub use mirrors::{ENDS, MirrorCounts};

use crossbeam_queue::ArrayQueue;
use terrace_l7::tcp::Endpoint;

use super::rules::Note;

/// Records that wait for a reader; older ones go.
const QUEUED: usize = 2_048;

/// Text of bounded length, cut where it is longer.
#[derive(Debug, Clone, Copy)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Text<N> {
    pub const EMPTY: Self = Self {
        bytes: [0; N],
        len: 0,
    };

    pub fn of(text: &str) -> Self {
        let len = text.len().min(N).min(255);
        let mut bytes = [0; N];
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        let len = len as u8;
        Self { bytes, len }
    }

    pub fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.len)];
        // Heads are ASCII where they come from; a cut character is left out.
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        }
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// CLOCK_MONOTONIC when its head was whole.
    pub asked_us: u64,
    /// To the head of the answer, or to the end without one.
    pub duration_us: u64,
    pub client: Endpoint,
    /// As the client sees it.
    pub service: Endpoint,
    /// Port 0 = none.
    pub server: Endpoint,
    pub note: Note,
    /// 0 = none came.
    pub status: u16,
    pub worker: u16,
    /// 0 = a worker's request. Else it stands for so many that passed in the
    /// kernel: neither their heads nor their answers were seen.
    pub in_kernel: u32,
    pub method: Text<16>,
    /// With the query.
    pub path: Text<160>,
    pub host: Text<64>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            asked_us: 0,
            duration_us: 0,
            client: Endpoint::default(),
            service: Endpoint::default(),
            server: Endpoint::default(),
            note: Note::default(),
            status: 0,
            worker: 0,
            in_kernel: 0,
            method: Text::EMPTY,
            path: Text::EMPTY,
            host: Text::EMPTY,
        }
    }
}

/// What one worker tells.
#[derive(Debug)]
pub struct Told {
    pub queue: ArrayQueue<Record>,
    pub meters: Meters,
    pub mirrors: MirrorCounts,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            queue: ArrayQueue::new(QUEUED),
            meters: Meters::default(),
            mirrors: MirrorCounts::default(),
        }
    }
}
