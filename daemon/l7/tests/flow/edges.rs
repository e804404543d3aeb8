//! Where one thing meets the next: a long body and half a round of numbers, a
//! request and what the one before still lacks, one backend's answer and
//! another's, the worker's hand and the programs'.

use super::hostile::{EMPTY, kept, to_server, upload};
use super::passed::{PLAIN, note_of_first};
use super::*;
use terrace_l7::splice::{HeadNote, Verdict, mode};

const DENY: &[u8] = b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n";
const GIB: u32 = 1 << 30;

fn reaches_server(out: &[Out], what: &[u8]) -> bool {
    to_server(out).any(|sent| sent.payload.windows(what.len()).any(|part| part == what))
}

#[test]
fn what_is_open_is_open_from_its_beginning_on_and_not_half_a_round_away() {
    let at = |from: u32, until: u32| Splice {
        client: client(),
        service: service(),
        source: client(),
        server: server(),
        open_from: from,
        open_until: until,
        ..Splice::default()
    };
    // From and until, then how far behind the first a segment begins and ends.
    let rows = [
        (7, 7, GIB, 10, Verdict::Up),
        (7, 7, (1 << 31) - 10, 100, Verdict::Up),
        (7, 7, 0, 1, Verdict::Up),
        (7, 107, 0, 100, Verdict::Pass),
        (7, 107, 1, 100, Verdict::Up),
        (7, 107, u32::MAX, 2, Verdict::Up),
        (u32::MAX - 10, 90, 50, 51, Verdict::Pass),
        (u32::MAX - 10, 90, 50, 52, Verdict::Up),
    ];
    for (from, until, behind, length, expected) in rows {
        let splice = at(from, until);
        let payload = vec![b'x'; length];
        let segment = Segment {
            src: client(),
            dst: service(),
            seq: from.wrapping_add(behind),
            flags: ACK,
            payload: &payload,
            ..Segment::default()
        };
        let progress = Progress {
            server_edge: segment.seq.wrapping_add(GIB),
            ..Progress::default()
        };
        let verdict = splice.judge(Direction::ToServer, &segment, &progress);
        let row = (from, until, behind, length);
        assert_eq!(verdict, expected, "{row:?}");
    }
}

#[test]
fn a_body_longer_than_what_is_opened_at_once_is_never_read_as_a_request() {
    for answered in [true, false] {
        let (mut case, body) = upload("/k", u64::from(GIB) + 200);
        let answer = if answered { EMPTY } else { b"" };
        case.server(S + 1, body, ACK, answer);
        let told = case.iss.wrapping_add(1 + answer.len() as u32);
        let end = body.wrapping_add(GIB);
        // Before the server's window reaches there.
        let inner = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
        case.client_ack(end, told, ACK, inner);
        assert_eq!(case.engine.n_buffers_used(), 0, "nothing is held there");
        let next = S + 1 + told.wrapping_sub(case.iss + 1);
        case.server(next, end, ACK, b"");
        case.tick(300);
        case.server(next, end.wrapping_add(inner.len() as u32), ACK, b"");
        let mut rest = vec![b'x'; 200 - inner.len()];
        rest.extend_from_slice(DENY);
        let at = end.wrapping_add(inner.len() as u32);
        let out = case.client_ack(at, told, ACK, &rest);
        assert!(!reaches_server(&out, b"GET /deny"), "{answered}");
    }
}

#[test]
fn a_changed_head_waits_until_the_server_has_the_body_before_it() {
    let head = b"POST /k HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n";
    let whole = [&head[..], &[b'x'; 50], &[b'y'; 50]].concat();
    let mut case = Case::bound(&whole);
    let end = C + 1 + whole.len() as u32;
    // An answer that comes early, and the last bytes lost behind us.
    case.server(S + 1, end - 50, ACK, EMPTY);
    let told = case.iss.wrapping_add(1 + EMPTY.len() as u32);
    let change = b"GET /rw HTTP/1.1\r\nHost: h\r\n\r\n";
    let out = case.client_ack(end, told, ACK, change);
    assert!(!reaches_server(&out, b"GET /new"), "{out:?}");
    let out = case.client_ack(end - 50, told, ACK, &[b'y'; 50]);
    assert!(reaches_server(&out, b"yyyyy"), "{out:?}");
    let mut out = case.server(S + 1 + EMPTY.len() as u32, end, ACK, b"");
    out.extend(case.tick(300));
    assert!(reaches_server(&out, b"GET /new"), "{out:?}");
}

