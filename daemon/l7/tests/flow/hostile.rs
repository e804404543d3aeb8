//! Clients that choose numbers and bytes so that a backend gets what nobody has
//! looked at, and flows that would keep what others need.

use super::*;
use terrace_l7::splice::{HeadNote, digest, mode};

/// Bytes that a server has taken, as its stack would.
#[derive(Default)]
struct Server {
    bytes: Vec<u8>,
}

impl Server {
    fn take(&mut self, out: &[Out]) {
        for sent in to_server(out) {
            let next = C + 1 + self.bytes.len() as u32;
            let skip = next.wrapping_sub(sent.seq) as i32;
            if let Ok(skip) = usize::try_from(skip) {
                let new = sent.payload.get(skip..).unwrap_or_default();
                self.bytes.extend_from_slice(new);
            }
        }
    }
}

pub fn to_server(out: &[Out]) -> impl Iterator<Item = &Out> {
    out.iter()
        .filter(|sent| sent.direction == Direction::ToServer)
}

fn to_client(out: &[Out]) -> impl Iterator<Item = &Out> {
    out.iter()
        .filter(|sent| sent.direction == Direction::ToClient)
}

const ONE: &[u8] = b"GET /aaaa";
const BAD: &[u8] = b"GET /deny";
const TWO: &[u8] = b" HTTP/1.1\r\nHost: h\r\n\r\n";
pub const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A kept connection whose first request has been answered: where the next one
/// begins, and what the client has acknowledged.
pub fn kept(request: &[u8]) -> (Case, u32, u32) {
    let mut case = Case::bound(request);
    let at = C + 1 + request.len() as u32;
    case.server(S + 1, at, ACK, EMPTY);
    let told = case.iss.wrapping_add(1 + EMPTY.len() as u32);
    case.client_ack(at, told, ACK, b"");
    case.tick(300);
    (case, at, told)
}

/// A request whose body of so many bytes has not begun: where it begins.
pub fn upload(path: &str, length: u64) -> (Case, u32) {
    let mut case = Case::open();
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    let body = C + 1 + head.len() as u32;
    case.client(C + 1, ACK, head.as_bytes());
    case.server(S, C + 1, flags::SYN | ACK, b"");
    case.server(S + 1, body, ACK, b"");
    case.tick(300);
    (case, body)
}

#[test]
fn what_we_have_acknowledged_is_delivered_as_it_was_inspected() {
    let mut case = Case::open();
    let at = C + 1 + ONE.len() as u32;
    case.client(C + 1, ACK, ONE);
    case.client(at, ACK, TWO);
    // The head that goes to the server is lost.
    case.server(S, C + 1, flags::SYN | ACK, b"");
    let mut server = Server::default();
    server.take(&case.client(C + 1, ACK, BAD));
    for _ in 0..10 {
        server.take(&case.client(at, ACK, TWO));
        server.take(&case.tick(100));
    }
    assert_eq!(server.bytes, [ONE, TWO].concat());
}

#[test]
fn a_second_request_that_is_acknowledged_in_parts_is_delivered_as_it_was_inspected() {
    let (mut case, at, told) = kept(GET);
    case.client_ack(at, told, ACK, ONE);
    case.client_ack(at + ONE.len() as u32, told, ACK, TWO);
    let out = case.client_ack(at, told, ACK, BAD);
    assert!(!to_server(&out).any(|sent| sent.payload == BAD));
    let out = case.tick(300);
    let again: Vec<_> = to_server(&out).collect();
    assert_eq!(again[0].payload, ONE);
}

#[test]
fn a_rewritten_head_stays_rewritten_when_the_client_sends_its_own_again() {
    let mut case = Case::open();
    let head = b"GET /rw HTTP/1.1\r\nHost: h\r\nX-User: root\r\n\r\n";
    case.client(C + 1, ACK, head);
    let mut out = case.server(S, C + 1, flags::SYN | ACK, b"");
    out.extend(case.client(C + 1, ACK, head));
    for _ in 0..10 {
        out.extend(case.client(C + 1, ACK, head));
        out.extend(case.tick(100));
    }
    let sent: Vec<_> = to_server(&out)
        .filter(|sent| !sent.payload.is_empty())
        .collect();
    assert!(sent.len() > 1, "it is sent again: {}", sent.len());
    assert!(
        sent.iter()
            .all(|sent| sent.payload.starts_with(b"GET /new "))
    );
}

#[test]
fn segments_from_half_the_numbers_away_are_strays() {
    for off in [0u32, 1, 100, 50_000, 59_000, 61_000] {
        for len in [1usize, 100, 1400] {
            let (mut case, at, told) = kept(GET);
            let far = at.wrapping_add(1 << 31).wrapping_add(off);
            let out = case.client_ack(far, told, ACK, &vec![b'x'; len]);
            assert_eq!(to_server(&out).count(), 0, "{off} {len}");
            assert_eq!(case.engine.counts().strays, 1, "{off} {len}");
        }
    }
}

#[test]
fn a_long_body_is_opened_step_by_step_only() {
    let (mut case, body) = upload("/a", (1 << 32) + 100);
    let open = |case: &Case| case.world.splices.get(0).unwrap().0.open_until;
    let before = open(&case);
    for far in 1..4u32 {
        case.client(body.wrapping_add(far << 30).wrapping_add(70_000), ACK, b"x");
    }
    assert_eq!(open(&case), before, "far segments open nothing");
    // Where the server's window has come to the end of what is open, more is.
    case.server(S + 1, before.wrapping_sub(10), ACK, b"");
    case.client(before.wrapping_sub(10), ACK, &[b'x'; 20]);
    assert_eq!(open(&case), before.wrapping_add(1 << 30));
}

