//! What time does to a flow.

use super::client::CLOSING_MS;
use super::state::{BodyState, Phase, Reply, Text};
use super::turn::Turn;
use super::{Host, Reset, Services};
use crate::http::Fault;
use crate::splice::{Direction, Progress};
use crate::tcp::{before, later, up_to};

const MAX_RESEND_MS: u32 = 8_000;
/// A server whose window is shut is asked so often more: two minutes.
const SHUT_TRIES: u32 = 15;
/// A client that takes nothing of the end of an answer is waited for so often.
const CLOSING_TRIES: u16 = 5;

impl<S: Services, H: Host> Turn<'_, S, H> {
    pub fn tick(&mut self) {
        let flow = &*self.flow;
        let now = self.now;
        let due = |time: u64| time != 0 && time <= now;
        let (expired, resend) = (due(flow.expire_at), due(flow.resend_at));
        let (late, idle) = (due(flow.answer_by), due(flow.idle_at));
        if flow.splice.heads.is_some() && (due(flow.count_at) || idle) {
            self.count_tick();
        }
        if due(self.flow.reply_by) {
            self.lost();
            self.advance();
        }
        let flow = &*self.flow;
        match flow.phase {
            Phase::HalfOpen if expired => self.free(),
            Phase::Closing if expired => self.end_closing(),
            Phase::Connecting if expired => self.late(),
            Phase::Connecting if resend => self.send_syn(),
            Phase::Answering if expired => self.reset(Reset::ClientSilent),
            Phase::Answering if resend => self.send_answer(),
            Phase::Bound | Phase::Held if due(flow.head_by) => self.head_late(),
            Phase::Bound => self.bound_tick(resend, late, idle),
            Phase::Held if idle => self.probe(),
            Phase::Mirror => self.leg_tick(expired, resend, late),
            _ => {}
        }
    }

    /// Both ends have closed and late segments had their time; a client that
    /// lacks some of the answer has more while it takes it, or for 15 s.
    fn end_closing(&mut self) {
        self.merge_progress();
        let flow = &mut *self.flow;
        // Behind the last byte, before the FIN.
        let end = flow.progress.server_nxt.wrapping_sub(1);
        let end = end.wrapping_add(flow.splice.down_delta);
        let lacks = flow.client_fin && flow.server_fin && before(flow.client_ack, end);
        if flow.resent_from != flow.client_ack {
            (flow.resent_from, flow.probes) = (flow.client_ack, 0);
        }
        if !flow.is_spliced() || !lacks || flow.probes >= CLOSING_TRIES {
            self.free();
            return;
        }
        flow.probes += 1;
        flow.expire_at = self.now + CLOSING_MS;
    }

    /// The backend did not answer in time.
    fn late(&mut self) {
        self.decided(504);
        self.answer(Text::Status(504));
    }

    fn bound_tick(&mut self, resend: bool, late: bool, idle: bool) {
        let before_merge = self.flow.progress;
        self.merge_progress();
        if late {
            self.flow.answer_by = 0;
            if let Reply::Head { at } = self.flow.reply
                && self.flow.progress.server_nxt == at
            {
                self.flow.down_next = at.wrapping_add(self.flow.splice.down_delta);
                self.late();
                return;
            }
        }
        if resend {
            self.deliver();
        }
        if self.flow.phase == Phase::Bound && idle {
            if self.lives(&before_merge) {
                self.flow.probes = 0;
            }
            match self.flow.client_fin {
                true => self.half_closed(),
                false => self.probe(),
            }
        }
    }

    /// Whether anything came since `before`. A backend that has the client's FIN
    /// and answers us works on its answer. One that has not waits for a FIN that
    /// the client should have sent again: there its clock alone shows no life.
    fn lives(&self, before_merge: &Progress) -> bool {
        let flow = &*self.flow;
        let lacks_fin =
            flow.client_fin && flow.fin_at.is_some_and(|at| up_to(flow.server_ack(), at));
        let seen = Progress {
            ts_value: match lacks_fin {
                true => before_merge.ts_value,
                false => flow.progress.ts_value,
            },
            ..flow.progress
        };
        *before_merge != seen
    }

    /// The client has ended. The copy of the server's FIN may have been lost;
    /// where the answer ends says that it was one. Else the server is asked, not
    /// the client: its stack may know the connection as one that is over, and
    /// our probes would keep it so for good.
    fn half_closed(&mut self) {
        self.learn_answer(true);
        let flow = &mut *self.flow;
        if let Reply::Done { end } = flow.reply
            && flow.progress.server_nxt == end.wrapping_add(1)
        {
            flow.server_fin = true;
            self.maybe_close();
            return;
        }
        let probe_ms = u64::from(self.config.probe_ms);
        if u64::from(flow.probes) * probe_ms >= u64::from(self.config.half_closed_ms) {
            self.reset(Reset::HalfClosed);
            return;
        }
        flow.probes += 1;
        flow.idle_at = self.now + probe_ms;
        self.ask_window();
    }

    /// The head that has begun, or a line of a chunked body's framing, is not
    /// whole in time, or never came: what is held is behind a gap.
    fn head_late(&mut self) {
        let flow = &mut *self.flow;
        flow.head_by = 0;
        let ahead = flow.ahead.iter().any(|range| range.1 != 0);
        let begun = before(flow.expect, flow.have()) || ahead;
        if !begun || flow.waiting {
            return;
        }
        match flow.body {
            BodyState::None | BodyState::Length(0) => {
                self.refuse_head(Fault::HeadLate);
            }
            BodyState::Chunked(_) => self.reset(Reset::ClientSilent),
            BodyState::Length(_) => {}
        }
    }

    /// Asks a silent client for its acknowledgement: one that is gone answers
    /// with RST (RFC 9293 section 3.8.4).
    fn probe(&mut self) {
        let probe_ms = u64::from(self.config.probe_ms);
        let silent_ms = u64::from(self.flow.probes) * probe_ms;
        if silent_ms >= u64::from(self.config.idle_ms) {
            self.reset(Reset::ClientSilent);
            return;
        }
        self.flow.probes += 1;
        self.flow.idle_at = self.now + probe_ms;
        let flow = &*self.flow;
        let mut segment = flow.as_service(&[]);
        segment.seq = flow.client_ack.wrapping_sub(1);
        if flow.phase == Phase::Bound {
            segment.ack = later(flow.acked, flow.server_ack());
        }
        self.host.send(Direction::ToClient, &segment);
    }

    /// The client has bytes of the answer that no copy has shown, and its next
    /// request waits for their end.
    fn answer_was_missed(&self) -> bool {
        let at = match self.flow.reply {
            Reply::Head { at } | Reply::Chunked { at, .. } => at,
            _ => return false,
        };
        let seen = at.wrapping_add(u32::from(self.flow.reply_len));
        let down_delta = self.flow.splice.down_delta;
        before(seen.wrapping_add(down_delta), self.flow.client_ack)
    }

    /// Sends again what we must deliver; gives the buffer back when it is.
    fn deliver(&mut self) {
        if self.flow.resent_from != self.flow.progress.server_ack {
            self.flow.resent_from = self.flow.progress.server_ack;
            self.flow.resend_ms = 50;
        }
        if self.resend_owned() {
            let more = match self.flow.is_shut() {
                true => SHUT_TRIES,
                false => 0,
            };
            if self.flow.resend_ms > MAX_RESEND_MS + more {
                self.reset(Reset::Undelivered);
                return;
            }
            self.flow.resend_at = self.now + u64::from(self.flow.resend_ms);
            self.flow.resend_ms = match self.flow.resend_ms {
                ms @ ..MAX_RESEND_MS => (2 * ms).min(MAX_RESEND_MS),
                ms => ms + 1,
            };
            return;
        }
        if self.flow.waiting && self.learn_answer(true) {
            self.advance();
            return;
        }
        if self.flow.waiting && self.answer_was_missed() {
            self.flow.reply = Reply::Lost;
            self.drop_reply_buffer();
            self.advance();
            return;
        }
        self.make_room();
        let holds = self.flow.buffer.is_some();
        let ended = before(self.flow.expect, self.flow.have());
        self.flow.resend_at = match (holds && !ended) || self.flow.waiting {
            true => self.now + 200,
            false => 0,
        };
        if ended && !self.flow.waiting {
            if self.lacks_earlier() {
                // What the server said of it may have been lost.
                self.ask_window();
            }
            self.advance();
        }
    }
}
