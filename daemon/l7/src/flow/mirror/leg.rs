//! The TCP client of a copy: no options but the MSS, no window scale, what is
//! lost is sent again from there on. A mirror is worth no more.

use super::super::turn::Turn;
use super::super::{Host, Services};
use super::MirrorEnd;
use super::legs::{Answer, Leg};
use crate::http::{ResponseBody, parse_response, response_storage};
use crate::splice::Direction;
use crate::tcp::{Options, Segment, before, distance, flags, up_to};

const FIRST_RESEND_MS: u32 = 300;
const MAX_RESEND_MS: u32 = 4_000;
/// Without an acknowledgement, and without a byte of the answer.
const STALL_MS: u64 = 10_000;
/// An answer whose end can't be told is over when it is silent so long.
const QUIET_MS: u64 = 1_000;
/// After our FIN.
const CLOSE_MS: u64 = 3_000;

impl<S: Services, H: Host> Turn<'_, S, H> {
    fn leg(&mut self) -> &mut Leg {
        self.legs.get_mut(self.flow.leg)
    }

    /// Begins the connection.
    pub fn connect_leg(&mut self, number: u32) {
        self.leg().base = number.wrapping_add(1);
        self.flow.syn_seq = number;
        self.flow.resend_ms = FIRST_RESEND_MS;
        self.flow.expire_at = self.now + u64::from(self.config.connect_ms);
        self.host.open(self.id, &self.flow.splice);
        self.send_leg_syn();
    }

    fn send_leg_syn(&mut self) {
        let mss = self.leg().mss;
        let options = Options {
            mss: Some(mss),
            ..Options::default()
        };
        let flow = &mut *self.flow;
        flow.resend_at = self.now + u64::from(flow.resend_ms);
        flow.resend_ms = (2 * flow.resend_ms).min(MAX_RESEND_MS);
        let syn = Segment {
            src: flow.splice.source,
            dst: flow.splice.server,
            seq: flow.syn_seq,
            flags: flags::SYN,
            window: u16::MAX,
            options,
            ..Segment::default()
        };
        self.host.send(Direction::ToServer, &syn);
    }

    fn send_leg(&mut self, seq: u32, flags: u8, range: std::ops::Range<u16>) {
        let place = self.flow.leg;
        let ack = self.leg().answer_at;
        let range = usize::from(range.start)..usize::from(range.end);
        let segment = Segment {
            src: self.flow.splice.source,
            dst: self.flow.splice.server,
            seq,
            ack,
            flags,
            window: u16::MAX,
            payload: &self.legs.bytes(place)[range],
            ..Segment::default()
        };
        self.host.send(Direction::ToServer, &segment);
    }

    /// Our next number.
    fn leg_next(&mut self) -> u32 {
        let leg = self.leg();
        leg.base
            .wrapping_add(leg.sent.into())
            .wrapping_add(leg.fin_sent.into())
    }

    fn ack_leg(&mut self) {
        let seq = self.leg_next();
        self.send_leg(seq, flags::ACK, 0..0);
    }

    /// Sends what the server's window takes, and ends what is over.
    pub fn push_leg(&mut self) {
        if !self.flow.server_talks {
            return;
        }
        let mss = self.leg().mss.max(64);
        loop {
            let leg = self.leg();
            let edge = leg.acked.saturating_add(leg.window).min(leg.len);
            let end = leg.sent.saturating_add(mss).min(edge);
            if leg.sent >= end {
                break;
            }
            let range = leg.sent..end;
            let seq = leg.base.wrapping_add(leg.sent.into());
            leg.sent = end;
            self.send_leg(seq, flags::ACK | flags::PSH, range);
        }
        let leg = self.leg();
        let owes = leg.acked < leg.len;
        let is_sent = leg.whole && !owes;
        if is_sent && !std::mem::replace(&mut leg.told, true) {
            let route = leg.route;
            self.flow.answer_by = self.now + super::ANSWER_MS;
            self.services.mirrored(route, MirrorEnd::Sent);
        }
        let closing = self.leg().fin_sent;
        let flow = &mut *self.flow;
        match (owes, flow.resend_at) {
            (false, _) => flow.resend_at = 0,
            (true, 0) => {
                flow.resend_at = self.now + u64::from(flow.resend_ms);
                if !closing {
                    flow.expire_at = flow.expire_at.max(self.now + STALL_MS);
                }
            }
            _ => {}
        }
        let leg = self.leg();
        if is_sent && matches!(leg.answer, Answer::Done) && !leg.fin_sent {
            self.close_leg();
        }
    }

    fn close_leg(&mut self) {
        let seq = self.leg_next();
        self.send_leg(seq, flags::FIN | flags::ACK, 0..0);
        self.leg().fin_sent = true;
        self.flow.expire_at = self.now + CLOSE_MS;
    }

    pub fn leg_segment(&mut self, segment: &Segment<'_>) {
        let is_servers = segment.src == self.flow.splice.server;
        if !is_servers {
            return;
        }
        if !self.flow.server_talks {
            self.leg_connecting(segment);
            return;
        }
        let expected = self.leg().answer_at;
        if segment.has(flags::RST) {
            let ahead = segment.seq.wrapping_sub(expected);
            if ahead == 0 {
                self.flow.server_talks = false;
                self.end_leg(MirrorEnd::Refused);
            } else if ahead <= u32::from(u16::MAX) {
                // The mirror's own stack answers this with the exact number.
                self.ack_leg();
            }
            return;
        }
        if !segment.has(flags::ACK) || segment.has(flags::SYN) {
            self.ack_leg();
            return;
        }
        self.leg_acked(segment);
        self.leg_answer(segment);
    }

    fn leg_connecting(&mut self, segment: &Segment<'_>) {
        let expected = self.flow.syn_seq.wrapping_add(1);
        if !segment.has(flags::ACK) || segment.ack != expected {
            super::super::answer::refuse(segment, self.host);
            return;
        }
        if segment.has(flags::RST) {
            self.end_leg(MirrorEnd::Unreachable);
        } else if segment.has(flags::SYN) {
            let leg = self.leg();
            leg.answer_at = segment.seq.wrapping_add(1);
            leg.window = segment.window;
            leg.mss = leg.mss.min(segment.options.mss.unwrap_or(536));
            let flow = &mut *self.flow;
            flow.server_talks = true;
            (flow.resend_at, flow.resend_ms) = (0, FIRST_RESEND_MS);
            flow.expire_at = self.now + STALL_MS;
            self.ack_leg();
            self.push_leg();
        }
    }

    fn leg_acked(&mut self, segment: &Segment<'_>) {
        let leg = self.leg();
        let from = leg.base.wrapping_add(leg.acked.into());
        let end = leg.base.wrapping_add(leg.len.into());
        leg.window = segment.window;
        if before(from, segment.ack) && up_to(segment.ack, end.wrapping_add(1)) {
            let n = distance(leg.base, segment.ack).min(leg.len.into());
            leg.acked = n as u16;
            leg.sent = leg.sent.max(leg.acked);
            let flow = &mut *self.flow;
            (flow.resend_at, flow.resend_ms) = (0, FIRST_RESEND_MS);
            if !self.leg().fin_sent {
                self.flow.expire_at = self.now + STALL_MS;
            }
        }
        self.push_leg();
    }

    /// Takes the answer in order, and throws it away.
    fn leg_answer(&mut self, segment: &Segment<'_>) {
        let has_fin = segment.has(flags::FIN);
        if segment.payload.is_empty() && !has_fin {
            return;
        }
        let at = self.leg().answer_at;
        let skip = distance(segment.seq, at);
        if before(at, segment.seq) || skip > segment.payload.len() {
            self.ack_leg();
            return;
        }
        let bytes = &segment.payload[skip..];
        self.leg().answer_at = segment.end();
        if !bytes.is_empty() {
            self.follow_leg(bytes);
        }
        if !has_fin {
            self.ack_leg();
            self.push_leg();
            return;
        }
        let leg = self.leg();
        if leg.whole && leg.acked == leg.len {
            let fin = if leg.fin_sent { 0 } else { flags::FIN };
            let seq = self.leg_next();
            self.send_leg(seq, flags::ACK | fin, 0..0);
            self.legs.over(self.flow.leg);
            self.free();
        } else {
            self.end_leg(MirrorEnd::Refused);
        }
    }

    fn follow_leg(&mut self, mut bytes: &[u8]) {
        let leg = self.leg();
        while !bytes.is_empty() {
            let (answer, used) = followed(leg, bytes);
            leg.answer = answer;
            bytes = &bytes[used..];
        }
        let wait = match leg.answer {
            Answer::Unknown if leg.told => QUIET_MS,
            _ => STALL_MS,
        };
        if !leg.fin_sent {
            self.flow.expire_at = self.now + wait;
        }
    }

    pub fn leg_tick(&mut self, expired: bool, resend: bool, late: bool) {
        if late {
            self.end_leg(MirrorEnd::Slow);
        } else if expired {
            self.leg_expired();
        } else if resend && !self.flow.server_talks {
            self.send_leg_syn();
        } else if resend {
            self.resend_leg();
        }
    }

    fn leg_expired(&mut self) {
        let connected = self.flow.server_talks;
        let leg = self.leg();
        let (told, closing) = (leg.told, leg.fin_sent);
        let waits_for_client = connected && !leg.whole && leg.acked == leg.len;
        if waits_for_client {
            self.flow.expire_at = self.now + STALL_MS;
        } else if told && !closing {
            self.close_leg();
        } else if connected {
            self.end_leg(MirrorEnd::Slow);
        } else {
            self.end_leg(MirrorEnd::Unreachable);
        }
    }

    /// From the first byte that is not acknowledged on; one at least asks for
    /// the window.
    fn resend_leg(&mut self) {
        let leg = self.leg();
        leg.sent = leg.acked;
        leg.window = leg.window.max(1);
        let flow = &mut *self.flow;
        flow.resend_ms = (2 * flow.resend_ms).min(MAX_RESEND_MS);
        flow.resend_at = self.now + u64::from(flow.resend_ms);
        self.push_leg();
    }

    /// Ends the connection with RST, and tells why if nothing was told yet.
    pub fn end_leg(&mut self, end: MirrorEnd) {
        let leg = self.leg();
        if !std::mem::replace(&mut leg.told, true) {
            let route = leg.route;
            self.services.mirrored(route, end);
        }
        if self.flow.server_talks {
            let seq = self.leg_next();
            self.send_leg(seq, flags::RST | flags::ACK, 0..0);
        }
        self.legs.over(self.flow.leg);
        self.free();
    }
}

