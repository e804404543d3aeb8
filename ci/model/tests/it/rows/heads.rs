//! Requests that pass without a worker, and what goes up instead.

use terrace_abi::Reason::{self, *};
use terrace_l7::splice::{Heads, mode};
use terrace_model::{Family, Packet, World};

use super::CLIENT;
use super::l7::{ROUTED, no_worker};
use super::spliced::{of_all, segment, up};
use crate::order::*;
use crate::row::{Row, Step};
use crate::splices::{ALLOWED_SET, GENERATION, ROUTED_SET};

/// The client's next byte, the server's, and that as the client knows it.
pub const NEXT: u32 = 2000;
pub const SENT: u32 = 5100;
pub const TOLD: u32 = SENT.wrapping_add(0xffff_f000);

pub fn rows(f: Family) -> Vec<Row> {
    let parts = [requests, places, answers, again, flags];
    parts.into_iter().flat_map(|rows| rows(f)).collect()
}

/// Requests may pass: the last answer has ended and arrived.
pub fn armed(world: &mut World) {
    of_all(world, |splice| {
        splice.mode |= mode::HEADS;
        splice.heads = Heads {
            generation: GENERATION,
            sets: [(ROUTED_SET, 70), (ALLOWED_SET, 1), (0, 0)],
        };
    });
    for spliced in world.l7.splices.values_mut() {
        spliced.start.server_nxt = SENT;
        spliced.start.server_ack = NEXT + 7;
    }
}

/// The worker has sent a request itself: its answer comes next.
fn asked(world: &mut World) {
    armed(world);
    of_all(world, |splice| splice.mode |= mode::ASKED);
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n")
}

pub fn client(f: Family, (seq, ack): (u32, u32), bytes: &str) -> Packet {
    segment(f, (CLIENT, ROUTED), ACK | PSH, seq, ack).payload(bytes.as_bytes())
}

fn server(f: Family, (seq, ack): (u32, u32), bytes: &str) -> Packet {
    let ends = ("10.30.0.5:8080", "10.10.0.1:20000");
    segment(f, ends, ACK | PSH, seq, ack + 7).payload(bytes.as_bytes())
}

fn row(f: Family, name: &str, packet: Packet, reason: Reason) -> Row {
    let row = up(f, &format!("head: {name}"), packet, reason).world(armed);
    match reason {
        Request => row.becomes("10.10.0.1 20000 > 10.30.0.5 8080 ttl 63"),
        _ => row,
    }
}

fn requests(f: Family) -> Vec<Row> {
    let row = |name: &str, text: &str, reason| row(f, name, client(f, (NEXT, TOLD), text), reason);
    let with = |fields: &str| format!("GET /a HTTP/1.1\r\nHost: shop\r\n{fields}\r\n");
    let host = |host: &str| format!("GET /a HTTP/1.1\r\nHost:{host}\r\n\r\n");
    let long = "long/".repeat(24);
    vec![
        row("an exact path", &get("/a"), Request),
        row("a path below", &get("/a/b/c.d"), Request),
        row("a query", &get("/a?b=1&c=/d.e_f"), Request),
        row("no element of the path", &get("/ab"), ToWorker),
        row("no route", &get("/"), ToWorker),
        row("another pool", &get("/a/other"), ToWorker),
        row("a route of the worker's", &get("/a/worker/x"), ToWorker),
        row("not allowed", &get("/a/denied/x"), ToWorker),
        row(
            "a path that policy names with its query",
            &get("/a/exact?b=1"),
            Request,
        ),
        row("longer than keys", &get(&format!("/{long}x")), Request),
        row(
            "HEAD that no route names",
            &get("/a").replace("GET", "HEAD"),
            ToWorker,
        ),
        row("HEAD", &get("/all").replace("GET", "HEAD"), Request),
        row("OPTIONS", &get("/all").replace("GET", "OPTIONS"), Request),
        row("DELETE", &get("/all").replace("GET", "DELETE"), Request),
        row("POST", &get("/all").replace("GET", "POST"), ToWorker),
        row(
            "a method in lower case",
            &get("/a").replace("GET", "get"),
            ToWorker,
        ),
        row("HTTP/1.0", &get("/a").replace("1.1", "1.0"), ToWorker),
        row("two blanks", &get("/a").replace("GET ", "GET  "), ToWorker),
        row("an absolute target", &get("http://shop/a"), ToWorker),
        row("a dot segment", &get("/a/../b"), ToWorker),
        row("an encoded byte", &get("/a/%2e"), ToWorker),
        row("a fragment of a target", &get("/a#b"), ToWorker),
        row(
            "Connection: keep-alive",
            &with("Connection: Keep-Alive\r\n"),
            Request,
        ),
        row(
            "Connection: close",
            &with("Connection: close\r\n"),
            ToWorker,
        ),
        row(
            "keep, CR, alive",
            &with("Connection: keep\ralive\r\n"),
            ToWorker,
        ),
        row("Content-Length", &with("Content-Length: 0\r\n"), ToWorker),
        row(
            "Transfer-Encoding",
            &with("transfer-encoding: chunked\r\n"),
            ToWorker,
        ),
        row("Upgrade", &with("Upgrade: x\r\n"), ToWorker),
        row("Expect", &with("EXPECT: 100-continue\r\n"), ToWorker),
        row("two hosts", &with("Host: shop\r\n"), ToWorker),
        row("no host", "GET /a HTTP/1.1\r\nAccept: x\r\n\r\n", ToWorker),
        row("a host with a port", &host(" a-b.c:8080"), Request),
        row("a host without a blank", &host("shop"), Request),
        row("a port that is none", &host(" shop:65536"), ToWorker),
        row("a port behind a blank", &host(" shop: 80"), ToWorker),
        row("an empty port", &host(" shop:"), ToWorker),
        row("an empty host", &host(""), ToWorker),
        row("a host and a blank", &host(" shop "), ToWorker),
        row("a folded line", &with("A: b\r\n c\r\n"), ToWorker),
        row("a blank before the colon", &with("A : b\r\n"), ToWorker),
        row("a bare LF", &with("A: b\n"), ToWorker),
        row("a tab", &with("A: b\tc\r\n"), ToWorker),
        row("a byte above ASCII", &with("A: \u{e9}\r\n"), ToWorker),
        row("a name with an underscore", &with("A_b: c\r\n"), ToWorker),
        row("most fields", &with(&"A: b\r\n".repeat(63)), Request),
        row("a field too many", &with(&"A: b\r\n".repeat(64)), ToWorker),
        row("992 bytes", &sized(992), Request),
        row("993 bytes", &sized(993), ToWorker),
        row(
            "an empty line in front",
            &format!("\r\n{}", get("/a")),
            ToWorker,
        ),
        row("a byte behind", &format!("{}G", get("/a")), ToWorker),
        row("two heads", &get("/a").repeat(2), ToWorker),
        row("half a head", "GET /a HTTP/1.1\r\nHost: sh", ToWorker),
        row("without a worker", &get("/a"), Request).world(no_worker),
    ]
}

