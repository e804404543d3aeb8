//! Requests: from held bytes to a decision, and to a backend.

use super::buffers::{HOLD_BYTES, MAX_GROWTH};
use super::mirror::MAX_MIRRORS;
use super::state::{BodyState, Phase, Reply, Text};
use super::turn::Turn;
use super::{Decision, Forward, Host, Reset, Services, Token};
use crate::http::{Body, Chunks, Fault, Method, parse_request, storage};
use crate::rules::HeadWriter;
use crate::splice::{Direction, Heads, mode, translate_segment};
use crate::tcp::{before, distance, flags, up_to};

/// What of a parsed request is needed after the parser's borrow has ended.
#[derive(Debug, Clone, Copy)]
struct Asked {
    len: u16,
    body: Body,
    method: Method,
    decision: Decision,
    wants_tunnel: bool,
}

impl<S: Services, H: Host> Turn<'_, S, H> {
    /// Goes on with what is held as far as it leads.
    pub fn advance(&mut self) {
        while matches!(self.flow.phase, Phase::Held | Phase::Bound)
            && self.flow.buffer.is_some()
            && before(self.flow.expect, self.flow.have())
        {
            let goes_on = match self.flow.body {
                BodyState::Chunked(chunks) => self.follow_chunks(chunks),
                body if body.is_open_ended() => return,
                _ => self.next_request(),
            };
            if !goes_on {
                return;
            }
        }
    }

    fn next_request(&mut self) -> bool {
        self.learn_answer(false);
        match self.flow.reply {
            Reply::None | Reply::Done { .. } | Reply::Lost => {
                self.flow.waiting = false;
                if self.flow.phase == Phase::Bound && self.lacks_earlier() {
                    self.flow.resend_at = self.now + 200;
                    return false;
                }
                // What has passed at this place is what the server has.
                self.disarm() || self.request()
            }
            Reply::Tunnel => {
                self.flow.expect = self.flow.have();
                self.send_held(self.flow.have());
                false
            }
            _ => {
                self.wait();
                false
            }
        }
    }

    /// Bytes of the request before are still under way.
    pub fn lacks_earlier(&self) -> bool {
        let flow = &*self.flow;
        !flow.is_whole() || before(flow.server_ack(), flow.expect)
    }

    /// Lets everything of the client come up until the last answer has ended.
    fn wait(&mut self) {
        if self.flow.phase == Phase::Bound && !self.flow.waiting {
            self.flow.waiting = true;
            self.flow.resend_at = self.now + 200;
            self.flow.splice.mode |= mode::ALL_UP;
            self.install();
        }
    }

    fn request(&mut self) -> bool {
        let asked = match self.asked() {
            Ok(Some(asked)) => asked,
            Ok(None) => {
                if self.flow.head_by == 0 {
                    self.flow.head_by = self.now + u64::from(self.config.head_ms);
                }
                self.own_partial();
                return false;
            }
            Err(fault) => {
                self.refuse_head(fault);
                return false;
            }
        };
        self.flow.head_by = 0;
        match asked.decision {
            Decision::Answer(status) => self.finish_with(Text::Status(status)),
            Decision::Redirect(token) => self.redirect(token, &asked),
            Decision::Forward(forward) => self.forward_to(&forward, &asked),
        }
    }

    fn asked(&mut self) -> Result<Option<Asked>, Fault> {
        let flow = &*self.flow;
        let (start, end) = (distance(flow.base, flow.expect), usize::from(flow.len));
        let id = flow.buffer.unwrap_or_default();
        let bytes = &self.buffers.get(id)[start..end];
        let mut storage = storage();
        let Some(request) = parse_request(bytes, &mut storage, &self.config.limits)? else {
            return Ok(None);
        };
        let parties = flow.parties(self.id);
        let services = &mut *self.services;
        let decision = services.decide(&parties, &request, flow.bound().as_ref(), self.scratch);
        Ok(Some(Asked {
            len: request.len as u16,
            body: request.body,
            method: Method::of(request.method),
            decision,
            wants_tunnel: request.upgrade.is_some() || request.body == Body::Tunnel,
        }))
    }

    /// A head on an established binding that is not whole: the rest may wait
    /// for our ACK.
    fn own_partial(&mut self) {
        if self.flow.phase == Phase::Bound && self.flow.is_whole() {
            self.flow.acked = self.flow.have();
            self.ack_bound();
        }
    }

    /// Acknowledges what we own to a client that has a backend.
    fn ack_bound(&mut self) {
        self.flow.splice.ack_floor = self.flow.acked;
        self.arm();
        self.install();
        let mut segment = self.flow.as_service(&[]);
        segment.seq = self.flow.client_ack;
        self.host.send(Direction::ToClient, &segment);
    }

    /// Answers what is no head, and tells so.
    pub fn refuse_head(&mut self, fault: Fault) {
        if self.may_speak() {
            let parties = self.flow.parties(self.id);
            self.services.malformed(&parties, fault);
            self.decided(fault.status());
            self.answer(Text::Status(fault.status()));
        }
    }

    /// Our own answer, when the last one has ended and has arrived.
    pub fn finish_with(&mut self, text: Text) -> bool {
        if !self.may_speak() {
            return false;
        }
        if let Text::Status(status) = text {
            self.decided(status);
        }
        self.answer(text);
        false
    }

    /// Whether our next byte to the client is known, and all before arrived.
    fn may_speak(&mut self) -> bool {
        match self.flow.reply {
            Reply::None => true,
            Reply::Done { end } => {
                self.merge_progress();
                if before(end, self.flow.progress.server_nxt) && !self.flow.server_fin {
                    // Bytes that answer nothing stand where the next answer would.
                    self.reset(Reset::AnswerLost);
                    return false;
                }
                let next = end.wrapping_add(self.flow.splice.down_delta);
                if self.flow.server_fin || before(self.flow.client_ack, next) {
                    if self.flow.server_fin {
                        self.reset(Reset::AnswerLost);
                    } else {
                        self.wait();
                    }
                    return false;
                }
                self.flow.down_next = next;
                true
            }
            _ => {
                self.reset(Reset::AnswerLost);
                false
            }
        }
    }

    fn redirect(&mut self, token: Token, asked: &Asked) -> bool {
        if !self.may_speak() {
            return false;
        }
        let (status, text) = match self.rewritten(token, asked) {
            Ok((id, len)) => {
                self.drop_buffer();
                self.flow.buffer = Some(id);
                (status_of(self.buffers.get(id)), Text::Buffer(len))
            }
            Err(status) => (status, Text::Status(status)),
        };
        self.decided(status);
        self.answer(text);
        false
    }

    /// What the services write for this request, in a buffer of its own; else
    /// the status that says why not.
    fn rewritten(&mut self, token: Token, asked: &Asked) -> Result<(u32, u16), u16> {
        let flow = &*self.flow;
        let to = self.buffers.take().ok_or(503_u16)?;
        let from = flow.buffer.unwrap_or_default();
        let start = distance(flow.base, flow.expect);
        let (old, new) = self.buffers.pair(from, to);
        let bytes = &old[start..start + usize::from(asked.len)];
        let mut storage = storage();
        let request = parse_request(bytes, &mut storage, &self.config.limits);
        let room = usize::from(asked.len) + MAX_GROWTH;
        let mut out = HeadWriter::new(&mut new[..room]);
        let written = match request {
            Ok(Some(request)) => self.services.write(token, &request, &mut out).ok(),
            _ => None,
        };
        let len = out.len() as u16;
        if written.is_none() {
            self.buffers.give_back(to);
        }
        written.map(|()| (to, len)).ok_or(431)
    }

    fn forward_to(&mut self, forward: &Forward, asked: &Asked) -> bool {
        if asked.wants_tunnel && !forward.tunnel {
            return self.finish_with(Text::Status(403));
        }
        let same = self.flow.bound() == Some(forward.backend);
        if !same && !self.may_speak() {
            return false;
        }
        let mut head = asked.len;
        if let Some(token) = forward.rewrite {
            match self.rewrite_head(token, asked) {
                Ok(len) => head = len,
                Err(status) => return self.finish_with(Text::Status(status)),
            }
        }
        self.decided(0);
        let flow = &mut *self.flow;
        (flow.head_len, flow.method) = (head, asked.method);
        flow.tunnel = asked.wants_tunnel;
        flow.asked_at = self.now;
        flow.timeout_ms = forward.timeout_ms;
        let is_plain = forward.rewrite.is_none() && forward.timeout_ms == 0;
        let heads = match is_plain && !asked.wants_tunnel {
            true => forward.heads,
            false => Heads::default(),
        };
        flow.body = match asked.body {
            Body::Empty | Body::Tunnel => BodyState::None,
            Body::Length(length) => BodyState::Length(length),
            Body::Chunked => BodyState::Chunked(Chunks::default()),
        };
        if same {
            flow.splice.heads = heads;
            let at = match flow.reply {
                Reply::Done { end } => Some(end),
                _ => None,
            };
            self.copy_request(forward, asked);
            self.hand_over(at);
            return true;
        }
        if self.connect(&forward.backend) {
            self.copy_request(forward, asked);
            self.flow.splice.heads = heads;
        }
        false
    }

    fn copy_request(&mut self, forward: &Forward, asked: &Asked) {
        if !asked.wants_tunnel {
            self.begin_copies(forward);
        }
    }

    /// Puts the changed head in the place of the client's, in a new buffer.
    /// The client's is acknowledged: it is not what is delivered.
    fn rewrite_head(&mut self, token: Token, asked: &Asked) -> Result<u16, u16> {
        let (id, len) = self.rewritten(token, asked)?;
        let flow = &mut *self.flow;
        let old = flow.buffer.unwrap_or_default();
        let head_end = flow.expect.wrapping_add(u32::from(asked.len));
        let rest_at = distance(flow.base, head_end);
        let rest = usize::from(flow.len) - rest_at;
        let (from, to) = self.buffers.pair(old, id);
        let at = usize::from(len);
        to[at..at + rest].copy_from_slice(&from[rest_at..rest_at + rest]);
        self.buffers.give_back(old);
        flow.buffer = Some(id);
        let change = u32::from(len).wrapping_sub(u32::from(asked.len));
        flow.splice.up_delta = flow.splice.up_delta.wrapping_add(change);
        // In numbers of the new delta the head ends where the client's does.
        flow.base = head_end.wrapping_sub(u32::from(len));
        flow.expect = flow.base;
        (flow.len, flow.sent) = (len + rest as u16, 0);
        flow.ahead = Default::default();
        flow.acked = head_end;
        Ok(len)
    }

    /// The head goes to the backend, with what of the body came with it.
    /// `answer_at` is where the answer begins; `None` = not known.
    pub fn hand_over(&mut self, answer_at: Option<u32>) {
        let flow = &mut *self.flow;
        let head_end = flow.expect.wrapping_add(u32::from(flow.head_len));
        flow.reply = match answer_at {
            Some(at) => Reply::Head { at },
            None => Reply::Lost,
        };
        flow.waiting = false;
        flow.passed = None;
        flow.expect = head_end;
        flow.keep_until = head_end;
        let splice = &mut flow.splice;
        (splice.open_from, splice.open_until) = (head_end, head_end);
        splice.mode &= !mode::ALL_UP;
        splice.window_cap = HOLD_BYTES as u32;
        if let Some(at) = answer_at {
            splice.quiet_until = at;
        }
        if let BodyState::Length(length) = flow.body {
            let open = length.min(1 << 30);
            splice.open_until = head_end.wrapping_add(open as u32);
            splice.window_cap = u32::MAX;
            flow.expect = splice.open_until;
            flow.body = BodyState::Length(length - open);
            if flow.copies != [0; MAX_MIRRORS] {
                // Its copies need every byte of it.
                flow.splice.mode |= mode::ALL_UP;
            }
        }
        flow.splice.ack_floor = flow.acked;
        flow.answer_by = match flow.timeout_ms {
            0 => 0,
            timeout => flow.asked_at + u64::from(timeout),
        };
        flow.resend_ms = 200;
        flow.resend_at = self.now + 200;
        self.arm();
        self.install();
        let flow = &*self.flow;
        let until = match flow.body {
            BodyState::Length(_) => super::client::earlier(flow.have(), flow.expect),
            _ => flow.expect,
        };
        let had_copies = self.is_copied();
        self.send_held(until);
        if had_copies {
            self.let_body_pass();
        }
    }

    fn follow_chunks(&mut self, mut chunks: Chunks) -> bool {
        let flow = &mut *self.flow;
        let (start, end) = (distance(flow.base, flow.expect), usize::from(flow.len));
        let id = flow.buffer.unwrap_or_default();
        let Ok(followed) = chunks.follow(&self.buffers.get(id)[start..end]) else {
            self.broken_chunks();
            return false;
        };
        flow.expect = flow.expect.wrapping_add(followed.len as u32);
        flow.keep_until = flow.expect;
        if followed.len > 0 {
            flow.head_by = 0;
        }
        if before(flow.expect, flow.have()) && flow.head_by == 0 {
            flow.head_by = self.now + u64::from(self.config.head_ms);
        }
        flow.body = match followed.ended {
            true => BodyState::None,
            false => BodyState::Chunked(chunks),
        };
        flow.resend_at = self.now + u64::from(flow.resend_ms.max(200));
        self.send_held(self.flow.expect);
        if followed.ended {
            self.copies_are_whole();
        }
        followed.ended
    }

    /// 400 where the backend has said nothing yet, else RST.
    fn broken_chunks(&mut self) {
        self.merge_progress();
        match self.flow.reply {
            Reply::Head { at } if self.flow.progress.server_nxt == at => {
                self.flow.down_next = at.wrapping_add(self.flow.splice.down_delta);
                self.decided(400);
                self.answer(Text::Status(400));
            }
            _ => self.reset(Reset::Framing),
        }
    }

    /// Sends held bytes up to `until` to the server, as far as its window
    /// goes; the client sends the rest again.
    pub fn send_held(&mut self, until: u32) {
        let Some(id) = self.flow.buffer else { return };
        let flow = &*self.flow;
        let from = flow.base.wrapping_add(u32::from(flow.sent));
        let n = distance(from, until);
        if self.is_copied() {
            let start = usize::from(self.flow.sent);
            let copies = self.flow.copies;
            let bytes = &self.buffers.get(id)[start..start + n];
            self.flow.copies = self.legs.put_all(copies, from, bytes);
        }
        self.flow.sent += n as u16;
        self.send_range(id, from, until);
    }

    /// Sends a range of the buffer in segments.
    pub fn send_range(&mut self, id: u32, from: u32, until: u32) {
        let edge = self.flow.edge();
        let mss = usize::from(self.flow.agreed.mss).saturating_sub(12).max(64);
        let mut at = from;
        while before(at, until) && before(at, edge) {
            let n = distance(at, super::client::earlier(until, edge)).min(mss);
            let start = distance(self.flow.base, at);
            let end = at.wrapping_add(n as u32);
            let flow = &*self.flow;
            let fin = flow.fin_at == Some(end);
            let payload = &self.buffers.get(id)[start..start + n];
            let mut segment = flow.as_client(at, flow.client_ack, payload);
            segment.flags |= flags::PSH;
            if fin {
                segment.flags |= flags::FIN;
            }
            let out = translate_segment(&flow.splice, Direction::ToServer, &segment);
            self.host.send(Direction::ToServer, &out);
            if fin {
                self.flow.client_fin = true;
                self.maybe_close();
            }
            at = end;
        }
        if before(at, until) && before(self.flow.acked, until) && self.flow.is_whole() {
            // The server's window is smaller than what the client was told:
            // these bytes are ours to deliver now.
            self.flow.acked = until;
            self.flow.resend_at = self.now + 20;
            self.ack_bound();
        }
    }

    /// Sends again what we have acknowledged and the server has not.
    pub fn resend_owned(&mut self) -> bool {
        let flow = &*self.flow;
        let Some(id) = flow.buffer else { return false };
        let sent_until = flow.base.wrapping_add(u32::from(flow.sent));
        let until = super::client::earlier(flow.acked, sent_until);
        let from = crate::tcp::later(flow.base, flow.server_ack());
        if up_to(until, from) {
            return false;
        }
        match self.flow.is_shut() {
            true => self.ask_window(),
            false => self.send_range(id, from, until),
        }
        true
    }

    /// A byte before its window makes a server tell its window again.
    pub fn ask_window(&mut self) {
        let flow = &*self.flow;
        let at = flow.server_ack().wrapping_sub(1);
        let segment = flow.as_client(at, flow.client_ack, &[]);
        self.send_up(&segment);
    }
}

/// The status in the first line of an answer that was written for us.
fn status_of(answer: &[u8]) -> u16 {
    let digits = answer.get(9..12).unwrap_or_default();
    digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(digit & 15))
}
