//! Follows answers, as far as needed to know where they end. Bytes that are
//! looked at may come in any order: what is behind a gap is kept meanwhile.

use super::intake::{close_gaps, note_ahead};
use super::state::{Phase, Reply};
use super::turn::Turn;
use super::{BUFFER_BYTES, Event, Host, Services};
use crate::http::{Chunks, Method, Response, ResponseBody, parse_response, response_storage};
use crate::tcp::{Segment, distance, flags, up_to};

/// How far a body's range is quiet at once: sequence numbers wrap.
const MAX_QUIET: u64 = 1 << 30;

/// What the next bytes of an answer are.
enum Look {
    Head(Response),
    /// Chunk framing and data up to here.
    Chunks(Chunks, usize, bool),
    /// More must come.
    Part,
    Broken,
}

fn look(reply: &Reply, method: Method, bytes: &[u8]) -> Look {
    match reply {
        Reply::Head { .. } => match parse_response(bytes, &mut response_storage(), method) {
            Ok(Some(response)) => Look::Head(response),
            Ok(None) => Look::Part,
            Err(_) => Look::Broken,
        },
        Reply::Chunked { chunks, .. } => {
            let mut chunks = *chunks;
            match chunks.follow(bytes) {
                Ok(followed) => Look::Chunks(chunks, followed.len, followed.ended),
                Err(_) => Look::Broken,
            }
        }
        _ => Look::Broken,
    }
}

