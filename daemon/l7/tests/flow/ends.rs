//! Every state ends: what a flow waits for may never come.

use super::*;
use terrace_l7::tcp::before;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const TEN_MINUTES: usize = 600;

/// Seconds until the engine has forgotten the flow of a client whose stack goes
/// on acknowledging what it gets, as one in TIME-WAIT does.
fn life(case: &mut Case, seq: u32, ack: u32) -> Option<usize> {
    (0..TEN_MINUTES).find(|_| {
        for out in case.tick(1_000) {
            let asks = out.direction == Direction::ToClient && out.flags & flags::RST == 0;
            if asks {
                case.client_ack(seq, ack, ACK, b"");
            }
        }
        case.engine.n_flows() == 0
    })
}

#[test]
fn a_flow_whose_last_fin_was_never_seen_ends_although_the_client_answers_probes() {
    let at = C + 1 + GET.len() as u32;
    // The end of the answer is known; then it is not.
    for (answer, limit) in [(ANSWER, 25), (&b"HTTP/1.1 200 OK\r\n\r\n"[..], 90)] {
        let mut case = Case::bound(GET);
        case.server(S + 1, at, ACK, answer);
        let end = S + 1 + answer.len() as u32;
        let ack = case.iss.wrapping_add(1 + answer.len() as u32);
        let out = case.client_ack(at, ack, ACK | flags::FIN, b"");
        assert!(out[0].flags & flags::FIN != 0, "{out:?}");
        case.noted(|progress| {
            progress.server_ack = at + 1;
            progress.server_nxt = end + 1;
        });
        let took = life(&mut case, at + 1, ack + 1);
        assert!(took.is_some_and(|s| s <= limit), "{took:?} of {limit}");
    }
}

#[test]
fn a_client_that_has_ended_waits_for_a_slow_answer_as_long_as_the_backend_lives() {
    let mut case = Case::bound(GET);
    let at = C + 1 + GET.len() as u32;
    case.server(S + 1, at, ACK, b"HTTP/1.1 200 OK\r\n\r\nand then");
    case.client(at, ACK | flags::FIN, b"");
    case.noted(|progress| progress.server_ack = at + 1);
    for second in 0..TEN_MINUTES {
        for out in case.tick(1_000) {
            assert_eq!(out.direction, Direction::ToServer, "{second}: {out:?}");
            assert_eq!(out.flags & flags::RST, 0, "{second}: {out:?}");
            // Its timestamps go on.
            case.noted(|progress| progress.ts_value += 1_000);
        }
    }
    assert_eq!(case.engine.n_flows(), 1);
}

#[test]
fn a_silent_client_is_closed_after_the_idle_time_although_it_answers_probes() {
    let mut case = Case::open();
    case.now += 3_000_000;
    let iss = case.iss;
    let took = life(&mut case, C + 1, iss.wrapping_add(1));
    assert_eq!(took, None, "not before");
    for _ in 0..7 {
        life(&mut case, C + 1, iss.wrapping_add(1));
    }
    assert_eq!(case.engine.n_flows(), 0);
}

#[test]
fn a_head_that_is_not_whole_in_time_is_answered_and_its_buffer_given_back() {
    let mut case = Case::open();
    case.client(C + 1, ACK, &GET[..10]);
    assert_eq!(text(&case.tick(59_000)), "");
    let out = case.tick(2_000);
    assert!(text(&out).starts_with("HTTP/1.1 408 "), "{out:?}");
    assert_eq!(case.rules.faults, [Fault::HeadLate], "it is told of");
    assert_eq!(case.engine.n_buffers_used(), 0);
    // The second of a connection.
    let mut case = Case::bound(GET);
    let at = C + 1 + GET.len() as u32;
    case.server(S + 1, at, ACK, ANSWER);
    let ack = case.iss.wrapping_add(1 + ANSWER.len() as u32);
    case.client_ack(at, ack, ACK, &GET[..10]);
    let out: Vec<Out> = (0..61).flat_map(|_| case.tick(1_000)).collect();
    assert!(text(&out).starts_with("HTTP/1.1 408 "), "{out:?}");
}

#[test]
fn a_cookie_without_an_acknowledgement_makes_no_flow() {
    let mut case = Case::new();
    case.engine = Engine::new(Config {
        max_flows: 4,
        max_half_open: 0,
        ..Config::default()
    });
    case.iss = case.client(C, flags::SYN, b"")[0].seq;
    case.client(C + 1, flags::FIN, b"");
    assert_eq!(case.engine.n_flows(), 0);
}

