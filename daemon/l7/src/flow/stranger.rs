//! Segments of no flow: first ones, handshakes that end by a cookie, and those
//! that nobody expects.

use super::state::Flow;
use super::{Arrival, Engine, FlowId, Host, Offer, Services, answer, cookie};
use crate::splice::Direction;
use crate::tcp::{Segment, flags};

/// How long a client may take for the last part of its handshake.
const HALF_OPEN_MS: u64 = 10_000;

impl Engine {
    /// A segment of no flow.
    pub(super) fn stranger(
        &mut self,
        now: u64,
        segment: &Segment<'_>,
        packet: &[u8],
        services: &mut impl Services,
        host: &mut impl Host,
    ) {
        if segment.has(flags::RST) {
            return;
        }
        host.turn(None);
        let offer = services.offer(segment.dst);
        let is_syn = segment.has(flags::SYN) && !segment.has(flags::ACK);
        let Some(offer) = offer else {
            answer::refuse(segment, host);
            return;
        };
        if is_syn {
            self.syn(now, segment, &offer, services, host);
            return;
        }
        let flow = match segment.has(flags::ACK) && now < self.cookies_until {
            true => cookie::open(&self.config, now, segment, &offer),
            false => None,
        };
        let Some(flow) = flow else {
            answer::refuse(segment, host);
            return;
        };
        if let Some(id) = self.place(now, flow) {
            self.turn(now, id, services, host, |turn| {
                turn.segment(segment, packet, Arrival::Up);
            });
        }
    }

    fn syn(
        &mut self,
        now: u64,
        segment: &Segment<'_>,
        offer: &Offer,
        services: &mut impl Services,
        host: &mut impl Host,
    ) {
        let remember = self.n_half_open < self.config.max_half_open;
        let flow = cookie::half_open(&self.config, now, segment, offer, remember);
        let answer = flow.syn_ack(&flow.told_options(offer));
        if !remember {
            self.counts.cookies += 1;
            self.cookies_until = now + cookie::LIFE_MS;
            host.send(Direction::ToClient, &answer);
        } else if let Some(id) = self.place(now, flow) {
            host.send(Direction::ToClient, &answer);
            self.turn(now, id, services, host, |_| {});
        }
    }

    /// A half-open flow, for a while.
    fn place(&mut self, now: u64, flow: Flow) -> Option<FlowId> {
        let Some(id) = self.free.pop() else {
            self.counts.full += 1;
            return None;
        };
        self.index.insert(flow.client, flow.service, id);
        self.flows[id as usize] = flow;
        self.flows[id as usize].expire_at = now + HALF_OPEN_MS;
        self.n_half_open += 1;
        Some(id)
    }
}
