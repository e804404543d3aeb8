//! The splice: what BPF does with the segments of a bound flow. This is the
//! model that the BPF programs are tested against, byte for byte, and the
//! engine's own reading of them.

mod heads;
pub mod scan;
mod translate;

use crate::tcp::{Endpoint, Segment, before, flags, later, up_to};

pub use heads::{HeadNote, HeadRule, HeadRules, Heads, N_SETS, PATH_MAX, ROUTES, digest};
pub use translate::{translate, translate_segment};

/// Which way a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// How a flow's segments are translated, and which may pass without the
/// worker. Plain numbers, host byte order: a BPF map's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Splice {
    /// The client's side of the flow.
    pub client: Endpoint,
    pub service: Endpoint,
    /// The server's side: what it takes for its client, and itself.
    pub source: Endpoint,
    pub server: Endpoint,
    /// Server's sequence number + this = what the client is told.
    pub down_delta: u32,
    /// Client's sequence number + this = what the server is told: not 0 after
    /// a head whose length was changed.
    pub up_delta: u32,
    /// Server's TSval + this = what the client is told.
    pub ts_delta: u32,
    /// Client's sequence numbers whose payload passes: a body's.
    pub open_from: u32,
    pub open_until: u32,
    /// Server's payload up to here is nothing that the worker must see.
    pub quiet_until: u32,
    /// What the worker has acknowledged to the client itself: the server's
    /// acknowledgements are raised to it while they are at most
    /// [`MAX_RAISE`] behind, but in a tunnel.
    pub ack_floor: u32,
    /// The window that the client is told is at most this, not scaled.
    pub window_cap: u32,
    /// Shifts of the windows: as the sender means it, as the receiver reads it.
    pub client_scale: u8,
    pub client_scale_told: u8,
    pub server_scale: u8,
    pub server_scale_told: u8,
    /// [`mode`] bits.
    pub mode: u8,
    /// What requests must find to pass without the worker.
    pub heads: Heads,
}

/// What the worker holds is less than this.
pub const MAX_RAISE: u32 = 1 << 16;

pub mod mode {
    /// Timestamps are in use.
    pub const TIMESTAMPS: u8 = 1;
    /// The server takes SACK; without it the client's blocks are blanked.
    pub const SACK: u8 = 2;
    /// Everything from the client comes up.
    pub const ALL_UP: u8 = 4;
    /// Everything passes both ways: an upgraded connection.
    pub const TUNNEL: u8 = 8;
    /// What the worker must see of the server comes up, instead of passing
    /// with a copy to the worker.
    pub const HOLD: u8 = 16;
    /// Requests that find what `heads` asks for pass.
    pub const HEADS: u8 = 32;
    /// With `HEADS`: an answer begins at `quiet_until`.
    pub const ASKED: u8 = 64;
}

/// What the BPF programs note of a flow as segments pass; the worker reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Behind the last byte of the server that was seen, its own numbers.
    pub server_nxt: u32,
    /// The server's last acknowledgement, numbers as it was told.
    pub server_ack: u32,
    /// Behind the last byte that the server's window takes.
    pub server_edge: u32,
    /// The client's last acknowledgement, numbers as it was told.
    pub client_ack: u32,
    /// The largest TSval that the client was told.
    pub ts_value: u32,
}

/// What becomes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, translated.
    Pass,
    /// A request passes, translated, and is counted.
    Request,
    /// It passes, and the worker gets a copy as it came.
    PassAndCopy,
    /// It goes to the worker only.
    Up,
}

impl Splice {
    pub fn has(&self, bit: u8) -> bool {
        self.mode & bit != 0
    }

    /// Which way a segment of this flow goes; `None` = not of this flow.
    pub fn direction(&self, segment: &Segment<'_>) -> Option<Direction> {
        let ends = (segment.src, segment.dst);
        if ends == (self.client, self.service) {
            return Some(Direction::ToServer);
        }
        (ends == (self.server, self.source)).then_some(Direction::ToClient)
    }

    pub fn judge(
        &self,
        direction: Direction,
        segment: &Segment<'_>,
        progress: &Progress,
    ) -> Verdict {
        match direction {
            Direction::ToServer => self.judge_up(segment, progress),
            Direction::ToClient => self.judge_down(segment),
        }
    }

    /// Pure ACKs and the bytes of a body that lie inside the server's window.
    fn judge_up(&self, segment: &Segment<'_>, progress: &Progress) -> Verdict {
        const ODD: u8 = flags::SYN | flags::FIN | flags::RST | flags::URG;
        if segment.has(ODD) || self.has(mode::ALL_UP) {
            return Verdict::Up;
        }
        let edge = progress.server_edge.wrapping_sub(self.up_delta);
        if segment.payload.is_empty() {
            return Verdict::Pass;
        }
        let open = self.is_open(segment.seq, segment.payload_end());
        let inside = up_to(segment.payload_end(), edge);
        if (open || self.has(mode::TUNNEL)) && inside {
            Verdict::Pass
        } else {
            Verdict::Up
        }
    }

    /// Whether bytes lie in what is open, by how far they are behind its
    /// beginning: two comparisons would each be right half a round away.
    pub fn is_open(&self, seq: u32, end: u32) -> bool {
        let behind = |number: u32| number.wrapping_sub(self.open_from);
        behind(seq) <= behind(end) && behind(end) <= behind(self.open_until)
    }

    fn judge_down(&self, segment: &Segment<'_>) -> Verdict {
        if segment.has(flags::SYN) {
            return Verdict::Up;
        }
        let seen = if self.has(mode::HOLD) {
            Verdict::Up
        } else {
            Verdict::PassAndCopy
        };
        if segment.has(flags::RST) {
            return Verdict::PassAndCopy;
        }
        let quiet = up_to(segment.payload_end(), self.quiet_until) || self.has(mode::TUNNEL);
        match segment.payload.is_empty() || quiet {
            true if segment.has(flags::FIN) => Verdict::PassAndCopy,
            true => Verdict::Pass,
            false => seen,
        }
    }

    /// What is noted of a segment that passes; `segment` as it came.
    pub fn note(&self, direction: Direction, segment: &Segment<'_>, progress: &mut Progress) {
        if !segment.has(flags::ACK) || segment.has(flags::RST) {
            return;
        }
        match direction {
            Direction::ToServer => {
                // Of what was never sent it is nobody's (RFC 5961 section 5).
                let acked = segment.ack.wrapping_sub(self.down_delta);
                if up_to(acked, progress.server_nxt) {
                    progress.client_ack = later(progress.client_ack, segment.ack);
                }
            }
            Direction::ToClient => {
                progress.server_nxt = later(progress.server_nxt, segment.end());
                progress.server_ack = later(progress.server_ack, segment.ack);
                let window = u32::from(segment.window) << self.server_scale;
                let edge = segment.ack.wrapping_add(window);
                progress.server_edge = later(progress.server_edge, edge);
                if let Some(timestamps) = segment.options.timestamps {
                    let told = timestamps.value.wrapping_add(self.ts_delta);
                    if before(progress.ts_value, told) {
                        progress.ts_value = told;
                    }
                }
            }
        }
    }
}
