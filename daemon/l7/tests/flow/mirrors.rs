//! Copies of requests: a mirror gets the same bytes, and whatever it does
//! changes nothing for the client.

use super::*;
use terrace_l7::flow::{Copied, Copies, LEG_BYTES, Target};

const ROUTE: u32 = 7;
/// The mirror's first number.
const M: u32 = 70_000;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn mirror() -> Endpoint {
    endpoint("10.0.2.1:9090")
}

fn source() -> Endpoint {
    endpoint("10.0.0.9:20000")
}

pub fn copies(path: &str) -> Copies {
    let target = Target {
        backend: Backend {
            server: mirror(),
            source: source(),
        },
        index: 3,
    };
    let to = match path {
        "/copy" => Ok(target),
        "/void" => Err(MirrorEnd::NoBackend),
        _ => return Copies::default(),
    };
    [Some(Copied { route: ROUTE, to }), None, None, None]
}

/// A TCP server that takes what comes in order.
#[derive(Default)]
struct Mirror {
    got: Vec<u8>,
    /// Its next number, the client's next.
    next: u32,
    expects: u32,
    ended: bool,
}

impl Mirror {
    fn segment(&self, flags: u8, payload: &'static [u8]) -> Segment<'static> {
        Segment {
            src: mirror(),
            dst: source(),
            seq: self.next,
            ack: self.expects,
            flags,
            window: 60_000,
            payload,
            ..Segment::default()
        }
    }

    /// Takes what went out to it; what it acknowledges may make more go out.
    fn takes(&mut self, case: &mut Case, out: &[Out]) {
        let mut todo: Vec<Out> = to_mirror(out);
        while !todo.is_empty() {
            let mut answers = Vec::new();
            for out in todo.drain(..) {
                if out.flags & flags::SYN != 0 {
                    (self.next, self.expects) = (M, out.seq + 1);
                    answers.push(self.segment(flags::SYN | ACK, b""));
                    self.next = M + 1;
                    continue;
                }
                self.ended |= out.flags & (flags::FIN | flags::RST) != 0;
                if out.seq == self.expects && !out.payload.is_empty() {
                    self.expects += out.payload.len() as u32;
                    self.got.extend(out.payload);
                    answers.push(self.segment(ACK, b""));
                }
            }
            for answer in answers {
                todo.extend(to_mirror(&case.packet(&answer)));
            }
        }
    }

    fn says(&mut self, case: &mut Case, flags: u8, payload: &'static [u8]) -> Vec<Out> {
        let segment = self.segment(flags, payload);
        self.next = segment.end();
        to_mirror(&case.packet(&segment))
    }
}

fn to_mirror(out: &[Out]) -> Vec<Out> {
    let its = out.iter().filter(|out| out.dst == mirror());
    its.cloned().collect()
}

/// What went elsewhere.
fn of_client(out: &[Out]) -> Vec<Out> {
    let others = out.iter().filter(|out| out.dst != mirror());
    others.cloned().collect()
}

/// The request is with the backend and, as far as that goes, with the mirror.
fn copied(request: &[u8]) -> (Case, Mirror) {
    let mut case = Case::open();
    let mut mirror = Mirror::default();
    let syns = case.client(C + 1, ACK, request);
    mirror.takes(&mut case, &syns);
    let out = case.server(S, C + 1, flags::SYN | ACK, b"");
    assert_eq!(of_client(&out)[0].payload, request);
    mirror.takes(&mut case, &out);
    (case, mirror)
}

const COPY: &[u8] = b"GET /copy HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_mirror_gets_the_same_bytes_and_nothing_of_its_answer_comes_back() {
    let (mut case, mut mirror) = copied(COPY);
    assert_eq!(mirror.got, COPY);
    assert_eq!(case.rules.ends, [(ROUTE, MirrorEnd::Sent)]);
    let out = mirror.says(&mut case, ACK, ANSWER);
    assert!(of_client(&case.world.out).is_empty(), "{out:?}");
    assert!(out.iter().any(|out| out.flags & flags::FIN != 0), "{out:?}");
    mirror.expects += 1;
    mirror.says(&mut case, ACK | flags::FIN, b"");
    assert_eq!(case.engine.n_mirrors_used(), 0);
    assert_eq!(case.engine.n_flows(), 1, "the client's own");
}

