//! Windows that are shut.

use super::*;

#[test]
fn a_clients_probe_of_a_shut_window_makes_the_server_tell_its_window() {
    let post = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n";
    let mut case = Case::open();
    case.client(C + 1, ACK, post);
    let body = C + 1 + post.len() as u32;
    let packet = |flags, seq, ack, window| Segment {
        src: server(),
        dst: client(),
        seq,
        ack,
        flags,
        window,
        ..Segment::default()
    };
    // There is room for the head only.
    case.packet(&packet(flags::SYN | ACK, S, C + 1, post.len() as u16));
    case.packet(&packet(ACK, S + 1, body, 0));
    let out = case.client(body, ACK, b"x");
    assert_eq!(out.len(), 1, "{out:?}");
    let asked = (out[0].direction, out[0].seq, out[0].payload.len());
    assert_eq!(asked, (Direction::ToServer, body - 1, 0), "a probe");
    case.packet(&packet(ACK, S + 1, body, 100));
    let out = case.client(body, ACK, b"x");
    assert_eq!((out[0].seq, &out[0].payload[..]), (body, &b"x"[..]));
}

#[test]
fn a_blind_reset_outside_the_window_changes_nothing() {
    let mut case = Case::bound(GET);
    assert_eq!(case.client(C.wrapping_sub(90_000), flags::RST, b""), []);
    assert_eq!(case.world.splices.len(), 1);
    let at = C + 1 + GET.len() as u32;
    let out = case.client(at, flags::RST, b"");
    assert_eq!(out[0].flags, flags::RST, "a good one goes on");
    case.tick(5_000);
    assert_eq!((case.engine.n_flows(), case.world.splices.len()), (0, 0));
}

/// Answered, and closed by the server first.
pub fn closed() -> Case {
    let mut case = Case::bound(GET);
    let at = C + 1 + GET.len() as u32;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    case.server(S + 1, at, ACK | flags::FIN, answer);
    case.client_ack(
        at,
        case.iss.wrapping_add(2 + answer.len() as u32),
        ACK | flags::FIN,
        b"",
    );
    case
}

#[test]
fn a_flow_that_both_ends_have_closed_needs_no_buffer() {
    let case = closed();
    assert_eq!(
        (case.engine.n_flows(), case.engine.n_buffers_used()),
        (1, 0)
    );
}
