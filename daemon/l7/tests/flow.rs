//! Hard cases of the engine, segment by segment.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "flow/edges.rs"]
mod edges;
#[path = "flow/ends.rs"]
mod ends;
#[path = "flow/hostile.rs"]
mod hostile;
#[path = "flow/mirrors.rs"]
mod mirrors;
#[path = "flow/passed.rs"]
mod passed;
#[path = "flow/ports.rs"]
mod ports;
#[path = "flow/strangers.rs"]
mod strangers;
#[path = "flow/tunnels.rs"]
mod tunnels;
#[path = "flow/window.rs"]
mod window;

use terrace_l7::flow::{
    Arrival, Backend, Config, Decision, Engine, Event, FlowId, Forward, Host, MAX_FLOW_BYTES,
    MirrorEnd, Offer, Parties, Reset, Services, Splices, Token,
};
use terrace_l7::http::{Fault, Request};
use terrace_l7::rules::{HeadWriter, NoRoom, Scratch};
use terrace_l7::splice::{Direction, Progress, Splice};
use terrace_l7::tcp::{Endpoint, Options, Segment, flags, wire};

/// `/deny` is 403, `/tunnel` may become one, `/two` goes to a backend of its own and
/// all else to the first one;
/// `/copy` is copied to a mirror, too, and `/void` to one that is not there.
#[derive(Default)]
struct Rules {
    ends: Vec<(u32, MirrorEnd)>,
    faults: Vec<Fault>,
}

fn endpoint(text: &str) -> Endpoint {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

fn client() -> Endpoint {
    endpoint("10.0.0.1:4000")
}

fn service() -> Endpoint {
    endpoint("10.96.0.1:80")
}

fn server() -> Endpoint {
    endpoint("10.0.1.1:8080")
}

fn second() -> Endpoint {
    endpoint("10.0.1.2:8080")
}

impl Services for Rules {
    fn offer(&self, to: Endpoint) -> Option<Offer> {
        (to == service()).then_some(Offer {
            mss: 1460,
            window: 16_384,
            scale: 7,
            sack: true,
            timestamps: true,
        })
    }

    fn decide(
        &mut self,
        parties: &Parties,
        request: &Request<'_, '_>,
        _: Option<&Backend>,
        _: &mut Scratch,
    ) -> Decision {
        let backend = Backend {
            server: match request.target.path {
                "/two" => second(),
                _ => server(),
            },
            source: parties.client,
        };
        match request.target.path {
            "/deny" => Decision::Answer(403),
            "/none" => Decision::Answer(503),
            path => Decision::Forward(Forward {
                backend,
                rewrite: (path == "/rw").then_some(Token {
                    action: 0,
                    prefix_len: 0,
                }),
                tunnel: path == "/tunnel",
                timeout_ms: if path == "/k" { 0 } else { 1_000 },
                heads: match path {
                    "/k" => terrace_l7::splice::Heads {
                        generation: 1,
                        sets: [(1, 1), (0, 0), (0, 0)],
                    },
                    _ => Default::default(),
                },
                copies: mirrors::copies(path),
            }),
        }
    }

    fn mirrored(&mut self, route: u32, end: MirrorEnd) {
        self.ends.push((route, end));
    }

    fn malformed(&mut self, _: &Parties, fault: Fault) {
        self.faults.push(fault);
    }

    fn write(&self, _: Token, _: &Request<'_, '_>, out: &mut HeadWriter<'_>) -> Result<(), NoRoom> {
        out.put(b"GET /new HTTP/1.1\r\nHost: h\r\nX-User: nobody\r\n\r\n")
    }
}

/// A segment that went out: flags, numbers and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Out {
    dst: Endpoint,
    direction: Direction,
    flags: u8,
    seq: u32,
    ack: u32,
    payload: Vec<u8>,
}

#[derive(Default)]
struct World {
    /// What the programs do the moment before the splice is replaced the next time.
    race: Option<terrace_l7::splice::HeadNote>,
    note: terrace_l7::splice::HeadNote,
    out: Vec<Out>,
    splices: Splices,
    events: Vec<Event>,
    /// Sources of connections to servers.
    opened: Vec<Endpoint>,
}

