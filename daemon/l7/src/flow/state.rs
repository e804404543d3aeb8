//! What is known of one flow.

use super::buffers::HOLD_BYTES;
use super::mirror::MAX_MIRRORS;
use super::{Backend, Offer, Parties};
use crate::http::{Chunks, Method};
use crate::splice::{Progress, Splice};
use crate::tcp::{Endpoint, Options, Segment, Timestamps, flags, later, up_to};

/// Bytes of a flow that holds nothing.
pub const MAX_FLOW_BYTES: usize = 512;
const _: () = assert!(size_of::<Flow>() <= MAX_FLOW_BYTES);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Free,
    /// SYN-ACK sent.
    HalfOpen,
    /// Established with the client, no backend yet.
    Held,
    /// SYN to a backend sent; the request waits.
    Connecting,
    /// Spliced to a backend.
    Bound,
    /// The engine answers the client itself and closes.
    Answering,
    /// Over; late segments still meet the flow.
    Closing,
    /// A copy's connection to a mirror.
    Mirror,
}

/// The body of the request that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyState {
    #[default]
    None,
    /// Bytes behind `open_until` that belong to the body too.
    Length(u64),
    Chunked(Chunks),
}

impl BodyState {
    /// Behind `open_until` comes more of the body, not the next request.
    pub fn is_open_ended(self) -> bool {
        matches!(self, Self::Length(left) if left > 0)
    }
}

/// Where the answer is, in the server's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reply {
    /// Nothing was asked yet.
    #[default]
    None,
    Head {
        at: u32,
    },
    /// A body up to here, and so many bytes more.
    Length {
        until: u32,
        left: u64,
    },
    Chunked {
        at: u32,
        chunks: Chunks,
    },
    UntilClose,
    Tunnel,
    Done {
        end: u32,
    },
    /// Where the answer ends is not known.
    Lost,
}

/// The last request that passed without us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub at: u32,
    pub next: u32,
    pub digest: u64,
}

/// Text of an answer of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Text {
    /// None: FIN only.
    #[default]
    Empty,
    Status(u16),
    /// The first bytes of the flow's buffer.
    Buffer(u16),
}

/// What both agreed on in the handshake with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreed {
    /// The client's; also that of the SYN to the backend.
    pub mss: u16,
    pub client_scale: Option<u8>,
    /// What we said; only with the client's.
    pub our_scale: u8,
    /// What the client is told at first, in bytes.
    pub window: u16,
    pub sack: bool,
    pub timestamps: bool,
}

/// Numbers are the client's unless said otherwise: of the two sequence spaces
/// that a client knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    pub phase: Phase,
    pub client: Endpoint,
    pub service: Endpoint,
    pub agreed: Agreed,

    /// The client's next byte that must be inspected.
    pub expect: u32,
    /// What we have acknowledged ourselves, and must deliver.
    pub acked: u32,
    /// Our next byte to the client, when we are the one who sends.
    pub down_next: u32,
    pub client_ack: u32,
    /// In bytes.
    pub client_window: u32,
    pub ts_seen: u32,
    pub ts_told: u32,
    /// Where the client's FIN stands.
    pub fin_at: Option<u32>,

    /// Bytes from `base` on, of which `sent` are with the server.
    pub buffer: Option<u32>,
    pub base: u32,
    pub len: u16,
    pub sent: u16,
    /// Bytes behind a gap, from and until as places in the buffer; 0, 0 = none.
    pub ahead: [(u16, u16); 4],
    /// A retransmission up to here is compared with the buffer.
    pub keep_until: u32,

    pub splice: Splice,
    /// What we sent on ourselves, and what the kernel noted.
    pub progress: Progress,
    /// Requests of this binding that passed without us, as far as we know.
    pub heads_seen: u32,
    pub passed: Option<Passed>,
    /// Sequence number of the SYN to the backend.
    pub syn_seq: u32,
    pub body: BodyState,
    pub reply: Reply,
    pub method: Method,
    /// An answer may turn the connection into a tunnel.
    pub tunnel: bool,
    pub head_len: u16,
    pub reply_buffer: Option<u32>,
    pub reply_len: u16,
    pub reply_ahead: [(u16, u16); 4],
    /// Until when what is held of the answer must have led on.
    pub reply_by: u64,
    /// The next request waits for the end of the last answer.
    pub waiting: bool,
    pub client_fin: bool,
    pub server_fin: bool,

    /// Legs that get a copy of the request, by their place and 1; 0 = none.
    pub copies: [u16; MAX_MIRRORS],
    /// Of a copy's connection: its leg, and whether the server has answered.
    pub leg: u16,
    pub server_talks: bool,

    pub text: Text,
    pub asked_at: u64,
    pub timeout_ms: u32,
    pub resend_ms: u32,
    /// The server's acknowledgement at the last resending.
    pub resent_from: u32,
    /// 0 = not set.
    pub resend_at: u64,
    pub expire_at: u64,
    pub answer_by: u64,
    pub idle_at: u64,
    /// When requests that passed are counted.
    pub count_at: u64,
    /// That were sent since something new came.
    pub probes: u16,
    /// Until when no SYN is answered.
    pub challenge_at: u64,
    /// Until when the head that has begun must be whole.
    pub head_by: u64,
    /// When the timer must go off.
    pub wake: u64,
}

