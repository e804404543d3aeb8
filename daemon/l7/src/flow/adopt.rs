//! Requests that passed without us: where the kernel may let them pass, and
//! how a flow goes on from what it notes.
//!
//! The kernel writes its note only while the splice is the one that it has
//! judged by, and we look at the note after each change of the splice. So
//! either it sees the change, or we see the request.

use super::state::{BodyState, Passed, Phase, Reply};
use super::turn::Turn;
use super::{Event, Host, Reset, Services};
use crate::http::Method;
use crate::splice::{HeadNote, digest, mode, scan};
use crate::tcp::{Segment, before, distance, later, up_to};

/// How often passed requests are counted while there are some.
const COUNT_MS: u64 = 1_000;

impl<S: Services, H: Host> Turn<'_, S, H> {
    /// Says in the splice whether requests may pass from here on: the last one
    /// is with the server whole, and where its answer ends or begins is known.
    pub fn arm(&mut self) {
        let hold = self.config.hold_answers;
        let flow = &mut *self.flow;
        flow.splice.mode &= !(mode::HEADS | mode::ASKED);
        let is_between = matches!(flow.body, BodyState::None | BodyState::Length(0))
            && flow.splice.open_until == flow.expect
            && flow.have() == flow.expect
            && flow.ahead.iter().all(|range| range.1 == 0);
        let is_closing = flow.client_fin || flow.server_fin || flow.fin_at.is_some();
        let wanted = flow.splice.heads.is_some() && !hold && !flow.waiting;
        if !wanted || !is_between || is_closing {
            return;
        }
        let armed = match flow.reply {
            Reply::Done { end } => {
                flow.splice.quiet_until = end;
                mode::HEADS
            }
            Reply::Head { at } if flow.method == Method::Other && flow.reply_buffer.is_none() => {
                flow.splice.quiet_until = at;
                mode::HEADS | mode::ASKED
            }
            _ => return,
        };
        flow.splice.mode |= armed;
        flow.count_at = self.now + COUNT_MS;
    }

    /// Puts the splice in the place of the one before, and goes on from what
    /// passed meanwhile.
    pub fn install(&mut self) {
        self.host.splice(self.id, &self.flow.splice, None);
        while self.adopt() && self.flow.phase == Phase::Bound {
            self.host.splice(self.id, &self.flow.splice, None);
        }
    }

    /// From here on no request passes without us. True when one has passed at
    /// the place of what is held: what the server has there is not ours to decide.
    pub fn disarm(&mut self) -> bool {
        let at = self.flow.expect;
        // Whatever our own copy says: the programs may still have one that is armed.
        if self.flow.phase == Phase::Bound && self.flow.splice.heads.is_some() {
            self.flow.splice.mode &= !(mode::HEADS | mode::ASKED);
            self.install();
        }
        self.flow.expect != at || self.flow.phase == Phase::Free
    }

    /// Goes on from the last request that passed; false = there is none new.
    pub fn adopt(&mut self) -> bool {
        if self.flow.phase != Phase::Bound || !self.flow.splice.heads.is_some() {
            return false;
        }
        let noted = self.host.heads(self.id);
        if !self.count_passed(&noted) {
            return false;
        }
        match before(self.flow.expect, noted.next) {
            true => self.go_on_from(&noted),
            // At a place that was decided here: the server has two of them.
            false => self.reset(Reset::OtherBytes),
        }
        true
    }

    fn count_passed(&mut self, noted: &HeadNote) -> bool {
        let passed = noted.heads.wrapping_sub(self.flow.heads_seen);
        if noted.base.is_none() || passed == 0 {
            return false;
        }
        self.flow.heads_seen = noted.heads;
        self.event(Event::Passed { requests: passed });
        true
    }

    /// What passed before a binding ends is counted, too.
    pub fn count_last(&mut self) {
        if self.flow.splice.heads.is_some() {
            let noted = self.host.heads(self.id);
            self.count_passed(&noted);
        }
    }

    fn go_on_from(&mut self, noted: &HeadNote) {
        self.drop_reply_buffer();
        let flow = &mut *self.flow;
        flow.expect = noted.next;
        (flow.splice.open_from, flow.splice.open_until) = (noted.next, noted.next);
        flow.splice.quiet_until = noted.answer_at;
        flow.body = BodyState::None;
        flow.reply = Reply::Head {
            at: noted.answer_at,
        };
        flow.method = match noted.method {
            scan::HEAD => Method::Head,
            _ => Method::Other,
        };
        (flow.tunnel, flow.waiting, flow.answer_by) = (false, false, 0);
        flow.passed = Some(Passed {
            at: noted.at,
            next: noted.next,
            digest: noted.digest,
        });
        flow.keep_until = noted.next;
        if self.flow.buffer.is_some() && !self.keep_behind(noted) {
            self.reset(Reset::OtherBytes);
            return;
        }
        self.arm();
    }

    /// What is held goes on behind what has passed. False where the server may
    /// still lack that, and what is held there is not the same.
    fn keep_behind(&mut self, noted: &HeadNote) -> bool {
        let flow = &*self.flow;
        let server_ack = flow.server_ack();
        let is_taken = up_to(noted.next, server_ack);
        let owns_none = up_to(flow.acked, later(noted.at, server_ack));
        if up_to(flow.have(), noted.next) && (is_taken || owns_none) {
            self.drop_buffer();
            return true;
        }
        if !is_taken && !self.holds_passed(noted) {
            return false;
        }
        let flow = &mut *self.flow;
        let with_server = distance(flow.base, noted.next).min(usize::from(flow.len));
        flow.sent = flow.sent.max(with_server as u16);
        flow.resend_at = self.now + 200;
        true
    }

    /// Whether what is held begins with what has passed.
    fn holds_passed(&self, noted: &HeadNote) -> bool {
        let flow = &*self.flow;
        let Some(id) = flow.buffer else { return false };
        let range = distance(flow.base, noted.at)..distance(flow.base, noted.next);
        let held = &self.buffers.get(id)[..usize::from(flow.len)];
        let held = held.get(range).filter(|_| up_to(flow.base, noted.at));
        held.is_some_and(|held| digest(held, self.host.secret()) == noted.digest)
    }

    /// The request that is being answered is the last that passed.
    fn passed_is_last(&self) -> bool {
        let flow = &*self.flow;
        flow.passed.is_some_and(|passed| passed.next == flow.expect)
    }

    /// Where the answer ends, if the kernel has read it. `must` = also one that
    /// a copy should have shown.
    pub fn learn_answer(&mut self, must: bool) -> bool {
        let Reply::Head { at } = self.flow.reply else {
            return false;
        };
        if !self.flow.splice.heads.is_some() || !(must || self.passed_is_last()) {
            return false;
        }
        let noted = self.host.heads(self.id);
        let Some(end) = noted.answer_end.filter(|_| noted.answer_at == at) else {
            return false;
        };
        self.drop_reply_buffer();
        self.flow.answer_by = 0;
        self.flow.reply = Reply::Done { end };
        self.arm();
        true
    }

    /// Time to count. The answer to a request of ours is not passed over: its
    /// copy may be waiting.
    pub fn count_tick(&mut self) {
        let is_ours = matches!(self.flow.reply, Reply::Head { .. } | Reply::Chunked { .. })
            && !self.passed_is_last();
        let seen = self.flow.heads_seen;
        if !is_ours {
            self.adopt();
        }
        self.flow.count_at = match self.flow.heads_seen == seen && !is_ours {
            true => 0,
            false => self.now + COUNT_MS,
        };
    }

    /// Whether a segment agrees with the request that passed and that the
    /// server may still lack. We have its digest only: it must be there whole.
    pub fn agrees_with_passed(&mut self, segment: &Segment<'_>) -> bool {
        let Some(passed) = self.flow.passed else {
            return true;
        };
        let server_ack = self.flow.server_ack();
        if up_to(passed.next, server_ack) {
            if !self.passed_is_last() {
                self.flow.passed = None;
            }
            return true;
        }
        let (seq, end) = (segment.seq, segment.payload_end());
        let from = later(passed.at, server_ack);
        if !before(seq, passed.next) || !before(from, end) {
            return true;
        }
        if !up_to(seq, passed.at) || !up_to(passed.next, end) {
            return false;
        }
        let range = distance(seq, passed.at)..distance(seq, passed.next);
        digest(&segment.payload[range], self.host.secret()) == passed.digest
    }
}