#[test]
fn no_backend_answers_for_another_one() {
    let forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    for (more, allowed) in [(&b""[..], true), (&forged[..], false)] {
        let mut case = Case::bound(GET);
        let at = C + 1 + GET.len() as u32;
        let answer = [EMPTY, more].concat();
        case.server(S + 1, at, ACK, &answer);
        let told = case.iss.wrapping_add(1 + answer.len() as u32);
        let out = case.client_ack(at, told, ACK, b"GET /two HTTP/1.1\r\nHost: h\r\n\r\n");
        let opens = to_server(&out).any(|sent| sent.dst == second());
        assert_eq!(opens, allowed, "{out:?}");
    }
}

/// Two requests are held; the first passes in the programs, and the second one's
/// place is taken by another the moment before it is decided.
#[test]
fn no_request_passes_while_the_worker_decides_whatever_its_own_copy_says() {
    let (mut case, body) = upload("/k", 100);
    let (n, answer) = (PLAIN.len() as u32, EMPTY.len() as u32);
    case.client(body, ACK, &[b'x'; 100]);
    case.server(S + 1, body, ACK, EMPTY);
    let splice = case.world.splices.get(0).unwrap().0;
    assert!(splice.has(mode::HEADS), "armed");
    let (at, first, second) = (body + 100, S + 1 + answer, S + 1 + 2 * answer);
    let next = at + n;
    let told = |n: u32| 1 + n * answer;
    let told = [1, 2].map(|n| case.iss.wrapping_add(told(n)));
    let pad = "p".repeat(PLAIN.len() - b"GET /k HTTP/1.1\r\nX: ".len());
    let long = format!("GET /k HTTP/1.1\r\nX: {pad}GET /deny HTTP/1.1\r\nHost: h\r\n\r\n");
    case.client_ack(at, told[0], ACK, &[PLAIN, long.as_bytes()].concat());
    case.noted(|progress| {
        progress.server_nxt = first;
        (progress.server_ack, progress.server_edge) = (at, at + 60_000);
        progress.client_ack = told[0];
    });
    let note = note_of_first(&case, at, first);
    case.world.note = note;
    // Anything makes the engine look at the note.
    case.client_ack(at, told[0], flags::SYN, b"");
    case.world.note.answer_end = Some(second);
    case.noted(|progress| {
        progress.server_nxt = second;
        (progress.server_ack, progress.server_edge) = (next, next + 60_000);
        progress.client_ack = told[1];
    });
    case.world.race = Some(HeadNote {
        heads: 2,
        at: next,
        next: next + n,
        answer_at: second,
        ..note
    });
    let out = case.tick(300);
    assert!(!reaches_server(&out, b"GET /deny"), "{out:?}");
}

#[test]
fn a_strangers_fin_far_outside_the_window_makes_no_reset_exact() {
    let (mut case, body) = upload("/k", 1_000_000);
    let old = case.iss.wrapping_sub(20_000);
    case.client_ack(body + 900_000, old, ACK | flags::FIN, b"");
    case.client_ack(body + 900_001, 0, flags::RST, b"");
    case.tick(4_000);
    assert_eq!(case.engine.n_flows(), 1);
    let told = case.iss.wrapping_add(1 + EMPTY.len() as u32);
    case.server(S + 1, body + 1_000_000, ACK, EMPTY);
    let out = case.client_ack(body + 1_000_000, told, ACK | flags::FIN, b"");
    let ends = to_server(&out).any(|sent| sent.flags & flags::FIN != 0);
    assert!(ends, "the client's own goes on: {out:?}");
}

