//! Reading the connection table while the programs write it.

use std::os::fd::AsFd as _;

use super::Maps;
use crate::{Error, Plain as _, consts, sys, types};

const TABLE: &str = "flows";
const BUCKET: usize = size_of::<types::flow_bucket>();
/// Buckets that are read at once: 64 KiB.
const CHUNK: u32 = 128;
/// Times that a bucket is read again when a slot changes meanwhile.
const RETRIES: usize = 4;

/// One direction of a connection, as it was at one moment.
#[derive(Debug, Clone, Copy)]
pub struct FlowEntry {
    /// Its slot number; [`types::flow::peer`] is the other direction's.
    pub slot: u32,
    /// `FLOW_ORIG` or `FLOW_REPLY`.
    pub kind: u8,
    /// `FLOW_ESTABLISHED`, ...
    pub state: u8,
    /// `FLOW_NAT` | ...
    pub flags: u16,
    /// Jiffies.
    pub last_seen: u32,
    /// The rest; `service` is the service's index of a worker's flow, too.
    pub flow: types::flow,
}

/// All flows, in the order of their slots. A flow that comes or goes while the
/// table is read may or may not be there; none is read half written.
pub struct Flows<'a> {
    maps: &'a Maps,
    next_bucket: u32,
    ready: std::vec::IntoIter<FlowEntry>,
}

impl Maps {
    /// Reads the connection table, chunk by chunk.
    pub fn flows(&self) -> Flows<'_> {
        Flows {
            maps: self,
            next_bucket: 0,
            ready: Vec::new().into_iter(),
        }
    }

    fn buckets(&self, first: u32, n: u32) -> Result<Vec<types::flow_bucket>, Error> {
        let mut bytes = vec![0; n as usize * BUCKET];
        let filled = sys::lookup_batch(self.map(TABLE).as_fd(), first, BUCKET, &mut bytes)
            .map_err(|source| Error::Read {
                table: TABLE,
                source,
            })?;
        let buckets = bytes[..filled]
            .chunks_exact(BUCKET)
            .map(types::flow_bucket::from_bytes);
        Ok(buckets
            .map(|bucket| bucket.expect("chunks have the size of a bucket"))
            .collect())
    }

    fn chunk(&self, first: u32) -> Result<Vec<FlowEntry>, Error> {
        let n = CHUNK.min(self.limits.flow_buckets() - first);
        let before = self.buckets(first, n)?;
        if before.iter().all(is_empty) {
            return Ok(Vec::new());
        }
        let after = self.buckets(first, n)?;
        let mut entries = Vec::new();
        for ((before, after), bucket) in before.iter().zip(&after).zip(first..) {
            self.settle(bucket, before, after, &mut entries)?;
        }
        let workers = |entry: &&mut FlowEntry| {
            u32::from(entry.flags) & consts::FLOW_L7 != 0
                && entry.flow.service < self.limits.l7_flows
        };
        for entry in entries.iter_mut().filter(workers) {
            let splice: types::splice = self.get("splices", entry.flow.service)?;
            entry.flow.service = splice.service_index;
        }
        Ok(entries)
    }

    /// Takes the slots of a bucket that did not change between two reads, and
    /// reads again while others do.
    fn settle(
        &self,
        index: u32,
        before: &types::flow_bucket,
        after: &types::flow_bucket,
        entries: &mut Vec<FlowEntry>,
    ) -> Result<(), Error> {
        let (mut before, mut after) = (*before, *after);
        let mut waiting: Vec<usize> = (0..consts::FLOW_SLOTS as usize).collect();
        for _ in 0..RETRIES {
            waiting.retain(|&i| {
                let stable = is_stable(&before, &after, i);
                entries.extend(stable.then(|| entry(&before, index, i)).flatten());
                !stable
            });
            if waiting.is_empty() {
                return Ok(());
            }
            before = after;
            after = *self.buckets(index, 1)?.first().unwrap_or(&before);
        }
        Ok(())
    }
}

fn is_live(flow: &types::flow) -> bool {
    u32::from(flow.kind) != consts::FLOW_FREE
}

fn is_empty(bucket: &types::flow_bucket) -> bool {
    !bucket.slots.iter().any(is_live)
}

fn is_stable(before: &types::flow_bucket, after: &types::flow_bucket, i: usize) -> bool {
    let (before, after) = (&before.slots[i], &after.slots[i]);
    before.seq.is_multiple_of(2) && before.seq == after.seq && before.kind == after.kind
}

fn entry(bucket: &types::flow_bucket, index: u32, i: usize) -> Option<FlowEntry> {
    let flow = bucket.slots[i];
    is_live(&flow).then(|| FlowEntry {
        slot: index * consts::FLOW_SLOTS + i as u32,
        kind: flow.kind,
        state: flow.state,
        flags: flow.flags,
        last_seen: flow.last_seen,
        flow,
    })
}

impl Iterator for Flows<'_> {
    type Item = Result<FlowEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.next() {
                return Some(Ok(entry));
            }
            if self.next_bucket >= self.maps.limits.flow_buckets() {
                return None;
            }
            let first = self.next_bucket;
            self.next_bucket += CHUNK;
            match self.maps.chunk(first) {
                Ok(entries) => self.ready = entries.into_iter(),
                Err(error) => {
                    self.next_bucket = u32::MAX;
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_changes_between_two_reads_is_not_stable() {
        let at = |seq, kind: u32| {
            let mut bucket = types::flow_bucket::default();
            bucket.slots[0].seq = seq;
            bucket.slots[0].kind = kind as u8;
            bucket
        };
        let (orig, free) = (consts::FLOW_ORIG, consts::FLOW_FREE);
        let rows = [
            ("unchanged", at(2, orig), at(2, orig), true),
            ("being written", at(3, orig), at(3, orig), false),
            ("written meanwhile", at(2, orig), at(4, orig), false),
            ("freed meanwhile", at(2, orig), at(2, free), false),
        ];
        for (name, before, after, expected) in rows {
            assert_eq!(is_stable(&before, &after, 0), expected, "{name}");
        }
    }
}
