//! Requests that pass without the engine: the model of heads.h. A segment that
//! is exactly one head, at the place where the next one is due, behind an answer
//! that has ended and has arrived, passes when all of the splice's sets agree.

use siphasher::sip::SipHasher13;

use super::scan::{self, Asked};
use super::{Direction, Progress, Splice, Verdict, mode};
use crate::tcp::{Segment, flags, up_to};

pub const N_SETS: usize = 3;
/// Bit of the number of a set that knows paths without their queries.
pub const ROUTES: u32 = 0x8000_0000;
/// Bytes of a path that rules tell apart.
pub const PATH_MAX: usize = 123;

/// What a head must find to pass; set 0 = nothing is asked. Without a first
/// set nothing passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heads {
    /// Of the rules.
    pub generation: u32,
    /// Set, and the value that it must have.
    pub sets: [(u32, u32); N_SETS],
}

impl Heads {
    pub fn is_some(&self) -> bool {
        self.sets[0].0 != 0
    }
}

/// What the programs note of requests that pass; the worker reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadNote {
    /// `open_until` of the splice that it goes on from; `None` = no note.
    pub base: Option<u32>,
    /// That passed in this binding.
    pub heads: u32,
    /// The last one, the client's numbers.
    pub at: u32,
    pub next: u32,
    pub digest: u64,
    pub method: u8,
    /// Where its answer begins and, if known, ends: the server's numbers.
    pub answer_at: u32,
    pub answer_end: Option<u32>,
}

/// An entry of a set: a method's number, what a target (or path) with a blank
/// behind it begins with, and the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRule {
    pub method: u8,
    pub path: Vec<u8>,
    pub value: u32,
}

/// What the programs know beside the splice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadRules {
    pub generation: u32,
    pub secret: u64,
    /// By set.
    pub rules: Vec<(u32, HeadRule)>,
}

impl HeadRules {
    /// The value of the longest entry that fits; 0 = none.
    fn find(&self, set: u32, asked: &Asked<'_>) -> u32 {
        let text = match set & ROUTES {
            0 => asked.target,
            _ => asked.path(),
        };
        let mut key: Vec<u8> = text.bytes().chain([b' ']).collect();
        key.truncate(PATH_MAX);
        let fits = |(of, rule): &&(u32, HeadRule)| {
            (*of, rule.method) == (set, asked.method) && key.starts_with(&rule.path)
        };
        let found = self.rules.iter().filter(fits);
        let longest = found.max_by_key(|(_, rule)| rule.path.len());
        longest.map_or(0, |(_, rule)| rule.value)
    }

    fn agree(&self, heads: &Heads, asked: &Asked<'_>) -> bool {
        let mut sets = heads.sets.iter().filter(|(set, _)| *set != 0);
        heads.is_some() && sets.all(|(set, want)| self.find(*set, asked) == *want)
    }
}

/// SipHash-1-3: without the secret nobody finds other bytes of the same digest.
pub fn digest(bytes: &[u8], secret: u64) -> u64 {
    const SECOND_KEY: u64 = 0x9fb2_1c65_1e98_df25;
    SipHasher13::new_with_keys(secret, secret ^ SECOND_KEY).hash(bytes)
}

impl Splice {
    /// [`Splice::judge`], and what only the note can tell.
    pub fn judge_noting(
        &self,
        direction: Direction,
        segment: &Segment<'_>,
        progress: &Progress,
        note: &mut HeadNote,
        rules: &HeadRules,
    ) -> Verdict {
        let verdict = self.judge(direction, segment, progress);
        let (seen, odd) = match direction {
            Direction::ToServer => (Verdict::Up, flags::URG),
            Direction::ToClient => (Verdict::PassAndCopy, 0),
        };
        if verdict != seen
            || !self.has(mode::HEADS)
            || segment.payload.is_empty()
            || segment.has(flags::SYN | flags::FIN | flags::RST | odd)
            || self.has(mode::ALL_UP) && direction == Direction::ToServer
        {
            return verdict;
        }
        match direction {
            Direction::ToServer => self.judge_head(segment, progress, note, rules),
            Direction::ToClient => self.judge_answer(segment, note),
        }
    }

    fn judge_head(
        &self,
        segment: &Segment<'_>,
        progress: &Progress,
        note: &mut HeadNote,
        rules: &HeadRules,
    ) -> Verdict {
        let goes_on = note.base == Some(self.open_until);
        let answers_end = match goes_on {
            true => note.answer_end,
            false => (!self.has(mode::ASKED)).then_some(self.quiet_until),
        };
        let fresh = self.heads.generation == rules.generation;
        if !fresh || segment.payload.len() > scan::HEAD_MAX {
            return Verdict::Up;
        }
        let digest = digest(segment.payload, rules.secret);
        let end = segment.payload_end();
        if goes_on && (note.at, note.next, note.digest) == (segment.seq, end, digest) {
            return Verdict::Pass;
        }
        let due = if goes_on { note.next } else { self.open_until };
        let Some(answers_end) = answers_end.filter(|_| segment.seq == due) else {
            return Verdict::Up;
        };
        let Some(asked) = scan::request(segment.payload) else {
            return Verdict::Up;
        };
        if !self.is_due(segment, progress, answers_end) || !rules.agree(&self.heads, &asked) {
            return Verdict::Up;
        }
        *note = HeadNote {
            base: Some(self.open_until),
            heads: note.heads + 1,
            at: segment.seq,
            next: end,
            digest,
            method: asked.method,
            answer_at: answers_end,
            answer_end: None,
        };
        Verdict::Request
    }

    /// All before was answered, acknowledged and taken; the window is open.
    fn is_due(&self, segment: &Segment<'_>, progress: &Progress, answers_end: u32) -> bool {
        let at = segment.seq.wrapping_add(self.up_delta);
        let end = at.wrapping_add(segment.payload.len() as u32);
        progress.server_nxt == answers_end
            && progress.server_ack == at
            && segment.ack == answers_end.wrapping_add(self.down_delta)
            && up_to(end, progress.server_edge)
    }

    fn judge_answer(&self, segment: &Segment<'_>, note: &mut HeadNote) -> Verdict {
        let goes_on = note.base == Some(self.open_until);
        if goes_on && let Some(end) = note.answer_end {
            return match up_to(segment.payload_end(), end) {
                true => Verdict::Pass,
                false => Verdict::PassAndCopy,
            };
        }
        let (at, is_readable) = match goes_on {
            true => (note.answer_at, note.method != scan::HEAD),
            false => (self.quiet_until, self.has(mode::ASKED)),
        };
        let Some(length) = scan::answer(segment.payload).filter(|_| is_readable) else {
            return Verdict::PassAndCopy;
        };
        if segment.seq != at {
            return Verdict::PassAndCopy;
        }
        if !goes_on {
            (note.at, note.next) = (self.open_until, self.open_until);
        }
        note.base = Some(self.open_until);
        note.answer_at = at;
        note.answer_end = Some(at.wrapping_add(length));
        match goes_on {
            true => Verdict::Pass,
            false => Verdict::PassAndCopy,
        }
    }
}