impl Flow {
    pub fn parties(&self, flow: u32) -> Parties {
        Parties {
            flow,
            client: self.client,
            service: self.service,
        }
    }

    pub fn bound(&self) -> Option<Backend> {
        (self.phase == Phase::Bound).then_some(Backend {
            server: self.splice.server,
            source: self.splice.source,
        })
    }

    /// Whether a SYN begins another connection at once: the client uses the port
    /// of a closed one again, or its first attempt is forgotten.
    pub fn gives_way(&self, syn: &Segment<'_>) -> bool {
        match self.phase {
            Phase::Closing => true,
            Phase::HalfOpen => syn.src == self.client && syn.seq.wrapping_add(1) != self.expect,
            _ => false,
        }
    }

    /// Whether the kernel serves it: bound, or bound until both ended.
    pub fn is_spliced(&self) -> bool {
        match self.phase {
            Phase::Bound => true,
            Phase::Closing => self.splice.server.port != 0,
            _ => false,
        }
    }

    /// The last acknowledgement that the client was told.
    pub fn told(&self) -> u32 {
        match self.is_spliced() {
            true => later(self.acked, self.server_ack()),
            false => self.acked,
        }
    }

    /// Behind the bytes that are held.
    pub fn have(&self) -> u32 {
        match self.buffer {
            Some(_) => self.base.wrapping_add(u32::from(self.len)),
            None => self.expect,
        }
    }

    /// Whether everything before what is held is with the server, or was said
    /// to be ours.
    pub fn is_whole(&self) -> bool {
        self.buffer.is_some() && up_to(self.base, self.told())
    }

    /// Behind the last byte that has surely come: of a body that passes without
    /// us only the server knows.
    pub fn had(&self) -> u32 {
        match self.is_whole() {
            true => later(self.told(), self.have()),
            false => self.told(),
        }
    }

    /// What the client is told in the SYN-ACK.
    pub fn told_options(&self, offer: &Offer) -> Options {
        Options {
            mss: Some(offer.mss),
            scale: self.agreed.client_scale.map(|_| self.agreed.our_scale),
            sack_permitted: self.agreed.sack,
            timestamps: self.timestamps(),
            ..Options::default()
        }
    }

    fn timestamps(&self) -> Option<Timestamps> {
        self.agreed.timestamps.then_some(Timestamps {
            value: self.ts_told,
            echo: self.ts_seen,
        })
    }

    pub fn syn_ack(&self, options: &Options) -> Segment<'static> {
        Segment {
            seq: self.down_next.wrapping_sub(1),
            flags: flags::SYN | flags::ACK,
            window: self.agreed.window,
            options: *options,
            ..self.as_service(&[])
        }
    }

    /// A segment of ours to the client.
    pub fn as_service<'p>(&self, payload: &'p [u8]) -> Segment<'p> {
        // What we own does not wait for a server's window.
        let room = match self.acked == self.have() {
            true => HOLD_BYTES as u16,
            false => self.agreed.window,
        };
        let room = room.saturating_sub(self.len) >> self.agreed.our_scale;
        Segment {
            src: self.service,
            dst: self.client,
            seq: self.down_next,
            ack: self.acked,
            flags: flags::ACK,
            window: room,
            options: Options {
                timestamps: self.timestamps(),
                ..Options::default()
            },
            payload,
        }
    }

    /// A segment of the client as we would have got it: the splice makes it
    /// the server's.
    pub fn as_client<'p>(&self, seq: u32, ack: u32, payload: &'p [u8]) -> Segment<'p> {
        let window = self.client_window >> self.agreed.client_scale.unwrap_or(0);
        Segment {
            src: self.client,
            dst: self.service,
            seq,
            ack,
            flags: flags::ACK,
            window: u16::try_from(window).unwrap_or(u16::MAX),
            options: Options {
                timestamps: self.agreed.timestamps.then_some(Timestamps {
                    value: self.ts_seen,
                    echo: self.ts_told,
                }),
                ..Options::default()
            },
            payload,
        }
    }

    /// The server's acknowledgement in the client's numbers.
    pub fn server_ack(&self) -> u32 {
        self.progress.server_ack.wrapping_sub(self.splice.up_delta)
    }

    /// Behind the last byte that the server's window takes, in the client's
    /// numbers.
    pub fn edge(&self) -> u32 {
        self.progress.server_edge.wrapping_sub(self.splice.up_delta)
    }

    /// The server takes nothing at all now.
    pub fn is_shut(&self) -> bool {
        up_to(self.edge(), self.server_ack())
    }
}
