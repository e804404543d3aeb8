//! What the engine takes from the allocator: all of it when it is made, and
//! less than a kilobyte a flow.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::alloc::System;
use std::net::SocketAddr;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use terrace_l7::flow::{
    Arrival, BUFFER_BYTES, Backend, Config, Decision, Engine, Event, FlowId, Forward, Host, Offer,
    Parties, Services, Token,
};
use terrace_l7::http::Request;
use terrace_l7::rules::{
    HeadWriter, HttpRule, Match, NoRoom, PathMatch, Policy, Rewrite, Route, RouteRule, Router,
    Scratch,
};
use terrace_l7::splice::{Direction, Progress, Splice, translate};
use terrace_l7::tcp::{Endpoint, Segment, flags, wire};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn endpoint(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().unwrap().into()
}

fn client_at(port: u16) -> Endpoint {
    Endpoint {
        port,
        ..endpoint("10.0.0.1:1")
    }
}

fn segment(src: Endpoint, dst: Endpoint, seq: u32, flags: u8, payload: &[u8]) -> Segment<'_> {
    Segment {
        src,
        dst,
        seq,
        flags,
        window: 60_000,
        payload,
        ..Segment::default()
    }
}

/// Routes, policy with expressions, and a changed head on every other request.
struct Rules {
    router: Router,
    policy: Policy,
    rewrite: Rewrite,
}

impl Rules {
    fn new() -> Self {
        let rules = (0..100).map(|i| RouteRule {
            matches: vec![Match {
                path: Some(match i % 3 {
                    0 => PathMatch::Prefix(format!("/p{i}")),
                    1 => PathMatch::Exact(format!("/e{i}")),
                    _ => PathMatch::Regex(format!("/r{i}/[a-z]+/[0-9]{{1,8}}")),
                }),
                ..Match::default()
            }],
            action: i,
        });
        let route = Route {
            rules: rules.collect(),
            ..Route::default()
        };
        let policy = (0..50).map(|i| HttpRule {
            method: Some("GET|POST".to_owned()),
            path: Some(format!("/(p|e|r){i}.*")),
            id: i,
            ..HttpRule::default()
        });
        Self {
            router: Router::compile(&[route]).unwrap(),
            policy: Policy::compile(&policy.collect::<Vec<_>>()).unwrap(),
            rewrite: Rewrite {
                host: Some("changed.example".to_owned()),
                ..Rewrite::default()
            },
        }
    }
}

impl Services for Rules {
    fn offer(&self, _: Endpoint) -> Option<Offer> {
        Some(Offer {
            mss: 1_460,
            window: 15_000,
            scale: 7,
            sack: true,
            timestamps: false,
        })
    }

    fn decide(
        &mut self,
        parties: &Parties,
        request: &Request<'_, '_>,
        _: Option<&Backend>,
        scratch: &mut Scratch,
    ) -> Decision {
        let Some(routed) = self.router.route(request, scratch) else {
            return Decision::Answer(404);
        };
        if self.policy.allows(request, scratch).is_none() {
            return Decision::Answer(403);
        }
        let token = Token {
            action: routed.action,
            prefix_len: 0,
        };
        Decision::Forward(Forward {
            backend: Backend {
                server: endpoint("10.0.1.1:8080"),
                source: parties.client,
            },
            rewrite: (routed.action % 2 == 1).then_some(token),
            tunnel: false,
            timeout_ms: 1_000,
            heads: Default::default(),
            copies: Default::default(),
        })
    }

    fn write(
        &self,
        _: Token,
        request: &Request<'_, '_>,
        out: &mut HeadWriter<'_>,
    ) -> Result<(), NoRoom> {
        self.rewrite.write(request, 0, out)
    }
}

/// Keeps the last packet of each direction, and the splices; takes no memory.
struct World {
    last: [[u8; 4_096]; 2],
    len: [usize; 2],
    splices: Vec<(Splice, Progress)>,
    n_events: u64,
}

impl World {
    fn new(n_flows: usize) -> Self {
        Self {
            last: [[0; 4_096]; 2],
            len: [0; 2],
            splices: vec![Default::default(); n_flows],
            n_events: 0,
        }
    }

    fn last(&self, direction: Direction) -> Segment<'_> {
        let i = direction as usize;
        wire::parse(&self.last[i][..self.len[i]]).unwrap()
    }
}

impl Host for World {
    fn send(&mut self, direction: Direction, segment: &Segment<'_>) {
        let i = direction as usize;
        self.len[i] = wire::write(segment, &mut self.last[i]);
    }

    fn forward(&mut self, direction: Direction, splice: &Splice, packet: &[u8]) {
        let i = direction as usize;
        self.len[i] = packet.len();
        let room = &mut self.last[i][..packet.len()];
        room.copy_from_slice(packet);
        translate(splice, direction, room).unwrap();
    }

    fn splice(&mut self, flow: FlowId, splice: &Splice, progress: Option<&Progress>) {
        let held = &mut self.splices[flow as usize];
        *held = (*splice, progress.copied().unwrap_or(held.1));
    }

    fn unsplice(&mut self, flow: FlowId, _: &Splice) {
        self.splices[flow as usize] = Default::default();
    }

    fn progress(&mut self, flow: FlowId) -> Progress {
        self.splices[flow as usize].1
    }