impl Host for World {
    fn open(&mut self, _: FlowId, splice: &Splice) {
        self.opened.push(splice.source);
    }

    fn send(&mut self, direction: Direction, segment: &Segment<'_>) {
        self.out.push(Out {
            dst: segment.dst,
            direction,
            flags: segment.flags,
            seq: segment.seq,
            ack: segment.ack,
            payload: segment.payload.to_vec(),
        });
    }

    fn forward(&mut self, direction: Direction, splice: &Splice, packet: &[u8]) {
        let segment = wire::parse(packet).unwrap();
        let out = terrace_l7::splice::translate_segment(splice, direction, &segment);
        self.send(direction, &out);
    }

    fn heads(&mut self, _: FlowId) -> terrace_l7::splice::HeadNote {
        self.note
    }

    fn splice(&mut self, flow: FlowId, splice: &Splice, progress: Option<&Progress>) {
        if let Some(note) = self.race.take() {
            self.note = note;
        }
        self.splices.put(flow, splice, progress);
    }

    fn unsplice(&mut self, flow: FlowId, _: &Splice) {
        self.splices.remove(flow);
    }

    fn progress(&mut self, flow: FlowId) -> Progress {
        self.splices.progress(flow)
    }

    fn event(&mut self, _: &Parties, event: Event) {
        self.events.push(event);
    }
}

/// The client's and the server's first numbers.
const C: u32 = 1_000;
const S: u32 = 5_000;

struct Case<R = Rules> {
    engine: Engine,
    rules: R,
    world: World,
    now: u64,
    /// Our first number to the client.
    iss: u32,
}

impl<R: Services> Case<R> {
    fn with(n_flows: u32, rules: R) -> Self {
        let engine = Engine::new(Config {
            max_flows: n_flows,
            buffers: n_flows,
            mirrors: 2,
            ..Config::default()
        });
        Self {
            engine,
            rules,
            world: World::default(),
            now: 1,
            iss: 0,
        }
    }

    fn packet(&mut self, segment: &Segment<'_>) -> Vec<Out> {
        let mut packet = vec![0; 200 + segment.payload.len()];
        let len = wire::write(segment, &mut packet);
        self.world.out.clear();
        self.engine.packet(
            self.now,
            &packet[..len],
            Arrival::Up,
            &mut self.rules,
            &mut self.world,
        );
        self.world.out.clone()
    }

    fn client(&mut self, seq: u32, flags: u8, payload: &[u8]) -> Vec<Out> {
        let ack = self.iss.wrapping_add(1);
        self.client_ack(seq, ack, flags, payload)
    }

