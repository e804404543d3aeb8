//! Segments from the backend.

use super::state::{Phase, Reply};
use super::turn::Turn;
use super::{Arrival, Host, Services};
use crate::splice::{Direction, mode};
use crate::tcp::{Segment, before, flags};

impl<S: Services, H: Host> Turn<'_, S, H> {
    pub fn server_segment(&mut self, segment: &Segment<'_>, packet: &[u8], arrival: Arrival) {
        match self.flow.phase {
            Phase::Connecting if arrival == Arrival::Up => self.connecting(segment),
            Phase::Bound | Phase::Closing if self.flow.splice.server.port != 0 => {
                self.answer_segment(segment, packet, arrival);
            }
            _ if arrival == Arrival::Up => super::answer::refuse(segment, self.host),
            _ => {}
        }
    }

    fn answer_segment(&mut self, segment: &Segment<'_>, packet: &[u8], arrival: Arrival) {
        self.merge_progress();
        if segment.has(flags::SYN) {
            // Our first bytes were lost: say at least that the SYN-ACK came.
            if arrival == Arrival::Up {
                let flow = &*self.flow;
                let ack = flow.progress.server_nxt;
                let ack = ack.wrapping_add(flow.splice.down_delta);
                let first = flow
                    .syn_seq
                    .wrapping_add(1)
                    .wrapping_sub(flow.splice.up_delta);
                let out = flow.as_client(first, ack, &[]);
                self.send_up(&out);
            }
            return;
        }
        let splice = self.flow.splice;
        // Also of a copy: two CPUs may have written the programs' note at once.
        // Not of one that comes late, from a binding before.
        if arrival == Arrival::Up || self.has_room(segment.seq) {
            splice.note(Direction::ToClient, segment, &mut self.flow.progress);
        }
        if arrival == Arrival::Up {
            self.host.forward(Direction::ToClient, &splice, packet);
        }
        self.follow_answer(segment);
        if self.adopt() {
            // The answer to what passed, if it is that.
            self.follow_answer(segment);
        }
        if self.flow.phase == Phase::Free {
            return;
        }
        if segment.has(flags::RST) {
            // It has passed: the client's stack judges it.
            match self.is_servers_reset(segment.seq) {
                true => self.close_soon(),
                false => self.counts.strays += 1,
            }
            return;
        }
        if self.flow.phase == Phase::Bound {
            self.after_answer(segment);
        }
    }

    fn after_answer(&mut self, segment: &Segment<'_>) {
        if segment.has(flags::FIN) && !self.flow.server_fin && self.is_servers_fin(segment) {
            self.flow.server_fin = true;
            self.maybe_close();
        }
        self.open_tunnel();
        self.advance();
    }

    /// From here on everything passes, once the server has what we have
    /// acknowledged: a tunnel raises no acknowledgement.
    pub fn open_tunnel(&mut self) {
        let flow = &mut *self.flow;
        let is_due = flow.reply == Reply::Tunnel && !flow.splice.has(mode::TUNNEL);
        if !is_due || before(flow.server_ack(), flow.acked) {
            return;
        }
        let splice = &mut flow.splice;
        splice.mode = (splice.mode | mode::TUNNEL) & !mode::ALL_UP;
        splice.window_cap = u32::MAX;
        flow.waiting = false;
        self.install();
    }
}