fn sized(len: usize) -> String {
    let head = "GET /a HTTP/1.1\r\nHost: shop\r\nX: ";
    format!("{head}{}\r\n\r\n", "x".repeat(len - head.len() - 4))
}

fn places(f: Family) -> Vec<Row> {
    let at = |name: &str, ends, reason| row(f, name, client(f, ends, &get("/a")), reason);
    let changed = |name: &str, change: fn(&mut World)| {
        at(name, (NEXT, TOLD), ToWorker).before([Step::Change(change)])
    };
    vec![
        at("a byte too far", (NEXT + 1, TOLD), ToWorker),
        at("a byte too early", (NEXT - 1, TOLD), ToWorker),
        at("an answer that has not arrived", (NEXT, TOLD - 1), ToWorker),
        changed("another generation", |world| world.l7.rules.generation += 1),
        changed("no sets", |world| {
            of_all(world, |splice| splice.heads.sets = Default::default())
        }),
        changed("one more set", |world| {
            of_all(world, |splice| splice.heads.sets[2] = (77, 1));
        }),
        changed("a request before that is not acknowledged", |world| {
            of_spliced(world, |start| start.server_ack -= 1);
        }),
        changed("an answer that goes on", |world| {
            of_spliced(world, |start| start.server_nxt += 1)
        }),
        changed("beyond the server's window", |world| {
            of_spliced(world, |start| start.server_edge = NEXT + 20);
        }),
        changed("a request that is not answered", asked),
        changed("all up", |world| {
            of_all(world, |splice| splice.mode |= mode::ALL_UP)
        }),
    ]
}

