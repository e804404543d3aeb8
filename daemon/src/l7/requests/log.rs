//! The worker's side.

use std::sync::Arc;

use terrace_l7::flow::{FlowId, MirrorEnd, Parties};
use terrace_l7::http::Request;
use terrace_l7::tcp::Endpoint;

use super::meters::MeterIndex;
use super::{Record, Text, Told};
use crate::l7::rules::{Note, Outcome, Ruling, Verdict};

const NONE: u32 = u32::MAX;

/// Requests under way of one worker. All memory is taken at the start.
#[derive(Debug)]
pub struct RequestLog {
    told: Arc<Told>,
    index: MeterIndex,
    worker: u16,
    /// By flow: the place of its request.
    places: Vec<u32>,
    records: Vec<Record>,
    free: Vec<u32>,
    /// By flow: where its last request went, and why.
    last: Vec<(Endpoint, Note)>,
}

impl RequestLog {
    /// Of `max_flows` flows at most `under_way` wait for an answer; the
    /// requests of more are counted as unrecorded.
    pub fn new(worker: u16, max_flows: u32, under_way: u32, told: Arc<Told>) -> Self {
        Self {
            told,
            index: MeterIndex::default(),
            worker,
            places: vec![NONE; max_flows as usize],
            records: vec![Record::default(); under_way as usize],
            free: (0..under_way).rev().collect(),
            last: vec![Default::default(); max_flows as usize],
        }
    }

    /// A request was decided. One that is asked about again, because it had to
    /// wait for the end of the last answer, takes the place of itself.
    pub fn asked(
        &mut self,
        now_us: u64,
        parties: &Parties,
        request: &Request<'_, '_>,
        ruling: &Ruling,
    ) {
        let server = match ruling.outcome {
            Outcome::Forward { server, .. } => server.endpoint,
            _ => Endpoint::default(),
        };
        self.last[parties.flow as usize] = (server, ruling.note);
        let Some(record) = self.begin(now_us, parties, &ruling.note) else {
            return;
        };
        record.server = server;
        record.method = Text::of(request.method);
        record.path = Text::of(request.target.path_and_query);
        record.host = Text::of(request.host);
    }

    /// A head that is none: nothing in it can be named. A request before it
    /// that waits for its answer gets none any more.
    pub fn malformed(&mut self, now_us: u64, parties: &Parties, note: &Note) {
        let before = self
            .records
            .get(self.places[parties.flow as usize] as usize);
        if before.is_some_and(|record| record.note.verdict != Verdict::Malformed) {
            self.answered(now_us, parties.flow, 0);
        }
        self.begin(now_us, parties, note);
    }

    /// The flow's record, begun anew.
    fn begin(&mut self, now_us: u64, parties: &Parties, note: &Note) -> Option<&mut Record> {
        let place = &mut self.places[parties.flow as usize];
        if *place == NONE {
            let Some(free) = self.free.pop() else {
                self.told.meters.count_unrecorded();
                return None;
            };
            *place = free;
        }
        let record = &mut self.records[*place as usize];
        *record = Record {
            asked_us: now_us,
            client: parties.client,
            service: parties.service,
            note: *note,
            worker: self.worker,
            ..Record::default()
        };
        Some(record)
    }

    /// The head of the answer, of a backend or of ours.
    pub fn answered(&mut self, now_us: u64, flow: FlowId, status: u16) {
        let place = std::mem::replace(&mut self.places[flow as usize], NONE);
        if place == NONE {
            return;
        }
        self.free.push(place);
        let record = &mut self.records[place as usize];
        record.status = status;
        record.duration_us = now_us.saturating_sub(record.asked_us);
        let meter = self.index.of(&record.note, &self.told.meters);
        meter.note(status, record.duration_us);
        // The oldest record goes when nobody reads.
        let _ = self.told.queue.force_push(*record);
    }

    /// So many requests went in the kernel the way of the flow's last one.
    pub fn passed(&mut self, now_us: u64, parties: &Parties, requests: u32) {
        let (server, note) = self.last[parties.flow as usize];
        let meter = self.index.of(&note, &self.told.meters);
        meter.passed(requests);
        let _ = self.told.queue.force_push(Record {
            asked_us: now_us,
            client: parties.client,
            service: parties.service,
            server,
            note,
            worker: self.worker,
            in_kernel: requests,
            ..Record::default()
        });
    }

    /// What became of a copy.
    pub fn mirrored(&mut self, route: u32, end: MirrorEnd) {
        self.told.mirrors.add(route, end);
    }

    /// The flow is over; a request that waits gets no answer.
    pub fn ended(&mut self, now_us: u64, flow: FlowId) {
        self.answered(now_us, flow, 0);
    }

    /// Requests that wait for their answer.
    pub fn under_way(&self) -> usize {
        self.records.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_is_none_leaves_the_request_before_it_its_record() {
        let told = Arc::new(Told::default());
        let mut log = RequestLog::new(0, 1, 1, told.clone());
        let parties = Parties::default();
        let malformed = Note {
            verdict: Verdict::Malformed,
            ..Note::default()
        };
        log.begin(1, &parties, &Note::default());
        log.malformed(5, &parties, &malformed);
        // It may be told again of the same one.
        log.malformed(6, &parties, &malformed);
        log.answered(7, parties.flow, 408);
        let records: Vec<_> = std::iter::from_fn(|| told.queue.pop()).collect();
        let seen: Vec<_> = records
            .iter()
            .map(|record| (record.asked_us, record.status))
            .collect();
        assert_eq!(seen, [(1, 0), (6, 408)]);
        assert_eq!(log.under_way(), 0);
    }
}
