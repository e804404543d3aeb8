//! The connection to a backend: opened with the client's own numbers.

use super::state::{Phase, Reply, Text};
use super::turn::Turn;
use super::{Backend, Event, Host, Reset, Services};
use crate::splice::{Direction, Progress, Splice, mode};
use crate::tcp::{Options, Segment, Timestamps, flags};

const FIRST_RESEND_MS: u32 = 250;

impl<S: Services, H: Host> Turn<'_, S, H> {
    /// Sends a SYN to a backend; a binding to another one ends. `false` = there
    /// is no source for it, and the client was told.
    pub fn connect(&mut self, backend: &Backend) -> bool {
        let up_delta = self.flow.splice.up_delta;
        self.unbind();
        let Some(backend) = self.with_free_source(backend) else {
            self.event(Event::NoPort);
            self.decided(503);
            self.answer(Text::Status(503));
            return false;
        };
        let flow = &mut *self.flow;
        flow.phase = Phase::Connecting;
        flow.splice = Splice {
            client: flow.client,
            service: flow.service,
            source: backend.source,
            server: backend.server,
            up_delta,
            ..Splice::default()
        };
        flow.syn_seq = flow.expect.wrapping_add(up_delta).wrapping_sub(1);
        flow.server_fin = false;
        flow.waiting = false;
        flow.reply = Reply::None;
        flow.resend_ms = FIRST_RESEND_MS;
        let limit = match flow.timeout_ms {
            0 => self.config.connect_ms,
            of_route => of_route.min(self.config.connect_ms),
        };
        flow.expire_at = self.now + u64::from(limit);
        self.index.insert(backend.server, backend.source, self.id);
        self.host.open(self.id, &flow.splice);
        self.send_syn();
        true
    }

    /// The backend, from a source that no living connection to it has.
    fn with_free_source(&mut self, backend: &Backend) -> Option<Backend> {
        let services = &mut *self.services;
        let source = self
            .index
            .free_source(backend, |taken| services.another_source(taken));
        source.map(|source| Backend { source, ..*backend })
    }

    /// The SYN has got no answer twice: the programs may know its source as that
    /// of a living connection, which an earlier worker has left.
    fn change_source(&mut self) {
        let splice = &self.flow.splice;
        let taken = Backend {
            server: splice.server,
            source: splice.source,
        };
        let Some(next) = self.with_free_source(&taken) else {
            return;
        };
        self.index.remove(taken.server, taken.source, self.id);
        self.index.insert(next.server, next.source, self.id);
        self.flow.splice.source = next.source;
        self.host.open(self.id, &self.flow.splice);
    }

    pub fn send_syn(&mut self) {
        if self.flow.resend_ms > 2 * FIRST_RESEND_MS {
            self.change_source();
        }
        let flow = &mut *self.flow;
        flow.resend_at = self.now + u64::from(flow.resend_ms);
        flow.resend_ms *= 2;
        let syn = Segment {
            src: flow.splice.source,
            dst: flow.splice.server,
            seq: flow.syn_seq,
            flags: flags::SYN,
            window: u16::try_from(flow.client_window).unwrap_or(u16::MAX),
            options: Options {
                mss: Some(flow.agreed.mss),
                scale: flow.agreed.client_scale,
                sack_permitted: flow.agreed.sack,
                timestamps: flow.agreed.timestamps.then_some(Timestamps {
                    value: flow.ts_seen,
                    echo: 0,
                }),
                ..Options::default()
            },
            ..Segment::default()
        };
        self.host.send(Direction::ToServer, &syn);
    }

    /// A segment of the backend while the SYN is out.
    pub fn connecting(&mut self, segment: &Segment<'_>) {
        let expected = self.flow.syn_seq.wrapping_add(1);
        if !segment.has(flags::ACK) || segment.ack != expected {
            super::answer::refuse(segment, self.host);
            return;
        }
        if segment.has(flags::RST) {
            self.release_binding();
            self.decided(503);
            self.answer(Text::Status(503));
        } else if segment.has(flags::SYN) {
            self.connected(segment);
        }
    }

    fn connected(&mut self, segment: &Segment<'_>) {
        if self.flow.agreed.timestamps && segment.options.timestamps.is_none() {
            // The client would not take segments without them.
            self.reset(Reset::BackendOptions);
            return;
        }
        let answer_at = segment.seq.wrapping_add(1);
        self.bind(segment, answer_at);
        self.host
            .splice(self.id, &self.flow.splice, Some(&self.flow.progress));
        self.hand_over(Some(answer_at));
        self.advance();
    }

    fn bind(&mut self, segment: &Segment<'_>, answer_at: u32) {
        let hold = self.config.hold_answers;
        let flow = &mut *self.flow;
        let agreed = &flow.agreed;
        let splice = &mut flow.splice;
        splice.down_delta = flow.down_next.wrapping_sub(answer_at);
        let scaled = agreed
            .client_scale
            .filter(|_| segment.options.scale.is_some());
        splice.client_scale = agreed.client_scale.unwrap_or(0);
        splice.client_scale_told = scaled.unwrap_or(0);
        splice.server_scale = scaled.and(segment.options.scale).unwrap_or(0);
        splice.server_scale_told = agreed.our_scale;
        let mut modes = 0;
        if let Some(timestamps) = segment.options.timestamps {
            modes |= mode::TIMESTAMPS;
            // The client sees time go on from the last TSval that it has.
            splice.ts_delta = flow.ts_told.wrapping_sub(timestamps.value);
        }
        if segment.options.sack_permitted {
            modes |= mode::SACK;
        }
        if hold {
            modes |= mode::HOLD;
        }
        splice.mode = modes;
        splice.window_cap = super::buffers::HOLD_BYTES as u32;
        flow.progress = Progress {
            server_nxt: answer_at,
            server_ack: segment.ack,
            server_edge: segment.ack.wrapping_add(u32::from(segment.window)),
            client_ack: flow.client_ack,
            ts_value: flow.ts_told,
        };
        (flow.heads_seen, flow.passed) = (0, None);
        flow.phase = Phase::Bound;
        (flow.expire_at, flow.resend_at) = (0, 0);
    }
}