fn of_spliced(world: &mut World, change: fn(&mut terrace_l7::splice::Progress)) {
    let all = world.l7.splices.values_mut();
    all.for_each(|spliced| change(&mut spliced.start));
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello";

fn answers(f: Family) -> Vec<Row> {
    let len = get("/a").len() as u32;
    let passed = || Step::from(client(f, (NEXT, TOLD), &get("/a")));
    let answer = |name: &str, at: u32, text: &str, reason| {
        row(f, name, server(f, (at, NEXT + len), text), reason).before([passed()])
    };
    let of = |text: &str| ANSWER.replace("Content-Length: 5", text);
    let status = |text: &str| format!("HTTP/1.1 {text}\r\nServer: x\r\n\r\n");
    let read = |name: &str, text: &str| answer(name, SENT, text, Spliced).after(ToTc);
    let copied = |name: &str, text: &str| answer(name, SENT, text, SplicedCopied);
    vec![
        read("an answer", ANSWER),
        read("an answer without a body", &of("content-LENGTH:0")),
        read("a part of an answer", &ANSWER[..ANSWER.len() - 2]),
        read("304", &status("304 Not Modified")),
        read("204 without a text", &status("204 ")),
        copied("no length", &status("200 OK")),
        copied("chunks", &of("Transfer-Encoding: chunked")),
        copied("two lengths", &of("Content-Length: 5\r\nContent-Length: 5")),
        copied("a length that is none", &of("Content-Length: 5x")),
        copied("a long length", &of("Content-Length: 1000000000")),
        copied("a field like a length", &of("Content-Script: 5")),
        copied("an interim answer", &status("100 Continue")),
        copied("a change of protocols", &status("101 Switching")),
        copied("a status that is none", &status("2x0 OK")),
        copied("HTTP/1.0", &ANSWER.replace("1.1", "1.0")),
        copied("close", &of("Content-Length: 5\r\nConnection: close")),
        copied("a head that is cut", &ANSWER[..30]),
        answer("bytes behind a gap", SENT + 1, &ANSWER[1..], SplicedCopied),
        row(
            f,
            "the rest of an answer",
            server(f, (SENT + 20, NEXT + len), &ANSWER[20..]),
            Spliced,
        )
        .before([passed(), server(f, (SENT, NEXT + len), ANSWER).into()]),
        row(
            f,
            "more than the answer",
            server(f, (SENT + 20, NEXT + len), ANSWER),
            SplicedCopied,
        )
        .before([passed(), server(f, (SENT, NEXT + len), ANSWER).into()]),
        up(
            f,
            "head: an answer to the worker's request",
            server(f, (SENT, NEXT), ANSWER),
            SplicedCopied,
        )
        .world(asked),
        row(
            f,
            "FIN with an answer",
            segment(
                f,
                ("10.30.0.5:8080", "10.10.0.1:20000"),
                FIN | ACK,
                SENT,
                NEXT + 7 + len,
            )
            .payload(ANSWER.as_bytes()),
            SplicedCopied,
        )
        .before([passed()]),
        row(
            f,
            "an answer to HEAD",
            server(f, (SENT, NEXT + len + 3), ANSWER),
            SplicedCopied,
        )
        .before([client(f, (NEXT, TOLD), &get("/all").replace("GET", "HEAD")).into()]),
    ]
}

fn again(f: Family) -> Vec<Row> {
    let len = get("/a").len() as u32;
    let end = ANSWER.len() as u32;
    let passed = || Step::from(client(f, (NEXT, TOLD), &get("/a")));
    let answered = || Step::from(server(f, (SENT, NEXT + len), ANSWER));
    let second = |ack: u32, path: &str| client(f, (NEXT + len, TOLD + ack), &get(path));
    let row = |name: &str, packet: Packet, reason| row(f, name, packet, reason).before([passed()]);
    vec![
        row(
            "the same again",
            client(f, (NEXT, TOLD), &get("/a")),
            Spliced,
        )
        .after(ToTc),
        row(
            "other bytes again",
            client(f, (NEXT, TOLD), &get("/b")),
            ToWorker,
        ),
        row_of_twins(f, 0x80),
        row_of_twins(f, 0x40),
        row(
            "a part of it again",
            client(f, (NEXT, TOLD), &get("/a")[..20]),
            ToWorker,
        ),
        row("the next one, not answered", second(0, "/a"), ToWorker),
        row("the next one", second(end, "/a/x"), Request).before([answered()]),
        row("the next one, denied", second(end, "/a/denied"), ToWorker).before([answered()]),
        row(
            "the next one, an answer that has not arrived",
            second(end - 1, "/a"),
            ToWorker,
        )
        .before([answered()]),
        row(
            "the next one behind a new splice",
            second(end, "/a"),
            ToWorker,
        )
        .before([
            answered(),
            Step::Change(|world| of_all(world, |splice| splice.open_until += 9)),
        ]),
        row(
            "a third one",
            client(f, (NEXT + 2 * len, TOLD + 2 * end), &get("/a")),
            Request,
        )
        .before([
            answered(),
            second(end, "/a").into(),
            server(f, (SENT + end, NEXT + 2 * len), ANSWER).into(),
        ]),
    ]
}

/// Three bytes change together, so that a digest that only multiplies stays.
fn row_of_twins(f: Family, bits: u8) -> Row {
    let head = get("/a/J-0123456789-J");
    let mut twin = head.clone().into_bytes();
    for at in [15, 19, 23] {
        twin[at] ^= bits;
    }
    let twin = segment(f, (CLIENT, ROUTED), ACK | PSH, NEXT, TOLD).payload(&twin);
    let name = format!("other bytes again, {bits:#x} away");
    row(f, &name, twin, ToWorker).before([client(f, (NEXT, TOLD), &head).into()])
}

fn flags(f: Family) -> Vec<Row> {
    let with = |name: &str, flags| {
        let packet = segment(f, (CLIENT, ROUTED), flags, NEXT, TOLD);
        row(f, name, packet.payload(get("/a").as_bytes()), ToWorker)
    };
    vec![
        with("FIN with a request", FIN | ACK),
        with("urgent data", ACK | 0x20),
        with("SYN with a request", SYN | ACK),
        row(
            f,
            "a tagged request",
            client(f, (NEXT, TOLD), &get("/a")).tags(&[9]),
            Request,
        ),
    ]
}