impl<S: Services, H: Host> Turn<'_, S, H> {
    /// Goes on over a segment's payload.
    pub fn follow_answer(&mut self, segment: &Segment<'_>) {
        let (mut at, mut bytes) = (segment.seq, segment.payload);
        while !bytes.is_empty() && self.flow.phase != Phase::Free {
            let used = match self.wanted() {
                Some(next) => self.inspect(next, at, bytes),
                None => self.pass_over(at, bytes),
            };
            if used == 0 {
                break;
            }
            at = at.wrapping_add(used as u32);
            bytes = &bytes[used..];
        }
        if segment.has(flags::FIN) && self.flow.reply == Reply::UntilClose {
            self.flow.reply = Reply::Done {
                end: segment.payload_end(),
            };
        }
    }

    /// The byte that must be looked at next; what is held begins with it.
    fn wanted(&self) -> Option<u32> {
        match self.flow.reply {
            Reply::Head { at } | Reply::Chunked { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Looks at bytes from `at` on, of which `next` is wanted. Returns how many
    /// are done with, 0 = all.
    fn inspect(&mut self, next: u32, at: u32, bytes: &[u8]) -> usize {
        let skip = distance(at, next);
        if skip >= bytes.len() {
            return 0;
        }
        let in_order = up_to(at, next) && self.flow.reply_buffer.is_none();
        if in_order {
            let found = look(&self.flow.reply, self.flow.method, &bytes[skip..]);
            if !matches!(found, Look::Part) {
                return match self.apply(next, &found) {
                    0 => 0,
                    used => skip + used,
                };
            }
        }
        self.hold(next, distance(next, at), &bytes[skip..]);
        0
    }

    /// Keeps bytes that begin `start` behind `next`, and looks again.
    fn hold(&mut self, next: u32, start: usize, bytes: &[u8]) {
        let end = start + bytes.len();
        let flow = &mut *self.flow;
        if flow.reply_buffer.is_none() {
            flow.reply_buffer = self.buffers.take();
            // Nor does a server keep a buffer by never sending the rest.
            flow.reply_by = self.now + u64::from(self.config.head_ms);
            flow.reply_len = 0;
            flow.reply_ahead = Default::default();
        }
        let Some(id) = flow.reply_buffer.filter(|_| end <= BUFFER_BYTES) else {
            self.lost();
            return;
        };
        let len = usize::from(flow.reply_len);
        if start > len && !note_ahead(&mut flow.reply_ahead, start, end) {
            self.lost();
            return;
        }
        self.buffers.get_mut(id)[start..end].copy_from_slice(bytes);
        if start <= len {
            flow.reply_len = flow.reply_len.max(end as u16);
        }
        close_gaps(&mut flow.reply_ahead, &mut flow.reply_len);
        self.look_at_held(next, id);
    }

    fn look_at_held(&mut self, mut next: u32, id: u32) {
        while self.flow.reply_len > 0 {
            let held = &self.buffers.get(id)[..usize::from(self.flow.reply_len)];
            let found = look(&self.flow.reply, self.flow.method, held);
            if matches!(found, Look::Part) {
                return;
            }
            let used = self.apply(next, &found);
            if self.flow.reply_buffer != Some(id) {
                return;
            }
            if used == 0 || self.wanted().is_none() {
                break;
            }
            next = next.wrapping_add(used as u32);
            self.drop_held(id, used);
        }
        let gap = self.flow.reply_ahead.iter().any(|range| range.1 != 0);
        if self.wanted().is_none() || !gap {
            self.drop_reply_buffer();
        }
    }

    fn drop_held(&mut self, id: u32, used: usize) {
        let flow = &mut *self.flow;
        self.buffers.get_mut(id).copy_within(used.., 0);
        flow.reply_len -= used as u16;
        for (from, until) in flow.reply_ahead.iter_mut().filter(|range| range.1 != 0) {
            (*from, *until) = (*from - used as u16, *until - used as u16);
        }
    }

    pub fn lost(&mut self) {
        self.flow.reply = Reply::Lost;
        self.drop_reply_buffer();
    }

    /// What was found at `at`; returns the bytes that are done with.
    fn apply(&mut self, at: u32, found: &Look) -> usize {
        match *found {
            Look::Head(response) => {
                self.answered(at, &response);
                response.len
            }
            Look::Chunks(chunks, len, ended) => {
                let next = at.wrapping_add(len as u32);
                match ended {
                    true => self.done(next),
                    false => {
                        self.flow.reply = Reply::Chunked { at: next, chunks };
                        self.keep_loud(next);
                    }
                }
                len
            }
            Look::Part => 0,
            Look::Broken => {
                self.lost();
                0
            }
        }
    }

    /// Bytes that need not be looked at; returns how many, 0 = all.
    fn pass_over(&mut self, at: u32, bytes: &[u8]) -> usize {
        let end = at.wrapping_add(bytes.len() as u32);
        match self.flow.reply {
            Reply::Length { until, left } if !up_to(end, until) => {
                self.quiet(until, left);
                distance(at, until).max(1)
            }
            Reply::UntilClose => {
                self.quiet_from(end);
                0
            }
            _ => 0,
        }
    }

    fn answered(&mut self, at: u32, response: &Response) {
        let next = at.wrapping_add(response.len as u32);
        if response.body != ResponseBody::Interim {
            self.flow.answer_by = 0;
        }
        self.flow.reply = match response.body {
            ResponseBody::Interim => Reply::Head { at: next },
            ResponseBody::Empty => {
                self.done(next);
                self.flow.reply
            }
            ResponseBody::Length(length) => {
                self.quiet(next, length);
                self.flow.reply
            }
            ResponseBody::Chunked => Reply::Chunked {
                at: next,
                chunks: Chunks::default(),
            },
            ResponseBody::UntilClose => {
                self.quiet_from(next);
                Reply::UntilClose
            }
            ResponseBody::Tunnel if self.flow.tunnel => Reply::Tunnel,
            ResponseBody::Tunnel => Reply::Lost,
        };
        if response.body != ResponseBody::Interim {
            let after = self.now.saturating_sub(self.flow.asked_at);
            self.event(Event::Answer {
                status: response.status,
                after_ms: u32::try_from(after).unwrap_or(u32::MAX),
            });
        }
    }

    /// `left` bytes from `from` on belong to the body.
    fn quiet(&mut self, from: u32, left: u64) {
        let n = left.min(MAX_QUIET);
        let until = from.wrapping_add(n as u32);
        self.flow.splice.quiet_until = until;
        self.flow.reply = match left - n {
            // The end itself is known before the bytes have passed.
            0 => Reply::Done { end: until },
            left => Reply::Length { until, left },
        };
        self.arm();
        self.install();
    }

    fn quiet_from(&mut self, at: u32) {
        self.flow.splice.quiet_until = at.wrapping_add(MAX_QUIET as u32);
        self.arm();
        self.install();
    }

    /// What is quiet ends not so far behind that it would be ahead again.
    fn keep_loud(&mut self, at: u32) {
        if at.wrapping_sub(self.flow.splice.quiet_until) > MAX_QUIET as u32 {
            self.flow.splice.quiet_until = at;
            self.arm();
            self.install();
        }
    }

    fn done(&mut self, end: u32) {
        self.flow.reply = Reply::Done { end };
        if self.flow.splice.heads.is_some() {
            self.arm();
            self.install();
        }
    }
}
