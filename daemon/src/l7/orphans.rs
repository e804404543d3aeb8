//! Splices of an earlier worker: their flows go on in the kernel. What needs a
//! worker (the next request, a FIN) ends them with RST to both sides, as
//! nobody knows any more what was inspected.

use std::sync::Arc;

use terrace_abi::consts::{SPLICE_OPENING, SPLICE_TUNNEL};
use terrace_abi::types::splice;
use terrace_abi::{L7Tables, types};
use terrace_l7::flow::FlowId;
use terrace_l7::splice::Direction;
use terrace_l7::tcp::{Segment, flags};

use super::host::{Listener, PortHost, endpoint, progress_of};

/// An orphan on which nothing passes for so long is over.
const SILENT_MS: u64 = 60_000;

#[derive(Debug, Clone, Copy, Default)]
struct Orphan {
    flow: FlowId,
    /// Packets that had passed when it was looked at last.
    packets: u32,
    since_ms: u64,
}

pub struct Orphans {
    tables: Arc<L7Tables>,
    first: u32,
    list: Vec<Orphan>,
    look_at: u64,
}

impl Orphans {
    /// Finds the splices among the numbers of a worker. Those that were never
    /// bound are removed: their ends are answered with RST when they send.
    pub fn find(tables: Arc<L7Tables>, first: u32, n_flows: u32, now_ms: u64) -> Self {
        let mut list = Vec::new();
        for flow in 0..n_flows {
            let held = tables.splice(first + flow);
            if held.server_port == 0 {
                continue;
            }
            if u32::from(held.mode) & SPLICE_OPENING != 0 {
                tables.remove_splice(first + flow);
                continue;
            }
            list.push(Orphan {
                flow,
                packets: 0,
                since_ms: now_ms,
            });
        }
        Self {
            tables,
            first,
            list,
            look_at: now_ms + SILENT_MS / 4,
        }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn has(&self, flow: FlowId) -> bool {
        self.list
            .binary_search_by_key(&flow, |orphan| orphan.flow)
            .is_ok()
    }

    /// A segment of an orphan waits for a worker: ends it. `false` = of none.
    pub fn end<L: Listener>(&mut self, flow: FlowId, host: &mut PortHost<L>) -> bool {
        let Ok(at) = self.list.binary_search_by_key(&flow, |orphan| orphan.flow) else {
            return false;
        };
        self.list.remove(at);
        let number = self.first + flow;
        let held = self.tables.splice(number);
        let noted = self.tables.progress(number).notes[(held.binding & 1) as usize];
        let [to_client, to_server] = farewells(&held, &noted);
        host.send_raw(Some(flow), Direction::ToClient, &to_client);
        host.send_raw(Some(flow), Direction::ToServer, &to_server);
        self.tables.remove_splice(number);
        true
    }

    /// Forgets those on which nothing passes any more; gives each to `freed`.
    pub fn tick(&mut self, now_ms: u64, mut freed: impl FnMut(FlowId)) {
        if now_ms < self.look_at || self.list.is_empty() {
            return;
        }
        self.look_at = now_ms + SILENT_MS / 4;
        let (tables, first) = (&self.tables, self.first);
        self.list.retain_mut(|orphan| {
            let noted = tables.progress(first + orphan.flow);
            let packets = noted.notes.iter().map(|note| note.packets);
            let packets = packets.fold(0, u32::wrapping_add);
            if packets != orphan.packets {
                (orphan.packets, orphan.since_ms) = (packets, now_ms);
            }
            let tunnel = u32::from(tables.splice(first + orphan.flow).mode) & SPLICE_TUNNEL != 0;
            let keep = tunnel || now_ms - orphan.since_ms < SILENT_MS;
            if !keep {
                tables.remove_splice(first + orphan.flow);
                freed(orphan.flow);
            }
            keep
        });
    }
}

/// RST to both ends of a splice.
fn farewells(held: &splice, noted: &types::splice_note) -> [Segment<'static>; 2] {
    let progress = progress_of(noted);
    let service = endpoint(&held.service, held.service_port);
    let client = endpoint(&held.client, held.client_port);
    let to_client = Segment {
        src: service,
        dst: client,
        seq: progress.server_nxt.wrapping_add(held.down_delta),
        ack: progress.server_ack.wrapping_sub(held.up_delta),
        flags: flags::RST | flags::ACK,
        ..Segment::default()
    };
    let to_server = Segment {
        src: endpoint(&held.source, held.source_port),
        dst: endpoint(&held.server, held.server_port),
        seq: progress.server_ack,
        ack: progress.server_nxt,
        flags: flags::RST | flags::ACK,
        ..Segment::default()
    };
    [to_client, to_server]
}
