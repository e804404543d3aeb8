//! Whose segment it is (RFC 5961): who does not see a connection has to guess its
//! numbers, and what is only near them ends nothing.

use super::buffers::HOLD_BYTES;
use super::state::Phase;
use super::turn::Turn;
use super::{Host, Services};
use crate::splice::Direction;
use crate::tcp::{Segment, before, later, up_to};

/// How often a flow answers what may be none of its own.
const CHALLENGE_MS: u64 = 500;

/// Where the number of a RST stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A number that the client's stack gives one.
    Exact,
    /// Where its next bytes may stand.
    Window,
    Outside,
}

impl<S: Services, H: Host> Turn<'_, S, H> {
    /// An ACK of something that was never sent is nobody's, nor is one from
    /// long ago (RFC 5961 section 5). False = answered or passed over.
    pub fn believes(&mut self, segment: &Segment<'_>) -> bool {
        let flow = &*self.flow;
        let widest = u32::from(u16::MAX) << flow.agreed.client_scale.unwrap_or(0).min(14);
        let oldest = flow.client_ack.wrapping_sub(widest);
        let believed = up_to(oldest, segment.ack) && up_to(segment.ack, self.sent_to_client());
        if !believed {
            self.counts.strays += 1;
            self.challenge();
        }
        believed
    }

    /// Behind the last byte that the client may have seen.
    fn sent_to_client(&self) -> u32 {
        let flow = &*self.flow;
        match flow.phase {
            Phase::Answering => self.answer_end(),
            _ if flow.is_spliced() => {
                let of_server = flow.progress.server_nxt;
                of_server.wrapping_add(flow.splice.down_delta)
            }
            _ => flow.down_next,
        }
    }

    /// A RST of the client. One that is near is answered, and the client whose
    /// it was gives the exact number; a server judges it, too: of a body that
    /// passes without us it alone knows how much it has. True = the client is gone.
    pub fn client_reset(&mut self, segment: &Segment<'_>) -> bool {
        let place = self.place_of(segment.seq);
        let is_servers_too = self.flow.is_spliced() && up_to(segment.seq, self.flow.edge());
        match place {
            Place::Exact => return true,
            Place::Window => {
                if is_servers_too {
                    self.send_reset(segment);
                }
                self.challenge();
            }
            Place::Outside => self.counts.strays += 1,
        }
        false
    }

    fn place_of(&self, seq: u32) -> Place {
        let flow = &*self.flow;
        let told = flow.told();
        // The client counts what it has sent, we what has come.
        let have = flow.have();
        let behind_fin = flow.fin_at.map(|at| at.wrapping_add(1));
        let sent = [Some(have), behind_fin].into_iter().flatten();
        if seq == told || sent.into_iter().any(|at| at == seq && before(told, at)) {
            return Place::Exact;
        }
        match self.is_in_window(seq) {
            true => Place::Window,
            false => Place::Outside,
        }
    }

    /// Where the next bytes of the client may stand.
    pub fn is_in_window(&self, seq: u32) -> bool {
        let flow = &*self.flow;
        let held = flow.told().wrapping_add(HOLD_BYTES as u32);
        let (from, until) = match flow.is_spliced() {
            true => (flow.server_ack(), later(flow.edge(), held)),
            false => (flow.acked, held),
        };
        up_to(from, seq) && up_to(seq, until)
    }

    /// Whether a segment may be of this connection at all: no window is wider, and
    /// what is further away can't be told from what is long past. A tunnel's
    /// numbers go round without us.
    pub fn is_near(&self, segment: &Segment<'_>) -> bool {
        const WIDEST: u32 = 1 << 30;
        let flow = &*self.flow;
        let off = segment.seq.wrapping_sub(flow.told().wrapping_sub(WIDEST));
        off <= 2 * WIDEST || flow.splice.has(crate::splice::mode::TUNNEL)
    }

    /// Sends a RST on, without payload: that nobody has looked at. What was not
    /// let through is not before it, for the server.
    pub fn send_reset(&mut self, segment: &Segment<'_>) {
        let flow = &*self.flow;
        let sent = flow.base.wrapping_add(u32::from(flow.sent));
        let seq = match flow.buffer {
            Some(_) if flow.sent < flow.len && before(sent, segment.seq) => sent,
            _ => segment.seq,
        };
        let out = Segment {
            seq,
            flags: segment.flags & (crate::tcp::flags::RST | crate::tcp::flags::ACK),
            payload: &[],
            ..*segment
        };
        self.send_up(&out);
    }

    /// Whether a RST of the server is where the client expects it; the client's
    /// stack judges each, and asks where it is only near.
    pub fn is_servers_reset(&self, seq: u32) -> bool {
        let flow = &*self.flow;
        let client_ack = flow.client_ack.wrapping_sub(flow.splice.down_delta);
        let is_behind_all = seq == flow.progress.server_nxt && self.has_room(seq);
        is_behind_all || seq == client_ack
    }

    /// Whether a FIN of the server stands where the client may have room.
    pub fn is_servers_fin(&self, segment: &Segment<'_>) -> bool {
        self.has_room(segment.payload_end())
    }

    /// Whether a number of the server's is where the client may have room for
    /// its next bytes: what the programs note anybody may have sent.
    pub fn has_room(&self, at: u32) -> bool {
        let flow = &*self.flow;
        let widest = u32::from(u16::MAX) << flow.splice.client_scale.min(14);
        let client_ack = flow.client_ack.wrapping_sub(flow.splice.down_delta);
        up_to(client_ack, at.wrapping_add(1)) && up_to(at, client_ack.wrapping_add(widest))
    }

    /// Tells the client what we expect next: whose segment it was, and who does
    /// not know the connection any more, answers with RST at exactly this
    /// number (RFC 5961 sections 3 to 5). Nobody makes us send more than one in
    /// a while.
    pub fn challenge(&mut self) {
        if self.now < self.flow.challenge_at {
            return;
        }
        self.counts.challenges += 1;
        self.flow.challenge_at = self.now + CHALLENGE_MS;
        let flow = &*self.flow;
        let mut segment = flow.as_service(&[]);
        segment.seq = flow.client_ack;
        segment.ack = flow.told();
        self.host.send(Direction::ToClient, &segment);
    }
}