#[test]
fn who_sends_as_the_server_without_its_numbers_ends_nothing() {
    let (mut case, at, told) = kept(GET);
    let forged = S + 0x1234_5678;
    case.server(forged, at + 0x2000_0000, ACK, b"");
    case.server(forged, 0, flags::RST, b"");
    case.tick(4_000);
    assert_eq!(case.engine.n_flows(), 1);
    let mut out = Vec::new();
    for _ in 0..10 {
        out.extend(case.client_ack(at, told, ACK, GET));
        out.extend(case.tick(300));
    }
    assert!(reaches_server(&out, GET), "{:?}", case.reset());
}

#[test]
fn a_note_that_lacks_the_last_segment_stops_nothing() {
    let mut case = Case::bound(PLAIN);
    let at = C + 1 + PLAIN.len() as u32;
    let answer = Segment {
        src: server(),
        dst: client(),
        seq: S + 1,
        ack: at,
        flags: ACK,
        window: 60_000,
        payload: EMPTY,
        ..Segment::default()
    };
    let mut packet = vec![0; 400];
    let len = wire::write(&answer, &mut packet);
    case.noted(|progress| {
        (progress.server_ack, progress.server_edge) = (at, at + 60_000);
    });
    let Case {
        engine,
        rules,
        world,
        now,
        ..
    } = &mut case;
    engine.packet(*now, &packet[..len], Arrival::Copy, rules, world);
    let told = case.iss.wrapping_add(1 + EMPTY.len() as u32);
    let out = case.client_ack(at, told, ACK, GET);
    assert!(reaches_server(&out, GET), "{out:?}");
}

#[test]
fn a_client_that_still_takes_the_end_of_an_answer_is_not_cut_off() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n";
    for (takes, limit) in [(1_000, 20), (0, 25)] {
        let mut case = Case::bound(GET);
        let at = C + 1 + GET.len() as u32;
        case.client(at, ACK | flags::FIN, b"");
        case.server(S + 1, at + 1, ACK, head);
        let body = S + 1 + head.len() as u32;
        case.server(body, at + 1, ACK | flags::FIN, &[b'z'; 10_000]);
        let mut told = case.iss.wrapping_add(1 + head.len() as u32);
        for second in 0..10 {
            case.tick(1_000);
            assert_eq!(case.engine.n_flows(), 1, "{takes}: {second} s");
            told += takes;
            let out = case.client_ack(at + 1, told, ACK, b"");
            assert!(out.iter().all(|out| out.flags & flags::RST == 0));
        }
        let over = (0..limit).any(|_| {
            case.tick(1_000);
            case.engine.n_flows() == 0
        });
        assert!(over, "{takes}");
    }
}

#[test]
fn nobody_keeps_a_buffer_by_never_sending_the_rest_of_an_answer() {
    let mut case = Case::bound(PLAIN);
    let at = C + 1 + PLAIN.len() as u32;
    case.server(S + 1, at, ACK, b"HTTP/1.1 200 OK\r\nX: ");
    case.tick(300);
    assert_eq!(case.engine.n_buffers_used(), 1);
    case.tick(61_000);
    assert_eq!(case.engine.n_buffers_used(), 0);
}

#[test]
fn a_flow_that_closes_slowly_does_not_keep_the_worker_awake() {
    let mut case = Case::bound(GET);
    let at = C + 1 + GET.len() as u32;
    case.client(at, ACK | flags::FIN, b"");
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    case.server(
        S + 1,
        at + 1,
        ACK | flags::FIN,
        &[&head[..], &[b'z'; 100]].concat(),
    );
    let mut wakes = 0;
    while case.engine.n_flows() > 0 {
        case.tick(10);
        wakes += usize::from(
            case.engine
                .next_tick()
                .is_some_and(|at| at <= case.now + 10),
        );
        assert!(case.now < 60_000);
    }
    assert!(wakes < 100, "{wakes}");
}
