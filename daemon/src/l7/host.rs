//! What the engine asks of the world of packets, done with the l7 port and the
//! tables that the BPF programs read.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use terrace_abi::consts::{
    HEAD_ANSWER_KNOWN, L7_MAGIC, L7_NO_NUMBER, L7_TO_CLIENT, L7_TO_SERVER, SPLICE_OPENING,
};
use terrace_abi::types::{head_note, head_set, l7_frame, splice, splice_note};
use terrace_abi::{L7Tables, Plain as _};
use terrace_l7::flow::{Event, FlowId, Host, Parties};
use terrace_l7::splice::{Direction, HeadNote, Progress, Splice, translate};
use terrace_l7::tcp::{Endpoint, Segment, wire};
use terrace_xdp::xsk::Sender;

use super::Stats;

/// Bytes of `struct l7_frame`, which stands where an Ethernet header does.
pub const FRAME: usize = size_of::<l7_frame>();

/// What the tables are told of a flow's server, beside its addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Index in `services`, 0 = none.
    pub service: u32,
    /// Index in `backends`, 0 = none.
    pub backend: u32,
}

/// Written by the worker's services, read by its host; by flow.
pub type Choices = Rc<[Cell<Chosen>]>;

/// Hears what happens to flows.
pub trait Listener {
    fn event(&mut self, parties: &Parties, event: Event);
}

pub struct PortHost<L> {
    pub sender: Sender,
    pub listener: L,
    tables: Arc<L7Tables>,
    stats: Arc<Stats>,
    /// The number of this worker's flow 0.
    first: u32,
    flow: Option<FlowId>,
    choices: Choices,
    bindings: Vec<u32>,
    secret: u64,
}

impl<L> PortHost<L> {
    pub fn new(
        sender: Sender,
        listener: L,
        tables: Arc<L7Tables>,
        stats: Arc<Stats>,
        first: u32,
        choices: Choices,
        secret: u64,
    ) -> Self {
        let bindings = vec![0; choices.len()];
        Self {
            sender,
            listener,
            tables,
            stats,
            first,
            flow: None,
            choices,
            bindings,
            secret,
        }
    }

    pub fn number(&self, flow: FlowId) -> u32 {
        self.first + flow
    }

    fn frame(&self, direction: Direction, is_v4: bool) -> l7_frame {
        let number = self.flow.map_or(L7_NO_NUMBER, |flow| self.number(flow));
        let kind = match direction {
            Direction::ToClient => L7_TO_CLIENT,
            Direction::ToServer => L7_TO_SERVER,
        };
        l7_frame {
            magic: L7_MAGIC as u8,
            kind: kind as u8,
            number: [number as u16, (number >> 16) as u16],
            proto: ethertype(is_v4),
            ..Default::default()
        }
    }

    /// Sends a segment as of flow `number`, or of none.
    pub fn send_raw(&mut self, flow: Option<FlowId>, direction: Direction, segment: &Segment<'_>) {
        self.flow = flow;
        let frame = self.frame(direction, segment.src.is_v4());
        let room = FRAME + wire::MAX_HEADERS + segment.payload.len();
        self.stats.sent.add(1);
        self.sender.send(room, |out| {
            out[..FRAME].copy_from_slice(frame.as_bytes());
            FRAME + wire::write(segment, &mut out[FRAME..])
        });
    }
}

impl<L: Listener> Host for PortHost<L> {
    fn turn(&mut self, flow: Option<FlowId>) {
        self.flow = flow;
    }

    fn open(&mut self, flow: FlowId, ends: &Splice) {
        let chosen = self.choices[flow as usize].get();
        let opening = splice {
            mode: SPLICE_OPENING as u8,
            binding: self.bindings[flow as usize],
            ..with_ends(ends, chosen)
        };
        self.tables.set_splice(self.first + flow, &opening);
    }

    fn send(&mut self, direction: Direction, segment: &Segment<'_>) {
        self.send_raw(self.flow, direction, segment);
    }

    fn forward(&mut self, direction: Direction, splice: &Splice, packet: &[u8]) {
        let frame = self.frame(direction, splice.client.is_v4());
        self.stats.sent.add(1);
        self.sender.send(FRAME + packet.len(), |out| {
            out[..FRAME].copy_from_slice(frame.as_bytes());
            let room = &mut out[FRAME..FRAME + packet.len()];
            room.copy_from_slice(packet);
            match translate(splice, direction, room) {
                Ok(()) => FRAME + packet.len(),
                Err(_) => 0,
            }
        });
    }