#[test]
fn who_never_sends_what_a_buffer_waits_for_loses_it() {
    let head = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxx";
    let rows: [(&str, &dyn Fn() -> Case); 3] = [
        ("a byte behind a gap", &|| {
            let mut case = Case::open();
            case.client(C + 2, ACK, b"x");
            case
        }),
        ("a slow head behind a body", &|| {
            let (mut case, at, told) = kept(head);
            case.client_ack(at, told, ACK, b"GET /slow");
            case
        }),
        ("a slow line of a chunked body", &|| {
            let head = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut case = Case::bound(head);
            case.client(C + 1 + head.len() as u32, ACK, b"5");
            case
        }),
    ];
    for (name, begin) in rows {
        let mut case = begin();
        assert_eq!(case.engine.n_buffers_used(), 1, "{name}");
        for _ in 0..120 {
            case.tick(1_000);
        }
        assert_eq!(
            case.engine.n_buffers_used(),
            0,
            "{name}: {:?}",
            case.world.events
        );
    }
}

#[test]
fn a_timeout_during_an_upload_acknowledges_what_has_come() {
    let (mut case, body) = upload("/a", 100000);
    case.client(body, ACK, &[b'x'; 1000]);
    case.server(S + 1, body + 1000, ACK, b"");
    let mut out = case.tick(600);
    out.extend(case.tick(600));
    let answer: Vec<_> = to_client(&out)
        .filter(|sent| !sent.payload.is_empty())
        .collect();
    assert!(answer[0].payload.starts_with(b"HTTP/1.1 504 "));
    assert_eq!(answer[0].ack, body + 1000);
}

#[test]
fn a_routes_timeout_counts_while_the_backend_is_called() {
    let mut case = Case::open();
    case.client(C + 1, ACK, GET);
    let mut out = Vec::new();
    for _ in 0..11 {
        out.extend(case.tick(100));
    }
    assert!(text(&out).starts_with("HTTP/1.1 504 "), "{}", text(&out));
}

#[test]
fn a_head_behind_a_hole_of_the_body_before_it_is_not_acknowledged() {
    let (mut case, body) = upload("/a", 100);
    case.client(body, ACK, &[b'x'; 50]);
    let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    case.server(S + 1, body + 50, ACK, answer);
    let told = case.iss.wrapping_add(1 + answer.len() as u32);
    // Bytes 50 to 100 were lost; the next head begins.
    let next = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    for part in [&next[..6], next] {
        let mut out = case.client_ack(body + 100, told, ACK, part);
        out.extend(case.tick(300));
        assert!(
            to_client(&out).all(|sent| sent.ack == body + 50),
            "{}",
            part.len()
        );
        assert!(!to_server(&out).any(|sent| sent.payload.starts_with(b"GET")));
    }
    // The hole is filled, and the request goes on.
    case.client_ack(body + 50, told, ACK, &[b'x'; 50]);
    let end = S + 1 + answer.len() as u32;
    let mut out = case.server(end, body + 100, ACK, b"");
    out.extend(case.tick(300));
    assert!(
        to_server(&out).any(|sent| sent.payload == next),
        "{:?}",
        case.world.events
    );
}

#[test]
fn without_a_second_buffer_a_rewrite_is_503() {
    let mut case = Case::new();
    let mut statuses = Vec::new();
    for port in 5_000..5_004 {
        let bytes: &[u8] = match port {
            5_003 => b"GET /rw HTTP/1.1\r\nHost: h\r\n\r\n",
            _ => b"GET /slow",
        };
        statuses.push(text(&case.ask_at(port, bytes)));
    }
    assert!(statuses[3].starts_with("HTTP/1.1 503 "), "{statuses:?}");
}

/// A request passes in the kernel at the place of a longer one that the worker
/// has in its hands.
#[test]
fn of_two_heads_at_one_place_the_worker_goes_on_behind_the_one_that_passed() {
    let short: &[u8] = b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n";
    let pad = "p".repeat(short.len() - b"GET /k HTTP/1.1\r\nX: ".len());
    let other = format!("GET /k HTTP/1.1\r\nX: {pad}GET /deny HTTP/1.1\r\nHost: h\r\n\r\n");
    let same = [short, b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
    for (name, long) in [("other bytes", other.as_bytes()), ("the same", &same)] {
        let (mut case, at, told) = kept(short);
        let splice = case.world.splices.get(0).unwrap().0;
        assert!(splice.has(mode::HEADS), "{name}: armed");
        let answers_end = S + 1 + EMPTY.len() as u32;
        case.world.race = Some(HeadNote {
            base: Some(splice.open_until),
            heads: 1,
            at,
            next: at + short.len() as u32,
            digest: digest(short, 0),
            method: 1,
            answer_at: answers_end,
            answer_end: None,
        });
        let out = case.client_ack(at, told, ACK, long);
        let sent: Vec<_> = to_server(&out)
            .filter(|sent| !sent.payload.is_empty())
            .collect();
        assert!(sent.is_empty(), "{name}: {} segments", sent.len());
        let reset = (name == "other bytes").then_some(Reset::OtherBytes);
        assert_eq!(case.reset(), reset, "{name}");
    }
}
