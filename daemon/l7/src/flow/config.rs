//! What an engine is given.

use crate::http::Limits;

#[derive(Debug, Clone)]
pub struct Config {
    pub max_flows: u32,
    /// Half-open flows that are remembered; above them SYN cookies.
    pub max_half_open: u32,
    /// Buffers of [`BUFFER_BYTES`](super::BUFFER_BYTES) for requests that are held or in flight.
    pub buffers: u32,
    /// Copies of requests that may be under way to mirrors, of [`LEG_BYTES`](super::LEG_BYTES) each.
    pub mirrors: u16,
    pub limits: Limits,
    /// For initial sequence numbers and cookies; random at every start.
    pub secret: [u8; 16],
    /// What the worker must see of answers waits for it, instead of passing
    /// with a copy.
    pub hold_answers: bool,
    /// Until a backend's SYN-ACK.
    pub connect_ms: u32,
    /// A client that is silent for so long between requests is closed.
    pub idle_ms: u32,
    /// A silent client is asked so often whether it is still there: its RST may
    /// have been lost.
    pub probe_ms: u32,
    /// A head that has begun must be whole after this: 408.
    pub head_ms: u32,
    /// What a client that has ended still waits for may be silent so long; as
    /// long as the connection table keeps such a connection.
    pub half_closed_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_flows: 65_536,
            max_half_open: 4_096,
            buffers: 4_096,
            mirrors: 256,
            limits: Limits::default(),
            secret: [0; 16],
            hold_answers: false,
            connect_ms: 5_000,
            idle_ms: 3_600_000,
            probe_ms: 20_000,
            head_ms: 60_000,
            half_closed_ms: 60_000,
        }
    }
}