/// Their place behind the head, and what they are.
type Parts = &'static [(usize, &'static [u8])];

#[test]
fn bodies_go_to_a_mirror_whole_however_they_are_framed_and_cut() {
    let length = b"POST /copy HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n01".to_vec();
    let chunked = b"POST /copy HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    // Parts behind the first, in the order in which they come.
    let rows: [(&[u8], Parts); 3] = [
        (&length, &[(0, b"2345"), (4, b"6789")]),
        (&length, &[(4, b"6789"), (0, b"2345")]),
        (
            &chunked,
            &[(0, b"4\r\nab"), (5, b"cd\r\n0\r\n"), (12, b"\r\n")],
        ),
    ];
    for (head, parts) in rows {
        let (mut case, mut mirror) = copied(head);
        let at = C + 1 + head.len() as u32;
        for (place, bytes) in parts {
            assert_eq!(case.rules.ends, [], "{parts:?}");
            let out = case.client(at + *place as u32, ACK, bytes);
            mirror.takes(&mut case, &out);
        }
        let mut sorted = parts.to_vec();
        sorted.sort();
        let body: Vec<u8> = sorted.iter().flat_map(|part| part.1).copied().collect();
        assert_eq!(mirror.got, [head, &body].concat());
        assert_eq!(case.rules.ends, [(ROUTE, MirrorEnd::Sent)], "{parts:?}");
        let splice = case.world.splices.get(0).unwrap().0;
        assert!(!splice.has(terrace_l7::splice::mode::ALL_UP));
    }
}

#[test]
fn a_mirror_that_does_not_take_the_request_is_counted_and_the_client_is_served() {
    type Does = fn(&mut Case) -> MirrorEnd;
    let refuses: Does = |case| {
        let syn = to_mirror(&case.world.out)[0].clone();
        case.packet(&Segment {
            src: mirror(),
            dst: source(),
            ack: syn.seq + 1,
            flags: flags::RST | ACK,
            ..Segment::default()
        });
        MirrorEnd::Unreachable
    };
    let is_silent: Does = |_| MirrorEnd::Unreachable;
    for (name, does) in [("refuses", refuses), ("is silent", is_silent)] {
        let mut case = Case::open();
        case.client(C + 1, ACK, COPY);
        let end = does(&mut case);
        let out = case.server(S, C + 1, flags::SYN | ACK, b"");
        assert_eq!(of_client(&out)[0].payload, COPY, "{name}");
        served(&mut case, COPY.len(), name);
        case.tick(6_000);
        assert_eq!(case.rules.ends, [(ROUTE, end)], "{name}");
        assert_eq!(case.engine.n_mirrors_used(), 0, "{name}");
        assert_eq!(case.reset(), None, "{name}");
    }
}

/// The client gets its answer, and its next request goes on.
fn served(case: &mut Case, asked: usize, name: &str) {
    let at = C + 1 + asked as u32;
    let out = case.server(S + 1, at, ACK, ANSWER);
    assert!(text(&of_client(&out)).ends_with("ok"), "{name}: {out:?}");
    let ack = case.iss.wrapping_add(1 + ANSWER.len() as u32);
    let out = case.client_ack(at, ack, ACK, GET);
    assert_eq!(of_client(&out)[0].payload, GET, "{name}");
}