    fn client_ack(&mut self, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<Out> {
        self.client_at(client().port, seq, ack, flags, payload)
    }

    fn client_at(&mut self, port: u16, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<Out> {
        self.packet(&Segment {
            src: Endpoint { port, ..client() },
            dst: service(),
            seq,
            ack,
            flags,
            window: 60_000,
            payload,
            ..Segment::default()
        })
    }

    fn server(&mut self, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<Out> {
        self.packet(&Segment {
            src: server(),
            dst: client(),
            seq,
            ack,
            flags,
            window: 60_000,
            options: Options::default(),
            payload,
        })
    }

    fn tick(&mut self, ms: u64) -> Vec<Out> {
        self.now += ms;
        self.world.out.clear();
        self.engine.tick(self.now, &mut self.rules, &mut self.world);
        self.world.out.clone()
    }

    /// The client at a port asks; what the engine sends then.
    fn ask_at(&mut self, port: u16, request: &[u8]) -> Vec<Out> {
        let out = self.client_at(port, C, 0, flags::SYN, b"");
        let ack = out[0].seq.wrapping_add(1);
        self.client_at(port, C + 1, ack, ACK, request)
    }
}

impl Case {
    fn new() -> Self {
        Self::with(4, Rules::default())
    }

    /// Established with the client.
    fn open() -> Self {
        let mut case = Self::new();
        let out = case.client(C, flags::SYN, b"");
        assert_eq!((out[0].flags, out[0].ack), (flags::SYN | flags::ACK, C + 1));
        case.iss = out[0].seq;
        assert_eq!(case.client(C + 1, flags::ACK, b""), []);
        case
    }

    /// A request is with the backend.
    fn bound(request: &[u8]) -> Self {
        let mut case = Self::open();
        let out = case.client(C + 1, flags::ACK | flags::PSH, request);
        assert_eq!((out[0].flags, out[0].seq), (flags::SYN, C));
        let out = case.server(S, C + 1, flags::SYN | flags::ACK, b"");
        assert_eq!((out[0].seq, out[0].ack), (C + 1, S + 1));
        assert_eq!(out[0].payload, request);
        case
    }

    /// Changes what the programs have noted: segments of which no copy came.
    fn noted(&mut self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.world.splices.get_mut(0).unwrap().1);
    }

    fn reset(&self) -> Option<Reset> {
        self.world.events.iter().find_map(|event| match event {
            Event::Reset(why) => Some(*why),
            _ => None,
        })
    }
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const ACK: u8 = flags::ACK;

fn text(out: &[Out]) -> String {
    let to_client = out
        .iter()
        .filter(|out| out.direction == Direction::ToClient);
    let bytes: Vec<u8> = to_client.flat_map(|out| out.payload.clone()).collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_request_is_held_without_an_acknowledgement_until_the_backend_has_it() {
    let mut case = Case::open();
    let out = case.client(C + 1, ACK, GET);
    assert_eq!(out.len(), 1, "a SYN and nothing to the client: {out:?}");
    assert_eq!(
        (out[0].direction, out[0].flags),
        (Direction::ToServer, flags::SYN)
    );
    assert_eq!(case.client(C + 1, ACK, GET), [], "the same bytes again");
}

#[test]
fn answers_of_our_own_say_the_status_and_nothing_of_the_inside() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(9_000));
    let rows = [
        (
            "GET /deny HTTP/1.1\r\nHost: h\r\n\r\n",
            "HTTP/1.1 403 Forbidden\r\n",
        ),
        (
            "GET /none HTTP/1.1\r\nHost: h\r\n\r\n",
            "HTTP/1.1 503 Service Unavailable\r\n",
        ),
        ("GET /a HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("\x16\x03\x01", "HTTP/1.1 400 Bad Request\r\n"),
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
            "HTTP/1.1 403 Forbidden\r\n",
        ),
        (long.as_str(), "HTTP/1.1 414 URI Too Long\r\n"),
    ];
    for (request, expected) in rows {
        let mut case = Case::open();
        let out = case.client(C + 1, ACK, request.as_bytes());
        assert!(
            text(&out).starts_with(expected),
            "{request}: {}",
            text(&out)
        );
        let last = out.last().unwrap();
        assert!(last.flags & flags::FIN != 0, "{request}: closes");
        assert_eq!(
            last.ack,
            C + 1 + request.len() as u32,
            "{request}: took it all"
        );
        let end = last.seq + last.payload.len() as u32 + 1;
        let out = case.client_ack(last.ack, end, ACK | flags::FIN, b"");
        assert_eq!(out.len(), 1, "{request}: the client's FIN is acknowledged");
        case.tick(10_000);
        assert_eq!(case.engine.n_flows(), 0, "{request}: nothing stays");
    }
}

#[test]
fn other_bytes_in_a_retransmission_reset_the_flow() {
    let other = b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut held = Case::open();
    held.client(C + 1, ACK, GET);
    held.client(C + 1, ACK, other);
    assert_eq!(held.reset(), Some(Reset::OtherBytes), "while held");
    let mut bound = Case::bound(GET);
    let out = bound.client(C + 1, ACK, GET);
    assert_eq!(out[0].payload, GET, "the same bytes are sent again");
    let out = bound.client(C + 1, ACK, other);
    assert_eq!(bound.reset(), Some(Reset::OtherBytes), "while in flight");
    assert!(
        out.iter().all(|out| out.payload.is_empty()),
        "none reach the backend"
    );
    let mut ahead = Case::open();
    ahead.client(C + 6, ACK, b"a HTTP/1.1\r\n");
    ahead.client(C + 6, ACK, b"b HTTP/1.1\r\n");
    assert_eq!(ahead.reset(), Some(Reset::OtherBytes), "behind a gap");
}

#[test]
fn a_head_in_any_order_of_segments_is_one_head() {
    let mut case = Case::open();
    let cut = |from: usize, until: usize| (C + 1 + from as u32, &GET[from..until]);
    let n = GET.len();
    for (seq, bytes) in [cut(20, n), cut(5, 12), cut(8, 22)] {
        let out = case.client(seq, ACK, bytes);
        assert!(out.iter().all(|out| out.direction == Direction::ToClient));
    }
    let (seq, bytes) = cut(0, 6);
    let out = case.client(seq, ACK, bytes);
    assert_eq!(out[0].flags, flags::SYN, "whole now: {out:?}");
}

#[test]
fn urgent_data_and_a_cut_head_reset_the_flow() {
    let mut urgent = Case::open();
    urgent.client(C + 1, ACK | flags::URG, GET);
    assert_eq!(urgent.reset(), Some(Reset::Urgent));
    let mut cut = Case::open();
    cut.client(C + 1, ACK | flags::FIN, b"GET /a");
    assert_eq!(cut.reset(), Some(Reset::CutHead));
    let mut later = Case::bound(GET);
    later.client(C + 1 + GET.len() as u32, ACK | flags::URG, b"x");
    assert_eq!(later.reset(), Some(Reset::Urgent));
    let guesses = [Case::open(), Case::bound(GET)];
    for mut guess in guesses {
        guess.client(C + 0x4000_0000, ACK | flags::URG, b"x");
        assert_eq!(guess.reset(), None, "somebody who guesses");
    }
}

#[test]
fn a_backend_that_refuses_or_is_silent_is_answered_for() {
    let mut refused = Case::open();
    refused.client(C + 1, ACK, GET);
    let out = refused.server(0, C + 1, flags::RST | ACK, b"");
    assert!(text(&out).starts_with("HTTP/1.1 503"), "{out:?}");
    let mut silent = Case::open();
    silent.client(C + 1, ACK, GET);
    let out = silent.tick(300);
    assert_eq!(out[0].flags, flags::SYN, "the SYN again");
    let out = silent.tick(6_000);
    assert!(text(&out).starts_with("HTTP/1.1 504"), "{out:?}");
    let mut mute = Case::bound(GET);
    mute.server(S + 1, C + 1 + GET.len() as u32, ACK, b"");
    let out = mute.tick(1_100);
    assert!(text(&out).starts_with("HTTP/1.1 504"), "{out:?}");
    let to_server = out.iter().find(|out| out.direction == Direction::ToServer);
    assert!(
        to_server.unwrap().flags & flags::RST != 0,
        "the backend is let go"
    );
    assert!(mute.world.splices.is_empty());
}

#[test]
fn no_byte_behind_a_body_passes_without_a_look() {
    let post = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab";
    let mut case = Case::bound(post);
    let at = C + 1 + post.len() as u32;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let out = case.client(at, ACK, b"cdGET /deny HTTP/1.1\r\nHost: h\r\n\r\n");
    let sent: Vec<&Out> = out.iter().filter(|o| !o.payload.is_empty()).collect();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].seq, sent[0].payload.as_slice()), (at, &b"cd"[..]));
    case.server(S + 1, at + 2, ACK, answer);
    let next = case.iss + 1 + answer.len() as u32;
    let out = case.client_ack(at + 33, next, ACK, b"");
    assert!(text(&out).starts_with("HTTP/1.1 403"), "{out:?}");
    let first = out.iter().find(|o| !o.payload.is_empty()).unwrap();
    assert_eq!(first.seq, next, "right behind the last answer");
}
