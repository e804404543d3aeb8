//! What comes to the worker behind requests that have passed in the kernel, and
//! behind an answer that it has waited for.

use super::hostile::{EMPTY, kept, to_server};
use super::*;
use terrace_l7::splice::{HeadNote, digest};

pub const PLAIN: &[u8] = b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n";
const ANSWER: u32 = EMPTY.len() as u32;

/// What is noted when [`PLAIN`] is the first that passes, with its answer still due.
pub fn note_of_first(case: &Case, at: u32, answer_at: u32) -> HeadNote {
    let (splice, _) = case.world.splices.get(0).unwrap();
    HeadNote {
        base: Some(splice.open_until),
        heads: 1,
        at,
        next: at + PLAIN.len() as u32,
        digest: digest(PLAIN, 0),
        method: 1,
        answer_at,
        answer_end: None,
    }
}

/// A second request has passed and was answered: where the next one begins, and
/// what the client has acknowledged.
fn passed() -> (Case, u32, u32) {
    let (mut case, at, told) = kept(PLAIN);
    let next = at + PLAIN.len() as u32;
    let begin = S + 1 + ANSWER;
    case.noted(|progress| {
        progress.server_ack = next;
        progress.server_nxt = begin + ANSWER;
        progress.client_ack = told + ANSWER;
    });
    case.world.note = HeadNote {
        answer_end: Some(begin + ANSWER),
        ..note_of_first(&case, at, begin)
    };
    (case, next, told + ANSWER)
}

#[test]
fn a_request_behind_one_that_passed_is_decided_at_once() {
    let (mut case, at, told) = passed();
    let out = case.client_ack(at, told, ACK, GET);
    let sent = to_server(&out).any(|sent| sent.payload == GET);
    assert!(sent, "{out:?} {:?}", case.world.events);
    let (mut case, at, told) = passed();
    let denied = b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n";
    let out = case.client_ack(at, told, ACK, denied);
    assert!(text(&out).starts_with("HTTP/1.1 403 "), "{out:?}");
}

#[test]
fn a_head_that_is_never_whole_is_408_whatever_was_before_it() {
    let cut = &GET[..9];
    let (mut case, at, told) = passed();
    let out = case.client_ack(at, told, ACK, cut);
    let had = out.iter().map(|out| (out.direction, out.ack));
    let all = (Direction::ToClient, at + cut.len() as u32);
    assert!(had.clone().any(|had| had == all), "acknowledged: {out:?}");
    assert!(
        text(&case.tick(61_000)).starts_with("HTTP/1.1 408 "),
        "passed"
    );

    // It has come before the answer to the last one, and waits for its end.
    let mut case = Case::bound(GET);
    let at = C + 1 + GET.len() as u32;
    let mut told = case.iss.wrapping_add(1);
    case.client_ack(at, told, ACK, cut);
    case.server(S + 1, at, ACK, EMPTY);
    told = told.wrapping_add(ANSWER);
    case.client_ack(at + cut.len() as u32, told, ACK, b"");
    assert!(text(&case.tick(300)).is_empty());
    let out = case.tick(61_000);
    assert!(text(&out).starts_with("HTTP/1.1 408 "), "waited: {out:?}");
}
