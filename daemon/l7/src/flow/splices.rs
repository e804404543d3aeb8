//! Splices in memory, for a host that has no kernel to keep them.

use std::collections::HashMap;

use super::FlowId;
use crate::splice::{Direction, Progress, Splice};
use crate::tcp::Segment;

/// What [`Host::splice`](super::Host::splice) and its like are told, by flow.
#[derive(Debug, Default)]
pub struct Splices(HashMap<FlowId, (Splice, Progress)>);

impl Splices {
    /// `progress` where a binding begins; else what is known of it stays.
    pub fn put(&mut self, flow: FlowId, splice: &Splice, progress: Option<&Progress>) {
        let progress = progress.copied().unwrap_or_else(|| self.progress(flow));
        self.0.insert(flow, (*splice, progress));
    }

    pub fn remove(&mut self, flow: FlowId) {
        self.0.remove(&flow);
    }

    pub fn progress(&self, flow: FlowId) -> Progress {
        self.get(flow)
            .map(|(_, progress)| *progress)
            .unwrap_or_default()
    }

    pub fn get(&self, flow: FlowId) -> Option<&(Splice, Progress)> {
        self.0.get(&flow)
    }

    pub fn get_mut(&mut self, flow: FlowId) -> Option<&mut (Splice, Progress)> {
        self.0.get_mut(&flow)
    }

    /// The splice that a segment belongs to.
    pub fn find(&self, segment: &Segment<'_>) -> Option<(FlowId, Direction)> {
        let mut found = self.0.iter().filter_map(|(flow, (splice, _))| {
            let direction = splice.direction(segment)?;
            Some((*flow, direction))
        });
        found.next()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