#[test]
fn a_mirror_that_stops_in_the_middle_is_given_up_and_counted() {
    let head = b"POST /copy HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n";
    // It never acknowledges the body, and it resets.
    for resets in [false, true] {
        let (mut case, mirror) = copied(head);
        let mut at = C + 1 + head.len() as u32;
        if resets {
            case.packet(&mirror.segment(flags::RST | ACK, b""));
        }
        let body = [b'x'; 1_000];
        for _ in 0..200 {
            let out = case.client(at, ACK, &body);
            assert_eq!(of_client(&out)[0].payload, body, "the backend gets it");
            at += 1_000;
            case.server(S + 1, at, ACK, b"");
        }
        let end = match resets {
            true => MirrorEnd::Refused,
            false => MirrorEnd::Slow,
        };
        assert_eq!(case.rules.ends, [(ROUTE, end)]);
        assert_eq!(case.engine.n_mirrors_used(), 0);
        let splice = case.world.splices.get(0).unwrap().0;
        assert!(!splice.has(terrace_l7::splice::mode::ALL_UP));
        served(&mut case, head.len() + 200_000, "after it");
    }
}

#[test]
fn a_body_of_many_buffers_goes_to_a_mirror_that_keeps_up() {
    let n = 10 * LEG_BYTES;
    let head = format!("POST /copy HTTP/1.1\r\nHost: h\r\nContent-Length: {n}\r\n\r\n");
    let (mut case, mut mirror) = copied(head.as_bytes());
    let mut at = C + 1 + head.len() as u32;
    let body: Vec<u8> = (0..n).map(|i| (i / 3) as u8).collect();
    for part in body.chunks(1_400) {
        let out = case.client(at, ACK, part);
        mirror.takes(&mut case, &out);
        at += part.len() as u32;
        case.server(S + 1, at, ACK, b"");
    }
    assert_eq!(mirror.got, [head.as_bytes(), &body].concat());
    assert_eq!(case.rules.ends, [(ROUTE, MirrorEnd::Sent)]);
}

#[test]
fn what_is_lost_on_the_way_to_a_mirror_is_sent_again() {
    let mut case = Case::open();
    case.client(C + 1, ACK, COPY);
    let mut mirror = Mirror::default();
    let syn = case.tick(310);
    assert_eq!(to_mirror(&syn)[0].flags, flags::SYN);
    mirror.takes(&mut case, &syn);
    case.server(S, C + 1, flags::SYN | ACK, b"");
    assert!(mirror.got.is_empty(), "lost");
    let out = case.tick(310);
    mirror.takes(&mut case, &out);
    assert_eq!(mirror.got, COPY);
    assert_eq!(case.rules.ends, [(ROUTE, MirrorEnd::Sent)]);
}

#[test]
fn a_request_that_ends_before_it_is_whole_resets_its_copy() {
    let head = b"POST /copy HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n01";
    let (mut case, mut mirror) = copied(head);
    let at = C + 1 + head.len() as u32;
    let out = case.client(at, flags::RST, b"");
    mirror.takes(&mut case, &out);
    assert!(mirror.ended, "{out:?}");
    assert_eq!(case.rules.ends, [(ROUTE, MirrorEnd::Cut)]);
    case.tick(10_000);
    assert_eq!(
        (case.engine.n_flows(), case.engine.n_mirrors_used()),
        (0, 0)
    );
}

#[test]
fn copies_that_have_no_place_or_no_server_are_counted_at_once() {
    let mut case = Case::bound(b"GET /void HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(case.rules.ends, [(ROUTE, MirrorEnd::NoBackend)]);
    case.engine = Engine::new(Config {
        max_flows: 4,
        buffers: 4,
        mirrors: 0,
        ..Config::default()
    });
    case.rules.ends.clear();
    case.iss = case.client(C, flags::SYN, b"")[0].seq;
    case.client(C + 1, ACK, b"");
    case.client(C + 1, ACK, COPY);
    assert_eq!(case.rules.ends, [(ROUTE, MirrorEnd::Busy)]);
}

#[test]
fn a_mirror_that_never_ends_its_answer_is_left_after_a_while() {
    let (mut case, mut mirror) = copied(COPY);
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    mirror.says(&mut case, ACK, head);
    for _ in 0..80 {
        case.tick(1_000);
        if case.engine.n_mirrors_used() > 0 {
            mirror.says(&mut case, ACK, b"1\r\nx\r\n");
        }
    }
    assert_eq!(case.engine.n_mirrors_used(), 0);
}