    fn event(&mut self, _: &Parties, _: Event) {
        self.n_events += 1;
    }
}

struct Case {
    engine: Engine,
    rules: Rules,
    world: World,
    now: u64,
}

const ACK: u8 = flags::ACK;

impl Case {
    fn new(n_flows: u32) -> Self {
        let engine = Engine::new(Config {
            max_flows: n_flows,
            buffers: 8,
            ..Config::default()
        });
        Self {
            engine,
            rules: Rules::new(),
            world: World::new(n_flows as usize),
            now: 1,
        }
    }

    fn packet(&mut self, segment: &Segment<'_>) {
        let mut packet = [0; 4_096];
        let len = wire::write(segment, &mut packet);
        let (rules, world) = (&mut self.rules, &mut self.world);
        self.engine
            .packet(self.now, &packet[..len], Arrival::Up, rules, world);
        self.now += 1;
        self.engine.tick(self.now, rules, world);
    }

    fn client(&mut self, port: u16, seq: u32, ack: u32, flags: u8, payload: &[u8]) {
        let dst = endpoint("10.96.0.1:80");
        let sent = segment(client_at(port), dst, seq, flags, payload);
        self.packet(&Segment { ack, ..sent });
    }

    fn server(&mut self, port: u16, seq: u32, flags: u8, payload: &[u8]) {
        let last = self.world.last(Direction::ToServer);
        let ack = last.seq.wrapping_add(last.payload.len() as u32);
        let ack = ack.wrapping_add(u32::from(last.has(flags::SYN)));
        let src = endpoint("10.0.1.1:8080");
        let sent = segment(src, client_at(port), seq, flags, payload);
        self.packet(&Segment { ack, ..sent });
    }

    /// A connection: one request answered here, or a request with its answer;
    /// in pieces, out of order, again; ended by the client.
    fn connection(&mut self, port: u16, head: &[u8], is_forwarded: bool) {
        self.client(port, 100, 0, flags::SYN, b"");
        let iss = self.world.last(Direction::ToClient).seq.wrapping_add(1);
        let (one, two) = head.split_at(head.len() / 2);
        let half = 101 + one.len() as u32;
        self.client(port, half, iss, ACK, two);
        self.client(port, 101, iss, ACK, one);
        self.client(port, 101, iss, ACK, one);
        let mut end = 101 + head.len() as u32;
        if is_forwarded {
            self.server(port, 7_000, flags::SYN | ACK, b"");
            let answer =
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
            self.server(port, 7_001, ACK, &answer[..60]);
            self.server(port, 7_001 + 60, ACK, &answer[60..]);
            let ack = iss.wrapping_add(answer.len() as u32);
            self.client(port, end, ack, ACK, head);
            end += head.len() as u32;
            self.server(port, 7_001 + answer.len() as u32, ACK, answer);
        }
        self.client(port, end, iss, flags::RST | ACK, b"");
        self.now += 20_000;
        self.engine.tick(self.now, &mut self.rules, &mut self.world);
    }
}

const HEADS: [(&str, bool); 7] = [
    ("/p0/x?a=b", true),
    ("/e1", true),
    ("/r2/abc/12", true),
    ("/p3/changed", true),
    ("/nowhere", false),
    ("/p99/denied", false),
    ("/ none", false),
];

/// One test: the allocator counts for all threads.
#[test]
fn an_idle_flow_has_less_than_a_kilobyte_and_no_packet_takes_memory() {
    an_idle_flow_has_less_than_a_kilobyte();
    no_packet_takes_memory();
}

fn no_packet_takes_memory() {
    let mut case = Case::new(64);
    let heads = HEADS.map(|(path, forwarded)| {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: shop\r\nX-Filler: {}\r\n\r\n",
            "f".repeat(300)
        );
        (head, forwarded)
    });
    let mut round = |n: u32| {
        for i in 0..n {
            for (at, (head, forwarded)) in (0..).zip(&heads) {
                case.connection(
                    1_000 + (i % 500) as u16 * 8 + at,
                    head.as_bytes(),
                    *forwarded,
                );
            }
        }
        assert_eq!(
            (case.engine.n_flows(), case.engine.n_buffers_used()),
            (0, 0)
        );
        case.world.n_events
    };
    let before = round(20);
    let region = Region::new(ALLOCATOR);
    let events = round(1_000) - before;
    let taken = region.change();
    println!("{events} events; taken meanwhile: {taken:?}");
    assert_eq!(
        (taken.allocations, taken.reallocations, taken.deallocations),
        (0, 0, 0)
    );
    assert!(events > 7_000, "{events}");
}

fn an_idle_flow_has_less_than_a_kilobyte() {
    let bytes_of = |n_flows| {
        let region = Region::new(ALLOCATOR);
        let engine = Engine::new(Config {
            max_flows: n_flows,
            buffers: 8,
            ..Config::default()
        });
        let taken = region.change().bytes_allocated;
        drop(engine);
        taken
    };
    let (few, many) = (bytes_of(1 << 12), bytes_of(1 << 16));
    let each = (many - few) as f64 / f64::from((1 << 16) - (1 << 12));
    println!("an idle flow: {each:.0} bytes; a buffer, while a request is held: {BUFFER_BYTES}");
    assert!(each < 1_000.0, "{each}");
}
