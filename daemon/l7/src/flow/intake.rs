//! Bytes of the client as they come in: in order or behind a gap, once or
//! again. A byte that comes again must be the same byte.

use super::buffers::HOLD_BYTES;
use super::turn::Turn;
use super::{Host, Reset, Services};
use crate::tcp::{Segment, before, distance, flags, later};

impl<S: Services, H: Host> Turn<'_, S, H> {
    /// Adds what is new of a segment's payload to the buffer, and compares
    /// what is not. True when the bytes without a gap are more than before.
    pub fn intake(&mut self, segment: &Segment<'_>) -> bool {
        let flow = &mut *self.flow;
        let have = flow.have();
        let lower = match flow.buffer {
            Some(_) => later(flow.base, flow.acked),
            None => have,
        };
        let skip = distance(segment.seq, lower).min(segment.payload.len());
        let (at, payload) = (
            segment.seq.wrapping_add(skip as u32),
            &segment.payload[skip..],
        );
        if !self.put(at, payload) {
            return false;
        }
        let flow = &mut *self.flow;
        if segment.has(flags::FIN) && flow.have() == segment.payload_end() {
            flow.fin_at = Some(flow.have());
        }
        before(have, flow.have())
    }

    /// Puts bytes to their place. False when they are other bytes than were
    /// there; the flow is reset then.
    fn put(&mut self, at: u32, payload: &[u8]) -> bool {
        if payload.is_empty() {
            return true;
        }
        if !self.take_buffer() {
            self.counts.unheld += 1;
            return true;
        }
        let flow = &*self.flow;
        let start = distance(flow.base, at);
        let end = (start + payload.len()).min(HOLD_BYTES);
        if start >= end {
            return true;
        }
        let payload = &payload[..end - start];
        if !self.is_known_as(start, payload) {
            self.reset(Reset::OtherBytes);
            return false;
        }
        let flow = &mut *self.flow;
        let len = usize::from(flow.len);
        if end <= len || !(start <= len || note_ahead(&mut flow.ahead, start, end)) {
            return true;
        }
        let id = flow.buffer.unwrap_or_default();
        self.buffers.get_mut(id)[start..end].copy_from_slice(payload);
        if start <= len {
            flow.len = end as u16;
        }
        close_gaps(&mut flow.ahead, &mut flow.len);
        true
    }

    fn take_buffer(&mut self) -> bool {
        let flow = &mut *self.flow;
        if flow.buffer.is_none() {
            flow.buffer = self.buffers.take();
            flow.base = flow.expect;
            (flow.len, flow.sent, flow.ahead) = (0, 0, Default::default());
            // Nobody keeps a buffer by never sending what it waits for.
            flow.head_by = self.now + u64::from(self.config.head_ms);
        }
        flow.buffer.is_some()
    }

    /// Whether `payload` is the same as what is held, where something is held.
    fn is_known_as(&self, start: usize, payload: &[u8]) -> bool {
        let flow = &*self.flow;
        let Some(id) = flow.buffer else { return true };
        let held = self.buffers.get(id);
        let end = start + payload.len();
        let ranges = [(0, flow.len)].into_iter().chain(flow.ahead);
        ranges.into_iter().all(|(from, until)| {
            let (from, until) = (start.max(from.into()), end.min(until.into()));
            from >= until || held[from..until] == payload[from - start..until - start]
        })
    }

    /// Whether a segment agrees with what is held, above what we have
    /// acknowledged ourselves.
    pub fn agrees(&self, at: u32, payload: &[u8]) -> bool {
        let flow = &*self.flow;
        let from = later(at, later(flow.base, flow.acked));
        let skip = distance(at, from);
        if flow.buffer.is_none() || skip >= payload.len() {
            return true;
        }
        self.is_known_as(distance(flow.base, from), &payload[skip..])
    }
}

/// Notes a range behind a gap; false when there are too many.
pub fn note_ahead(ahead: &mut [(u16, u16); 4], start: usize, end: usize) -> bool {
    let (mut start, mut end) = (start as u16, end as u16);
    for range in ahead.iter_mut() {
        let touches = range.1 != 0 && range.0 <= end && start <= range.1;
        if touches {
            (start, end) = (start.min(range.0), end.max(range.1));
            *range = (0, 0);
        }
    }
    match ahead.iter_mut().find(|range| range.1 == 0) {
        Some(free) => *free = (start, end),
        None => return false,
    }
    true
}

/// Takes in ranges that the bytes without a gap have reached.
pub fn close_gaps(ahead: &mut [(u16, u16); 4], len: &mut u16) {
    while let Some(range) = ahead
        .iter_mut()
        .find(|range| range.1 != 0 && range.0 <= *len)
    {
        *len = (*len).max(range.1);
        *range = (0, 0);
    }
}
