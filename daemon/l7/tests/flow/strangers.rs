//! Segments of somebody who guesses (RFC 5961).

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const POST: &[u8] = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n";

fn held() -> Case {
    Case::open()
}

fn half_open() -> Case {
    let mut case = Case::new();
    case.iss = case.client(C, flags::SYN, b"")[0].seq;
    case
}

fn part_of_a_head() -> Case {
    let mut case = Case::open();
    case.client(C + 1, ACK, &GET[..7]);
    case
}

fn connecting() -> Case {
    let mut case = Case::open();
    case.client(C + 1, ACK, GET);
    case
}

fn answering() -> Case {
    let mut case = Case::open();
    case.client(C + 1, ACK, b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n");
    case
}

/// The server has acknowledged it.
fn bound() -> Case {
    let mut case = Case::bound(GET);
    case.server(S + 1, C + 1 + GET.len() as u32, ACK, b"");
    case
}

/// 1,000 bytes of the body have passed in the kernel, of which the server has
/// acknowledged 400.
fn in_a_body() -> Case {
    let mut case = Case::bound(POST);
    let ack = C + 1 + POST.len() as u32 + 400;
    case.server(S + 1, ack, ACK, b"");
    case
}

/// Each state, and the acknowledgement that the client was told last.
fn states() -> [(&'static str, Case, u32); 7] {
    let get = C + 1 + GET.len() as u32;
    [
        ("half open", half_open(), C + 1),
        ("held", held(), C + 1),
        ("part of a head", part_of_a_head(), C + 8),
        ("connecting", connecting(), C + 1),
        ("answered by us", answering(), get + 3),
        ("bound", bound(), get),
        ("in a body", in_a_body(), C + 401 + POST.len() as u32),
    ]
}

fn is_over(case: &mut Case) -> bool {
    case.tick(4_000);
    case.engine.n_flows() == 0
}

#[test]
fn a_reset_ends_a_flow_at_the_exact_number_only() {
    for (name, mut case, at) in states() {
        for far in [0x8000_0000, 0x10_0000, 0x2_0000, u32::MAX - 20_000] {
            let out = case.client(at.wrapping_add(far), flags::RST, b"");
            assert_eq!(out, [], "{name}: {far:#x} outside the window");
        }
        assert_eq!(case.engine.counts().strays, 4, "{name}");
        let out = case.client(at + 100, flags::RST, b"");
        let challenges: Vec<&Out> = out
            .iter()
            .filter(|out| out.direction == Direction::ToClient)
            .collect();
        assert_eq!(challenges.len(), 1, "{name}: {out:?}");
        let challenge = challenges[0];
        assert_eq!((challenge.flags, challenge.ack), (ACK, at), "{name}");
        let again = case.client(at + 101, flags::RST, b"");
        let is_to_server = |out: &Out| out.direction == Direction::ToServer;
        assert!(again.iter().all(is_to_server), "{name}: no second at once");
        assert_eq!(case.engine.counts().challenges, 1, "{name}");
        assert_eq!(case.engine.n_flows(), 1, "{name}");
        // What the client's stack says to the challenge.
        case.client(challenge.ack, flags::RST, b"");
        assert!(is_over(&mut case), "{name}");
        assert!(case.world.splices.is_empty(), "{name}");
    }
}

#[test]
fn a_reset_in_the_window_of_a_bound_flow_is_the_servers_to_judge() {
    let mut case = in_a_body();
    let body = C + 1 + POST.len() as u32;
    // At 1,000 stands the client; we know of 400.
    let out = case.client(body + 1_000, flags::RST | ACK, b"secret");
    let sent: Vec<&Out> = out
        .iter()
        .filter(|out| out.direction == Direction::ToServer)
        .collect();
    assert_eq!(sent.len(), 1, "{out:?}");
    assert_eq!(
        (sent[0].flags, sent[0].seq),
        (flags::RST | ACK, body + 1_000)
    );
    assert_eq!(sent[0].payload, b"", "nobody has looked at it");
    assert_eq!(case.world.splices.len(), 1, "the splice stays");
    // The client's stack answers the challenge, the server's its own.
    let out = case.client(body + 400, flags::RST, b"");
    assert_eq!(out[0].flags, flags::RST);
    let out = case.client(body + 1_000, flags::RST, b"");
    assert_eq!((out[0].flags, out[0].seq), (flags::RST, body + 1_000));
    assert!(is_over(&mut case));
}

#[test]
fn bytes_that_wait_are_not_before_the_reset_that_the_server_gets() {
    let mut case = bound();
    let at = C + 1 + GET.len() as u32;
    // The next request waits for the end of the answer.
    case.client(at, ACK, GET);
    let out = case.client(at + GET.len() as u32, flags::RST, b"");
    let reset = out.iter().find(|out| out.flags & flags::RST != 0).unwrap();
    assert_eq!((reset.direction, reset.seq), (Direction::ToServer, at));
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_not_believed() {
    for (name, mut case, at) in states() {
        if name == "half open" {
            continue;
        }
        let known = case.engine.counts().strays;
        let sent = match name {
            "answered by us" => 10_000,
            _ => 1,
        };
        for ahead in [sent, 70_000, 0x7fff_0000, 0x9000_0000] {
            let ack = case.iss.wrapping_add(1 + ahead);
            let out = case.client_ack(at, ack, ACK | flags::URG, b"x");
            let texts = out.iter().filter(|out| !out.payload.is_empty()).count();
            assert_eq!((texts, case.reset()), (0, None), "{name}: {ahead:#x}");
        }
        assert_eq!(case.engine.counts().strays, known + 4, "{name}");
        assert_eq!(case.engine.counts().challenges, 1, "{name}");
    }
}

#[test]
fn an_answer_of_ours_waits_for_an_acknowledgement_that_can_be_one() {
    let mut case = bound();
    let at = C + 1 + GET.len() as u32;
    case.server(S + 1, at, ACK, ANSWER);
    // Passes in the kernel: the server judges it, and nothing is noted.
    let far = case.iss.wrapping_add(90_000);
    let out = case.client_ack(at, far, ACK, b"");
    assert!(out.iter().all(|out| out.payload.is_empty()));
    let end = case.iss.wrapping_add(1 + ANSWER.len() as u32);
    let deny = b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n";
    let out = case.client_ack(at, end.wrapping_sub(2), ACK, deny);
    assert_eq!(text(&out), "", "two bytes of the last answer are missing");
    let out = case.client_ack(at, end, ACK, deny);
    assert!(text(&out).starts_with("HTTP/1.1 403 "), "{out:?}");
    assert_eq!(out.iter().find(|o| !o.payload.is_empty()).unwrap().seq, end);
}

#[test]
fn a_backends_reset_or_fin_counts_where_the_client_expects_it() {
    let at = C + 1 + GET.len() as u32;
    let nxt = S + 1 + ANSWER.len() as u32;
    let rows = [
        ("behind all that was seen", flags::RST, nxt, true),
        (
            "where the client acknowledged",
            flags::RST | ACK,
            S + 1,
            true,
        ),
        ("ahead", flags::RST, nxt + 500, false),
        ("far", flags::RST, nxt + 0x4000_0000, false),
        ("before", flags::RST, S.wrapping_sub(9_000), false),
    ];
    for (name, flags, seq, ends) in rows {
        let mut case = bound();
        case.server(S + 1, at, ACK, ANSWER);
        let out = case.server(seq, at, flags, b"");
        assert_eq!(out.len(), 1, "{name}: the client judges it");
        assert_eq!(is_over(&mut case), ends, "{name}");
    }
    let mut case = bound();
    case.server(S + 1, at, ACK, ANSWER);
    case.server(nxt + 0x2000_0000, at, flags::FIN | ACK, b"");
    let ack = case.iss.wrapping_add(1 + ANSWER.len() as u32);
    case.client_ack(at, ack, flags::FIN | ACK, b"");
    assert!(!is_over(&mut case), "a FIN of nobody ends nothing");
}

#[test]
fn what_limits_refuse_is_counted() {
    let mut case = Case::new();
    case.engine = Engine::new(Config {
        max_flows: 1,
        max_half_open: 1,
        buffers: 0,
        ..Config::default()
    });
    case.iss = case.client(C, flags::SYN, b"")[0].seq;
    assert_eq!(case.engine.n_half_open(), 1);
    let other = Segment {
        src: endpoint("10.0.0.9:1"),
        dst: service(),
        seq: 9,
        flags: flags::SYN,
        ..Segment::default()
    };
    let cookie = case.packet(&other)[0].seq;
    assert_eq!(case.engine.counts().cookies, 1);
    let back = Segment {
        seq: 10,
        ack: cookie.wrapping_add(1),
        flags: ACK,
        ..other
    };
    case.packet(&back);
    assert_eq!(case.engine.counts().full, 1);
    case.client(C + 1, ACK, GET);
    assert_eq!(case.engine.counts().unheld, 1);
    assert_eq!(case.engine.n_half_open(), 0);
}
