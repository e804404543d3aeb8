//! One turn: a flow with everything that acting on it needs.

use super::buffers::Buffers;
use super::index::Index;
use super::mirror::Legs;
use super::state::{Flow, Phase, Text};
use super::{Arrival, Config, Counts, Event, FlowId, Host, Reset, Services};
use crate::rules::Scratch;
use crate::splice::{Direction, Splice, mode, translate_segment};
use crate::tcp::{Segment, before, distance, flags, later, up_to};

pub struct Turn<'e, S, H> {
    pub now: u64,
    pub id: FlowId,
    pub config: &'e Config,
    pub flow: &'e mut Flow,
    pub index: &'e mut Index,
    pub buffers: &'e mut Buffers,
    pub legs: &'e mut Legs,
    pub counts: &'e mut Counts,
    pub scratch: &'e mut Scratch,
    pub services: &'e mut S,
    pub host: &'e mut H,
}

impl<S: Services, H: Host> Turn<'_, S, H> {
    pub fn segment(&mut self, segment: &Segment<'_>, packet: &[u8], arrival: Arrival) {
        if self.flow.phase == Phase::Mirror {
            if arrival == Arrival::Up {
                self.leg_segment(segment);
            }
            return;
        }
        let from_client = (segment.src, segment.dst) == (self.flow.client, self.flow.service);
        // Acknowledgements alone keep nothing that has no backend yet.
        let flow = &mut *self.flow;
        if !segment.payload.is_empty() || flow.idle_at == 0 || flow.is_spliced() {
            flow.idle_at = self.now + u64::from(self.config.probe_ms);
        }
        // An answer to a probe is nothing new: a client's stack gives it for a
        // connection that nobody uses any more (TIME-WAIT), each time anew.
        if !segment.payload.is_empty() {
            self.flow.probes = 0;
        }
        match (from_client, arrival) {
            (true, Arrival::Up) => self.client_segment(segment, packet),
            (true, Arrival::Copy) => {}
            (false, _) => self.server_segment(segment, packet, arrival),
        }
    }

    pub fn event(&mut self, event: Event) {
        let parties = self.flow.parties(self.id);
        self.host.event(&parties, event);
    }

    /// What a client's segment tells about itself.
    pub fn note_client(&mut self, segment: &Segment<'_>) {
        let flow = &mut *self.flow;
        if segment.has(flags::ACK) {
            flow.client_ack = later(flow.client_ack, segment.ack);
        }
        let scale = flow.agreed.client_scale.unwrap_or(0);
        flow.client_window = u32::from(segment.window) << scale;
        if let Some(timestamps) = segment.options.timestamps
            && up_to(flow.ts_seen, timestamps.value)
        {
            flow.ts_seen = timestamps.value;
        }
    }

    /// Sends what a client could have sent to the server, translated.
    pub fn send_up(&mut self, segment: &Segment<'_>) {
        let out = translate_segment(&self.flow.splice, Direction::ToServer, segment);
        self.host.send(Direction::ToServer, &out);
    }

    /// Acknowledges what we have to the client.
    pub fn ack_client(&mut self) {
        let segment = self.flow.as_service(&[]);
        self.host.send(Direction::ToClient, &segment);
    }

    /// Drops what the server has, so that the client's next bytes find room.
    pub fn make_room(&mut self) {
        self.merge_progress();
        let flow = &mut *self.flow;
        let Some(id) = flow.buffer else { return };
        let sent_until = flow.base.wrapping_add(u32::from(flow.sent));
        let server_ack = flow.server_ack();
        let needed_until = later(flow.keep_until, flow.acked);
        if flow.sent == flow.len && up_to(needed_until, server_ack) {
            self.drop_buffer();
            return;
        }
        let done = match before(server_ack, sent_until) {
            true => distance(flow.base, server_ack),
            false => usize::from(flow.sent),
        };
        if done > 0 && flow.reply_needs_no(id) {
            let len = usize::from(flow.len);
            let ahead = flow.ahead.iter().map(|range| usize::from(range.1)).max();
            let end = len.max(ahead.unwrap_or(0));
            self.buffers.get_mut(id).copy_within(done..end, 0);
            flow.base = flow.base.wrapping_add(done as u32);
            flow.len -= done as u16;
            flow.sent -= done as u16;
            for (from, until) in flow.ahead.iter_mut().filter(|range| range.1 != 0) {
                (*from, *until) = (*from - done as u16, *until - done as u16);
            }
        }
    }

    pub fn drop_buffer(&mut self) {
        if let Some(id) = self.flow.buffer.take() {
            self.buffers.give_back(id);
        }
        (self.flow.len, self.flow.sent) = (0, 0);
        self.flow.ahead = Default::default();
        self.flow.head_by = 0;
    }

    pub fn drop_reply_buffer(&mut self) {
        if let Some(id) = self.flow.reply_buffer.take() {
            self.buffers.give_back(id);
        }
        (self.flow.reply_len, self.flow.reply_by) = (0, 0);
    }

    /// Adds what the kernel has noted.
    pub fn merge_progress(&mut self) {
        if !self.flow.is_spliced() {
            return;
        }
        let noted = self.host.progress(self.id);
        let newer = match self.flow.splice.has(mode::TUNNEL) {
            true => newer_in_tunnel,
            false => later,
        };
        let own = &mut self.flow.progress;
        own.server_nxt = newer(own.server_nxt, noted.server_nxt);
        own.server_ack = newer(own.server_ack, noted.server_ack);
        own.server_edge = newer(own.server_edge, noted.server_edge);
        own.client_ack = newer(own.client_ack, noted.client_ack);
        own.ts_value = later(own.ts_value, noted.ts_value);
        self.flow.client_ack = newer(self.flow.client_ack, own.client_ack);
        self.raise_floor();
    }

    /// What the server has acknowledged we need not. Sequence numbers wrap: a
    /// floor of long ago would be one of the future, and acknowledgements that
    /// come near it would be raised to bytes that nobody has sent.
    fn raise_floor(&mut self) {
        const FAR: u32 = 1 << 30;
        let flow = &mut *self.flow;
        if flow.splice.has(mode::TUNNEL) {
            flow.acked = newer_in_tunnel(flow.acked, flow.server_ack());
            return;
        }
        flow.acked = later(flow.acked, flow.server_ack());
        if flow.acked.wrapping_sub(flow.splice.ack_floor) > FAR {
            flow.splice.ack_floor = flow.acked;
            self.host.splice(self.id, &self.flow.splice, None);
        }
    }

    /// Ends a flow with RST to both sides.
    pub fn reset(&mut self, why: Reset) {
        self.merge_progress();
        let flow = &*self.flow;
        let seq = match flow.phase {
            Phase::Bound => later(
                flow.client_ack,
                flow.progress
                    .server_nxt
                    .wrapping_add(flow.splice.down_delta),
            ),
            _ => later(flow.client_ack, flow.down_next),
        };
        let segment = Segment {
            seq,
            flags: flags::RST | flags::ACK,
            ack: flow.had(),
            ..flow.as_service(&[])
        };
        self.host.send(Direction::ToClient, &segment);
        self.unbind();
        self.event(Event::Reset(why));
        self.free();
    }

    /// Lets go of the backend: RST, and no splice.
    pub fn unbind(&mut self) {
        let flow = &*self.flow;
        if !matches!(flow.phase, Phase::Bound | Phase::Connecting) {
            return;
        }
        let seq = match flow.phase {
            Phase::Bound => flow.progress.server_ack,
            _ => flow.syn_seq.wrapping_add(1),
        };
        let segment = Segment {
            src: flow.splice.source,
            dst: flow.splice.server,
            seq,
            ack: flow.progress.server_nxt,
            flags: flags::RST | flags::ACK,
            ..Segment::default()
        };
        self.host.send(Direction::ToServer, &segment);
        self.release_binding();
    }

    /// Forgets the backend, if there is one.
    pub fn release_binding(&mut self) {
        let flow = &mut *self.flow;
        if flow.splice.server.port == 0 {
            return;
        }
        self.cut_copies();
        self.count_last();
        let flow = &mut *self.flow;
        self.index
            .remove(flow.splice.server, flow.splice.source, self.id);
        self.host.unsplice(self.id, &flow.splice);
        flow.splice = Splice::default();
        flow.phase = Phase::Held;
        (flow.answer_by, flow.resend_at, flow.expire_at) = (0, 0, 0);
        flow.count_at = 0;
        self.drop_reply_buffer();
    }

    /// The flow is over; nothing of it stays.
    pub fn free(&mut self) {
        let is_copy = self.flow.phase == Phase::Mirror;
        self.release_binding();
        self.drop_buffer();
        self.drop_reply_buffer();
        self.index
            .remove(self.flow.client, self.flow.service, self.id);
        self.flow.phase = Phase::Free;
        if !is_copy {
            self.event(Event::Closed);
        }
    }

    /// When the flow must be looked at again.
    pub fn settle(&mut self) {
        let flow = &mut *self.flow;
        let idle_at = match flow.phase {
            Phase::Held | Phase::Bound => flow.idle_at,
            _ => 0,
        };
        let times = [
            flow.resend_at,
            flow.expire_at,
            flow.answer_by,
            idle_at,
            flow.count_at,
            flow.head_by,
            flow.reply_by,
        ];
        let soonest = times.iter().copied().filter(|time| *time != 0).min();
        flow.wake = soonest.unwrap_or(self.now + 60_000).max(self.now + 1);
    }
}

/// Which of two numbers is the newer one in a tunnel, where the kernel's may be
/// any number of bytes ahead of ours, and ours at most a little of the kernel's.
fn newer_in_tunnel(own: u32, noted: u32) -> u32 {
    const A_LITTLE: u32 = 1 << 20;
    match own.wrapping_sub(noted) < A_LITTLE {
        true => own,
        false => noted,
    }
}

impl Flow {
    /// A text of ours in the buffer must stay where it is.
    fn reply_needs_no(&self, _buffer: u32) -> bool {
        !matches!(self.text, Text::Buffer(_))
    }
}