#[test]
fn a_syn_on_a_connection_that_stands_is_challenged_and_the_reset_lets_it_try_again() {
    let answered = || {
        let mut case = Case::open();
        case.client(C + 1, ACK, b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n");
        case
    };
    let connecting = || {
        let mut case = Case::open();
        case.client(C + 1, ACK, GET);
        case
    };
    let rows: [(&str, Case); 4] = [
        ("held", Case::open()),
        ("connecting", connecting()),
        ("bound", Case::bound(GET)),
        ("answered by us", answered()),
    ];
    for (name, mut case) in rows {
        let seq = C + 50_000;
        let out = case.client(seq, flags::SYN, b"");
        assert_eq!(out.len(), 1, "{name}: {out:?}");
        assert_eq!((out[0].direction, out[0].flags), (Direction::ToClient, ACK));
        assert!(before(out[0].ack, seq), "{name}: {out:?}");
        let again = case.client(seq, flags::SYN, b"");
        assert_eq!(again, [], "{name}: no second one at once");
        case.client(out[0].ack, flags::RST, b"");
        let out = case.client(seq, flags::SYN, b"");
        assert_eq!(
            (out[0].flags, out[0].ack),
            (flags::SYN | ACK, seq + 1),
            "{name}: {out:?}"
        );
        assert_eq!(case.engine.n_flows(), 1, "{name}");
    }
}

#[test]
fn another_first_attempt_from_the_same_port_is_answered_at_once() {
    let mut case = Case::new();
    case.client(C, flags::SYN, b"");
    let out = case.client(C + 9_000, flags::SYN, b"");
    assert_eq!((out[0].flags, out[0].ack), (flags::SYN | ACK, C + 9_001));
    assert_eq!(case.engine.n_flows(), 1);
}

#[test]
fn a_fin_that_the_client_never_sends_again_ends_although_the_backend_answers_probes() {
    let mut case = Case::bound(GET);
    let at = C + 1 + GET.len() as u32;
    case.server(S + 1, at, ACK, b"HTTP/1.1 200 OK\r\n\r\nand then");
    case.client(at, ACK | flags::FIN, b"");
    for _ in 0..4 {
        case.noted(|progress| progress.ts_value += 20_000);
        case.tick(20_000);
    }
    assert_eq!(case.reset(), Some(Reset::HalfClosed));
}

#[test]
fn above_the_limit_of_half_open_flows_cookies_open_them() {
    let mut case = Case::new();
    case.engine = Engine::new(Config {
        max_flows: 4,
        buffers: 4,
        max_half_open: 0,
        ..Config::default()
    });
    let out = case.client(C, flags::SYN, b"");
    assert_eq!(case.engine.n_flows(), 0, "nothing is remembered");
    case.iss = out[0].seq;
    let wrong = case.client_ack(C + 1, case.iss.wrapping_add(2), ACK, GET);
    assert_eq!((wrong[0].flags, case.engine.n_flows()), (flags::RST, 0));
    let out = case.client(C + 1, ACK, GET);
    assert_eq!((out[0].flags, case.engine.n_flows()), (flags::SYN, 1));
}

#[test]
fn a_cookie_is_taken_only_where_one_was_given_not_long_ago() {
    // Half-open flows that are remembered, milliseconds until the ACK, flows then.
    for (max_half_open, after_ms, expected) in [(8, 20_000, 0), (0, 20_000, 1), (0, 129_000, 0)] {
        let mut case = Case::new();
        case.now = 10 * 64_000;
        case.engine = Engine::new(Config {
            max_flows: 4,
            buffers: 4,
            max_half_open,
            ..Config::default()
        });
        case.iss = case.client(C, flags::SYN, b"")[0].seq;
        case.tick(after_ms);
        assert_eq!(case.engine.n_flows(), 0, "nothing is remembered any more");
        case.client(C + 1, ACK, GET);
        let case_name = (max_half_open, after_ms);
        assert_eq!(case.engine.n_flows(), expected, "{case_name:?}");
    }
}

#[test]
fn the_port_of_a_closed_connection_opens_another_one_at_once() {
    let mut case = window::closed();
    let out = case.client(C + 100_000, flags::SYN, b"");
    assert_eq!((out[0].flags, out[0].ack), (flags::SYN | ACK, C + 100_001));
    assert_eq!(case.engine.n_flows(), 1);
}

#[test]
fn a_flow_that_idles_needs_no_buffer() {
    let mut case = Case::bound(GET);
    let at = C + 1 + GET.len() as u32;
    case.server(
        S + 1,
        at,
        ACK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    case.tick(500);
    assert_eq!(
        (case.engine.n_flows(), case.engine.n_buffers_used()),
        (1, 0)
    );
    const { assert!(MAX_FLOW_BYTES < 1_000) };
}