    fn splice(&mut self, flow: FlowId, splice: &Splice, progress: Option<&Progress>) {
        let number = self.number(flow);
        let binding = &mut self.bindings[flow as usize];
        if let Some(progress) = progress {
            *binding = binding.wrapping_add(1);
            self.tables.start(number, *binding, &note_of(progress));
        }
        let value = splice_of(splice, *binding, self.choices[flow as usize].get());
        self.tables.set_splice(number, &value);
    }

    fn unsplice(&mut self, flow: FlowId, _: &Splice) {
        self.tables.remove_splice(self.first + flow);
    }

    fn progress(&mut self, flow: FlowId) -> Progress {
        let binding = self.bindings[flow as usize];
        let noted = self.tables.progress(self.first + flow);
        progress_of(&noted.notes[(binding & 1) as usize])
    }

    fn heads(&mut self, flow: FlowId) -> HeadNote {
        let binding = self.bindings[flow as usize];
        let noted = self.tables.heads(self.first + flow);
        match noted.binding == binding {
            true => head_note_of(&noted),
            false => HeadNote::default(),
        }
    }

    fn secret(&self) -> u64 {
        self.secret
    }

    fn event(&mut self, parties: &Parties, event: Event) {
        match event {
            Event::Passed { requests } => self.stats.passed.add(requests.into()),
            Event::Request { .. } => self.stats.requests.add(1),
            Event::NoPort => self.stats.no_ports.add(1),
            Event::Reset(_) => self.stats.resets.add(1),
            _ => {}
        }
        self.listener.event(parties, event);
    }
}

/// In network order.
fn ethertype(is_v4: bool) -> u16 {
    match is_v4 {
        true => 0x0800u16.to_be(),
        false => 0x86ddu16.to_be(),
    }
}

fn with_ends(splice: &Splice, chosen: Chosen) -> splice {
    let (client, client_port) = words(&splice.client);
    let (service, service_port) = words(&splice.service);
    let (source, source_port) = words(&splice.source);
    let (server, server_port) = words(&splice.server);
    splice {
        client,
        client_port,
        service,
        service_port,
        source,
        source_port,
        server,
        server_port,
        service_index: chosen.service,
        backend: chosen.backend,
        ..Default::default()
    }
}

fn splice_of(from: &Splice, binding: u32, chosen: Chosen) -> splice {
    splice {
        binding,
        down_delta: from.down_delta,
        up_delta: from.up_delta,
        ts_delta: from.ts_delta,
        open_from: from.open_from,
        open_until: from.open_until,
        quiet_until: from.quiet_until,
        ack_floor: from.ack_floor,
        window_cap: from.window_cap,
        client_scale: from.client_scale,
        client_scale_told: from.client_scale_told,
        server_scale: from.server_scale,
        server_scale_told: from.server_scale_told,
        mode: from.mode,
        heads: from.heads.sets.map(|(set, want)| head_set { set, want }),
        generation: from.heads.generation,
        ..with_ends(from, chosen)
    }
}

fn note_of(progress: &Progress) -> splice_note {
    splice_note {
        server_nxt: progress.server_nxt,
        server_ack: progress.server_ack,
        server_edge: progress.server_edge,
        client_ack: progress.client_ack,
        ts_value: progress.ts_value,
        ..Default::default()
    }
}

pub fn progress_of(note: &splice_note) -> Progress {
    Progress {
        server_nxt: note.server_nxt,
        server_ack: note.server_ack,
        server_edge: note.server_edge,
        client_ack: note.client_ack,
        ts_value: note.ts_value,
    }
}

fn head_note_of(note: &head_note) -> HeadNote {
    let is_known = u32::from(note.state) == HEAD_ANSWER_KNOWN;
    HeadNote {
        base: Some(note.base),
        heads: note.heads,
        at: note.head_at,
        next: note.head_next,
        digest: note.digest,
        method: note.method,
        answer_at: note.answer_at,
        answer_end: is_known.then_some(note.answer_end),
    }
}

/// Address and port as the tables have them, in network order.
fn words(endpoint: &Endpoint) -> ([u32; 4], u16) {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(endpoint.ip.chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    (words, endpoint.port.to_be())
}

/// The other way.
pub fn endpoint(words: &[u32; 4], port: u16) -> Endpoint {
    let mut ip = [0; 16];
    for (bytes, word) in ip.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    Endpoint {
        ip,
        port: u16::from_be(port),
    }
}
