//! Answers of our own: the engine is the TCP sender, and closes.

use super::client::CLOSING_MS;
use super::state::{Phase, Text};
use super::turn::Turn;
use super::{Host, Reset, Services};
use crate::splice::Direction;
use crate::tcp::{Segment, before, distance, flags, later, up_to};

const RESEND_MS: u32 = 250;
/// How long a client may take for an answer, and to close.
const ANSWER_MS: u64 = 15_000;
/// Bytes of a refused request that are taken before the client has had enough.
const MAX_DRAINED: usize = 4 << 20;

/// Answers a segment that nobody expects with RST (RFC 9293 section 3.10.7.1).
pub fn refuse(segment: &Segment<'_>, host: &mut impl Host) {
    if segment.has(flags::RST) {
        return;
    }
    let with_ack = segment.has(flags::ACK);
    let out = Segment {
        src: segment.dst,
        dst: segment.src,
        seq: if with_ack { segment.ack } else { 0 },
        ack: if with_ack { 0 } else { segment.end() },
        flags: flags::RST | if with_ack { 0 } else { flags::ACK },
        ..Segment::default()
    };
    host.send(Direction::ToClient, &out);
}

/// Head and body by status; the body says nothing of what is inside.
pub fn text_of(status: u16) -> &'static [u8] {
    macro_rules! texts {
        ($($status:literal $reason:literal $len:literal)*) => {
            match status {
                $($status => concat!("HTTP/1.1 ", $status, " ", $reason,
                    "\r\nContent-Type: text/plain\r\nContent-Length: ", $len,
                    "\r\nConnection: close\r\n\r\n", $reason, "\n").as_bytes(),)*
                _ => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            }
        };
    }
    texts! {
        400 "Bad Request" 12
        403 "Forbidden" 10
        404 "Not Found" 10
        408 "Request Timeout" 16
        414 "URI Too Long" 13
        431 "Request Header Fields Too Large" 32
        503 "Service Unavailable" 20
        504 "Gateway Timeout" 16
    }
}

impl<S: Services, H: Host> Turn<'_, S, H> {
    /// Answers from `down_next` on, then closes. The backend is let go.
    pub fn answer(&mut self, text: Text) {
        self.merge_progress();
        let flow = &mut *self.flow;
        let had = flow.had();
        self.unbind();
        let flow = &mut *self.flow;
        flow.acked = had;
        if flow.fin_at == Some(flow.acked) {
            flow.acked = flow.acked.wrapping_add(1);
        }
        if !matches!(text, Text::Buffer(_)) {
            self.drop_buffer();
        }
        let flow = &mut *self.flow;
        flow.len = 0;
        flow.text = text;
        flow.phase = Phase::Answering;
        flow.base = flow.acked;
        flow.resend_ms = RESEND_MS;
        flow.expire_at = self.now + ANSWER_MS;
        flow.head_by = 0;
        self.send_answer();
    }

    fn answer_len(&self) -> usize {
        match self.flow.text {
            Text::Empty => 0,
            Text::Status(status) => text_of(status).len(),
            Text::Buffer(len) => usize::from(len),
        }
    }

    /// Behind our answer and its FIN.
    pub fn answer_end(&self) -> u32 {
        let len = self.answer_len() as u32;
        self.flow.down_next.wrapping_add(len + 1)
    }

    /// Everything that is not acknowledged and fits the client's window; one
    /// byte at least asks for the window.
    pub fn send_answer(&mut self) {
        let len = self.answer_len();
        let flow = &*self.flow;
        let from = distance(flow.down_next, flow.client_ack);
        let mss = usize::from(flow.agreed.mss).saturating_sub(12).max(64);
        let room = from + (flow.client_window as usize).max(1);
        let until = len.min(room);
        let mut at = from.min(len);
        loop {
            let n = mss.min(until.saturating_sub(at));
            let flow = &*self.flow;
            let text = match flow.text {
                Text::Empty => &[][..],
                Text::Status(status) => text_of(status),
                Text::Buffer(_) => self.buffers.get(flow.buffer.unwrap_or_default()),
            };
            let mut segment = flow.as_service(&text[at..at + n]);
            segment.seq = flow.down_next.wrapping_add(at as u32);
            at += n;
            if at == len {
                segment.flags |= flags::FIN | flags::PSH;
            }
            self.host.send(Direction::ToClient, &segment);
            if at >= until {
                break;
            }
        }
        let flow = &mut *self.flow;
        flow.resend_at = self.now + u64::from(flow.resend_ms);
        flow.resend_ms = (flow.resend_ms * 2).min(4_000);
    }

    /// The client while it gets our answer.
    pub fn answering(&mut self, segment: &Segment<'_>) {
        if segment.has(flags::RST) {
            if self.client_reset(segment) {
                self.free();
            }
            return;
        }
        if segment.has(flags::SYN) {
            self.challenge();
            return;
        }
        if !segment.has(flags::ACK) || !self.believes(segment) {
            return;
        }
        self.note_client(segment);
        self.drain(segment);
        if self.flow.phase != Phase::Answering {
            return;
        }
        let end = self.answer_end();
        let taken = up_to(end, self.flow.client_ack);
        if taken {
            self.flow.resend_at = 0;
        }
        let client_ended = self
            .flow
            .fin_at
            .is_some_and(|at| before(at, self.flow.acked));
        if taken && client_ended {
            self.flow.down_next = end;
            self.drop_buffer();
            self.flow.phase = Phase::Closing;
            self.flow.expire_at = self.now + CLOSING_MS;
        }
    }

    /// Takes what the client still sends, and forgets it.
    fn drain(&mut self, segment: &Segment<'_>) {
        let flow = &mut *self.flow;
        if segment.payload.is_empty() && !segment.has(flags::FIN) {
            return;
        }
        if up_to(segment.seq, flow.acked) && before(flow.acked, segment.end()) {
            flow.acked = segment.payload_end();
            if segment.has(flags::FIN) {
                flow.fin_at = Some(flow.acked);
                flow.acked = flow.acked.wrapping_add(1);
            }
        }
        if distance(flow.base, flow.acked) > MAX_DRAINED {
            self.reset(Reset::ClientSilent);
            return;
        }
        let end = self.answer_end();
        let mut out = self.flow.as_service(&[]);
        out.seq = super::client::earlier(end, later(self.flow.client_ack, self.flow.down_next));
        self.host.send(Direction::ToClient, &out);
    }
}
