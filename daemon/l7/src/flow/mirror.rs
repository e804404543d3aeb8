//! Mirrors: copies of requests to other servers, whose answers are thrown
//! away. A copy is a small TCP client of the engine's own, a *leg*, fed with
//! what goes to the backend; the request itself never waits for it. What a leg
//! has no room for ends it, and is counted.

mod leg;
mod legs;

use super::state::BodyState;
use super::turn::Turn;
use super::{Backend, Forward, Host, Services};
use crate::splice::mode;

pub use legs::{LEG_BYTES, Legs};

/// Mirrors of one rule.
pub const MAX_MIRRORS: usize = 4;

/// Where copies of a request go.
pub type Copies = [Option<Copied>; MAX_MIRRORS];

/// One copy of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// What the caller calls the mirror's rule; told with its end.
    pub route: u32,
    /// Or why there is none.
    pub to: Result<Target, MirrorEnd>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target {
    /// `source` is of this copy alone.
    pub backend: Backend,
    /// What the caller calls the server.
    pub index: u32,
}

/// What became of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorEnd {
    /// The mirror has acknowledged the whole request.
    Sent,
    /// There is no ready server.
    NoBackend,
    /// Policy does not let the client there.
    Denied,
    /// Too many copies are under way.
    Busy,
    /// The server did not take the connection.
    Unreachable,
    /// The server was slower than the client: the copy's buffer was full, or
    /// nothing was acknowledged in time.
    Slow,
    /// The server ended the connection before the request did.
    Refused,
    /// The request itself ended before it was whole.
    Cut,
}

impl<S: Services, H: Host> Turn<'_, S, H> {
    /// The copies of a request whose head begins at `expect`, and is decided.
    pub fn begin_copies(&mut self, forward: &Forward) {
        self.cut_copies();
        for (i, copy) in forward.copies.iter().enumerate() {
            let Some(copy) = copy else { continue };
            let flow = &*self.flow;
            let rest = match flow.body {
                BodyState::None => Some(0),
                BodyState::Length(length) => Some(length),
                BodyState::Chunked(_) => None,
            };
            let left = rest.map(|rest| rest + u64::from(flow.head_len));
            let begun = copy.to.and_then(|target| {
                let begun = self.legs.begin(flow, copy.route, &target, left);
                begun.ok_or(MirrorEnd::Busy)
            });
            match begun {
                Ok(place) => self.flow.copies[i] = place + 1,
                Err(end) => self.services.mirrored(copy.route, end),
            }
        }
    }

    /// Whether a copy waits for more of the request.
    pub fn is_copied(&self) -> bool {
        self.flow.copies.iter().any(|copy| *copy != 0)
    }

    /// Bytes that go to the backend from `at` on go to the copies, too.
    pub fn copy_on(&mut self, at: u32, bytes: &[u8]) {
        if self.is_copied() {
            self.flow.copies = self.legs.put_all(self.flow.copies, at, bytes);
            self.let_body_pass();
        }
    }

    /// A body needs no look any more once its copies have it.
    pub fn let_body_pass(&mut self) {
        let splice = &self.flow.splice;
        if splice.has(mode::ALL_UP) && !self.flow.waiting && !self.is_copied() {
            self.flow.splice.mode &= !mode::ALL_UP;
            self.install();
        }
    }

    /// The last chunk has been handed over.
    pub fn copies_are_whole(&mut self) {
        for copy in std::mem::take(&mut self.flow.copies) {
            if let Some(place) = copy.checked_sub(1) {
                self.legs.whole(place);
            }
        }
    }

    /// The request ends before it is whole.
    pub fn cut_copies(&mut self) {
        for copy in std::mem::take(&mut self.flow.copies) {
            if let Some(place) = copy.checked_sub(1) {
                self.legs.cut(place, MirrorEnd::Cut);
            }
        }
    }
}

/// When all of a leg's answer must be there.
const ANSWER_MS: u64 = 60_000;

impl<S: Services, H: Host> Turn<'_, S, H> {
    /// What a leg has to do since it was looked at last.
    pub fn serve_leg(&mut self) {
        match self.legs.get_mut(self.flow.leg).cut {
            Some(end) => self.end_leg(end),
            None => self.push_leg(),
        }
    }
}
