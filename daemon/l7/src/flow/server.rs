//! Segments from the backend.

use super::state::{Phase, Reply};
use super::turn::Turn;
use super::{Arrival, Host, Services};
use crate::splice::{Direction, mode};
use crate::tcp::{Segment, flags};

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
                let ack = segment.end().wrapping_add(flow.splice.down_delta);
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
        if arrival == Arrival::Up {
            splice.note(Direction::ToClient, segment, &mut self.flow.progress);
            self.host.forward(Direction::ToClient, &splice, packet);
        }
        self.follow_answer(segment);
        if self.adopt() {
            // The answer to what passed, if it is that.
            self.follow_answer(segment);
        }
        if segment.has(flags::RST) {
            // The client's stack judges it; one far off is nobody's.
            let off = segment.seq.wrapping_sub(self.flow.progress.server_nxt);
            if off.wrapping_add(1 << 20) < 1 << 21 {
                self.close_soon();
            }
            return;
        }
        if self.flow.phase == Phase::Bound {
            self.after_answer(segment);
        }
    }

    fn after_answer(&mut self, segment: &Segment<'_>) {
        if segment.has(flags::FIN) && !self.flow.server_fin {
            self.flow.server_fin = true;
            self.maybe_close();
        }
        if self.flow.reply == Reply::Tunnel && !self.flow.splice.has(mode::TUNNEL) {
            let splice = &mut self.flow.splice;
            splice.mode = (splice.mode | mode::TUNNEL) & !mode::ALL_UP;
            splice.window_cap = u32::MAX;
            self.flow.waiting = false;
            self.install();
        }
        self.advance();
    }
}
