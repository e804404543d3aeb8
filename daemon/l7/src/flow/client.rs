//! Segments from the client.

use super::buffers::HOLD_BYTES;
use super::state::{BodyState, Phase, Text};
use super::turn::Turn;
use super::{Event, Host, Reset, Services};
use crate::splice::{Direction, Verdict, mode};
use crate::tcp::{Segment, before, distance, flags, later, up_to};

/// How far a body's range is opened at once: sequence numbers wrap.
const MAX_OPEN: u64 = 1 << 30;
/// How long a flow that both ends have closed is kept for late segments.
pub const CLOSING_MS: u64 = 3_000;

impl<S: Services, H: Host> Turn<'_, S, H> {
    pub fn client_segment(&mut self, segment: &Segment<'_>, packet: &[u8]) {
        match self.flow.phase {
            Phase::HalfOpen => self.handshake(segment),
            Phase::Held | Phase::Connecting => self.held(segment),
            Phase::Bound => self.bound(segment, packet),
            Phase::Answering => self.answering(segment),
            Phase::Closing if self.flow.splice.server.port != 0 => self.bound(segment, packet),
            Phase::Closing => self.closing(segment),
            Phase::Free | Phase::Mirror => {}
        }
    }

    fn handshake(&mut self, segment: &Segment<'_>) {
        let flow = &mut *self.flow;
        if segment.has(flags::RST) {
            if self.client_reset(segment) {
                self.free();
            }
            return;
        }
        if segment.has(flags::SYN) {
            // The same one again: our answer was lost.
            if let Some(offer) = self.services.offer(flow.service) {
                let answer = flow.syn_ack(&flow.told_options(&offer));
                self.host.send(Direction::ToClient, &answer);
            }
            return;
        }
        if !segment.has(flags::ACK) || segment.ack != flow.down_next {
            super::answer::refuse(segment, self.host);
            return;
        }
        flow.phase = Phase::Held;
        flow.expire_at = 0;
        self.held(segment);
    }

    /// No backend yet.
    fn held(&mut self, segment: &Segment<'_>) {
        if segment.has(flags::RST) {
            if self.client_reset(segment) {
                self.unbind();
                self.free();
            }
            return;
        }
        if segment.has(flags::SYN) || !segment.has(flags::ACK) {
            self.challenge();
            return;
        }
        if !self.believes(segment) {
            return;
        }
        if segment.has(flags::URG) {
            self.urgent(segment);
            return;
        }
        self.note_client(segment);
        let grew = self.intake(segment);
        if self.flow.phase == Phase::Free {
            return;
        }
        if grew && self.flow.phase == Phase::Held {
            self.advance();
        }
        if self.flow.phase != Phase::Held {
            return;
        }
        if self.flow.fin_at == Some(self.flow.have()) {
            self.cut_off();
        } else if !segment.payload.is_empty() || before(segment.seq, self.flow.acked) {
            // The head is not whole: a client that waits for this ACK (Nagle, a
            // small window) would never send the rest. From here on we must
            // deliver what we have.
            self.flow.acked = self.flow.have();
            self.ack_client();
        }
    }

    /// The client ends before its head does; without any of it, it just leaves.
    fn cut_off(&mut self) {
        if self.flow.have() == self.flow.expect {
            self.answer(Text::Empty);
        } else {
            self.reset(Reset::CutHead);
        }
    }

    /// Where urgent data ends is told apart from the stream, so nobody could say what was
    /// inspected. What is outside the window is somebody else's, who guesses.
    fn urgent(&mut self, segment: &Segment<'_>) {
        match self.is_in_window(segment.seq) {
            true => self.reset(Reset::Urgent),
            false => {
                self.counts.strays += 1;
                self.challenge();
            }
        }
    }

    /// There is a backend: what is not the kernel's comes here.
    fn bound(&mut self, segment: &Segment<'_>, packet: &[u8]) {
        self.merge_progress();
        self.adopt();
        if self.flow.phase == Phase::Free {
            return;
        }
        self.open_tunnel();
        if segment.has(flags::RST) {
            if self.client_reset(segment) {
                self.send_reset(segment);
                self.close_soon();
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
        if segment.has(flags::URG) {
            self.urgent(segment);
            return;
        }
        self.note_client(segment);
        if self.flow.agreed.timestamps
            && let Some(timestamps) = segment.options.timestamps
        {
            self.flow.ts_told = timestamps.echo;
        }
        let splice = self.flow.splice;
        let mut kernels = splice;
        kernels.mode &= !mode::ALL_UP;
        let judged = kernels.judge(Direction::ToServer, segment, &self.flow.progress);
        if judged == Verdict::Pass {
            splice.note(Direction::ToServer, segment, &mut self.flow.progress);
            self.host.forward(Direction::ToServer, &splice, packet);
            self.copy_on(segment.seq, segment.payload);
            self.advance();
            return;
        }
        self.payload(segment);
    }

    pub fn close_soon(&mut self) {
        // Thousands of connections a second close: they need no buffers.
        self.make_room();
        self.drop_reply_buffer();
        self.cut_copies();
        if self.flow.phase != Phase::Closing {
            self.flow.expire_at = self.now + CLOSING_MS;
        }
        self.flow.phase = Phase::Closing;
        self.flow.probes = 0;
        (self.flow.resend_at, self.flow.answer_by) = (0, 0);
        (self.flow.idle_at, self.flow.count_at, self.flow.head_by) = (0, 0, 0);
    }

    /// Payload or FIN that the kernel may not pass.
    fn payload(&mut self, segment: &Segment<'_>) {
        if !self.is_near(segment) {
            self.counts.strays += 1;
            self.challenge();
            return;
        }
        self.open_further(segment);
        if self.flow.phase == Phase::Free {
            return;
        }
        let end = segment.payload_end();
        if !self.agrees_with_passed(segment) || !self.agrees(segment.seq, segment.payload) {
            self.reset(Reset::OtherBytes);
            return;
        }
        let sent = self.send_known(segment);
        if before(self.flow.expect, end) || segment.has(flags::FIN) {
            self.take_new(segment);
        }
        if self.flow.phase == Phase::Free {
            return;
        }
        self.advance();
        let ended = self.pass_fin(segment);
        if !sent && !ended && matches!(self.flow.phase, Phase::Bound | Phase::Closing) {
            self.send_ack_only(segment);
        }
    }

    /// Opens more of a body that is longer than was opened at once: for a
    /// segment that goes on where that ends and that the server's window takes,
    /// so that what is open is never half the sequence numbers.
    fn open_further(&mut self, segment: &Segment<'_>) {
        let flow = &mut *self.flow;
        let BodyState::Length(left) = flow.body else {
            return;
        };
        let open_until = flow.splice.open_until;
        let goes_on = up_to(segment.seq, open_until)
            && before(open_until, segment.payload_end())
            && before(open_until, flow.edge());
        if left == 0 || !goes_on {
            return;
        }
        let more = left.min(MAX_OPEN);
        flow.splice.open_until = flow.splice.open_until.wrapping_add(more as u32);
        flow.splice.open_from = segment.seq;
        flow.expect = flow.splice.open_until;
        flow.body = BodyState::Length(left - more);
        self.install();
    }

    /// Sends on what of a segment was inspected before: the part in an open
    /// body, or one that was sent from the buffer and is not there yet. What we
    /// have acknowledged is ours to deliver, from the buffer alone: nothing
    /// compares what a client sends in its place.
    fn send_known(&mut self, segment: &Segment<'_>) -> bool {
        let flow = &*self.flow;
        let splice = &flow.splice;
        let tunnel = splice.has(mode::TUNNEL);
        let sent_until = flow.base.wrapping_add(u32::from(flow.sent));
        let from = match tunnel {
            true => segment.seq,
            false => later(segment.seq, flow.told()),
        };
        let known = match flow.buffer {
            _ if tunnel => segment.payload_end(),
            Some(_) if before(splice.open_until, sent_until) => sent_until,
            _ => splice.open_until,
        };
        let ends = [known, segment.payload_end(), flow.edge()];
        let n = ends.map(|end| distance(from, end)).into_iter().min();
        let n = n.unwrap_or_default();
        let skip = distance(segment.seq, from);
        let Some(payload) = segment.payload.get(skip..skip + n) else {
            return false;
        };
        if payload.is_empty() {
            return false;
        }
        let until = from.wrapping_add(n as u32);
        let fin = until == segment.payload_end() && segment.has(flags::FIN);
        let mut out = *segment;
        (out.seq, out.payload) = (from, payload);
        if !fin {
            out.flags &= !flags::FIN;
        } else {
            self.flow.fin_at = Some(until);
            self.flow.client_fin = true;
        }
        self.send_up(&out);
        self.copy_on(from, payload);
        true
    }

    /// Holds bytes behind what was inspected. Behind what is open of a long body
    /// that goes on: the client sends it again.
    fn take_new(&mut self, segment: &Segment<'_>) {
        if self.flow.body.is_open_ended() {
            return;
        }
        if self.flow.buffer.is_some() {
            let full = usize::from(self.flow.len) + segment.payload.len() > HOLD_BYTES;
            if full || before(self.flow.have(), self.flow.expect) {
                self.make_room();
            }
        }
        let have = self.flow.have();
        if before(have, self.flow.expect) && before(have, segment.seq) {
            return;
        }
        self.intake(segment);
        // The end of the body came with the next head, and was sent.
        let flow = &mut *self.flow;
        if flow.buffer.is_some() && before(flow.expect, flow.have()) {
            let sent = distance(flow.base, flow.expect) as u16;
            flow.sent = flow.sent.max(sent);
        }
    }

    /// The acknowledgement of a segment whose payload is not sent on. Where
    /// that is old, or behind the server's window, it is a probe: the server is
    /// asked for its acknowledgement and window, of which the last was lost.
    fn send_ack_only(&mut self, segment: &Segment<'_>) {
        let server_ack = self.flow.server_ack();
        let odd = up_to(segment.end(), server_ack) || up_to(self.flow.edge(), segment.seq);
        let mut out = *segment;
        out.payload = &[];
        out.flags = flags::ACK | segment.flags & (flags::ECE | flags::CWR);
        out.seq = match odd && !segment.payload.is_empty() {
            true => server_ack.wrapping_sub(1),
            false => earlier(later(segment.seq, server_ack), self.sent_until()),
        };
        self.send_up(&out);
    }

    /// Behind the client's bytes that were let through.
    pub fn sent_until(&self) -> u32 {
        let flow = &*self.flow;
        match flow.buffer {
            Some(_) => {
                let sent = flow.base.wrapping_add(u32::from(flow.sent));
                later(sent, earlier(flow.expect, flow.server_ack()))
            }
            None => earlier(flow.expect, later(flow.server_ack(), flow.splice.open_from)),
        }
    }

    /// A FIN right behind what was let through goes on.
    fn pass_fin(&mut self, segment: &Segment<'_>) -> bool {
        let flow = &mut *self.flow;
        if !segment.has(flags::FIN) || !matches!(flow.phase, Phase::Bound | Phase::Closing) {
            return false;
        }
        let at = segment.payload_end();
        if flow.client_fin && flow.fin_at != Some(at) {
            return false;
        }
        if !flow.client_fin && !flow.splice.has(mode::TUNNEL) && !self.is_in_window(at) {
            self.counts.strays += 1;
            self.challenge();
            return false;
        }
        let flow = &mut *self.flow;
        let unsent = flow.buffer.is_some() && flow.sent != flow.len;
        let in_body = flow.splice.is_open(at, at);
        let behind_all = at == flow.expect && (flow.buffer.is_none() || flow.have() == at);
        if unsent || !(in_body || behind_all || flow.splice.has(mode::TUNNEL)) {
            if flow.fin_at == Some(at) && self.is_cut_head(at) {
                self.reset(Reset::CutHead);
            }
            return false;
        }
        flow.fin_at = Some(at);
        flow.client_fin = true;
        let mut out = *segment;
        (out.seq, out.payload) = (at, &[]);
        self.send_up(&out);
        self.maybe_close();
        true
    }

    /// The client's FIN stands in a head that is not whole, and nothing else
    /// keeps that head waiting.
    fn is_cut_head(&self, at: u32) -> bool {
        self.flow.have() == at && !self.flow.waiting && before(self.flow.expect, at)
    }

    pub fn maybe_close(&mut self) {
        if self.flow.client_fin && self.flow.server_fin && self.flow.phase == Phase::Bound {
            self.close_soon();
        }
    }

    /// Late segments of a flow that we ended ourselves.
    fn closing(&mut self, segment: &Segment<'_>) {
        if segment.has(flags::RST | flags::SYN) {
            self.free();
        } else if segment.has(flags::FIN) || !segment.payload.is_empty() {
            self.ack_client();
        }
    }

    /// Tells what became of a request.
    pub fn decided(&mut self, status: u16) {
        self.event(Event::Request { status });
    }
}

pub fn earlier(a: u32, b: u32) -> u32 {
    if before(a, b) { a } else { b }
}