/// Where the answer stands behind bytes of it, and how many are done with.
fn followed(leg: &Leg, bytes: &[u8]) -> (Answer, usize) {
    let all = bytes.len();
    match leg.answer {
        Answer::Head => match parse_response(bytes, &mut response_storage(), leg.method) {
            Ok(Some(response)) => {
                let answer = match response.body {
                    ResponseBody::Interim => Answer::Head,
                    ResponseBody::Empty => Answer::Done,
                    ResponseBody::Length(length) => Answer::Length(length),
                    ResponseBody::Chunked => Answer::Chunked(Default::default()),
                    ResponseBody::UntilClose | ResponseBody::Tunnel => Answer::Unknown,
                };
                (answer, response.len)
            }
            _ => (Answer::Unknown, all),
        },
        Answer::Length(left) => {
            let used = usize::try_from(left).unwrap_or(all).min(all);
            match left - used as u64 {
                0 => (Answer::Done, used),
                left => (Answer::Length(left), used),
            }
        }
        Answer::Chunked(mut chunks) => match chunks.follow(bytes) {
            Ok(found) if found.ended => (Answer::Done, found.len),
            Ok(found) if found.len == all => (Answer::Chunked(chunks), all),
            _ => (Answer::Unknown, all),
        },
        Answer::Unknown | Answer::Done => (leg.answer, all),
    }
}
