//! ICMP errors of tracked flows, in both directions.

use terrace_abi::Reason::*;
use terrace_model::{Family, Packet, Seen};

use super::{CLIENT, VIP};
use crate::order::*;
use crate::row::{At, Row, Step, at, made};

const UP0: At = At::Uplink("up0");
const ROUTER: &str = "10.77.0.1";

pub fn rows(f: Family) -> Vec<Row> {
    let mut rows = to_the_client(f);
    rows.extend(to_the_backend(f));
    rows.extend(of_workloads(f));
    rows.extend(of_nothing(f));
    rows
}

/// The quoted packet's ends, as the receiver of the error knows them.
fn quotes(f: Family, from: &'static str, to: &'static str) -> impl Fn(&Seen) {
    move |seen| {
        let inner = seen.inner().unwrap();
        let (src, dst) = (end(f, from), end(f, to));
        assert_eq!((inner.src, inner.dst), (src.ip(), dst.ip()));
        assert_eq!(inner.ports(), (src.port(), dst.port()));
    }
}

fn to_the_client(f: Family) -> Vec<Row> {
    let open = move || [at(UP0, syn(f, CLIENT, VIP).len(40))];
    let open_udp = move || [at(UP0, udp(f, CLIENT, "10.96.0.1:53"))];
    let mut rows = Vec::new();
    for (name, quote) in [("8 bytes", 8), ("a TCP header", 20), ("everything", 1000)] {
        rows.push(
            Row::new(
                format!("too big from a router, quotes {name}"),
                f,
                made(UP0, move |out| {
                    error_about(ROUTER, &out[0], quote, Some(1280))
                }),
                IcmpRelated,
            )
            .before(open())
            .becomes("10.96.0.1 * > 192.0.2.7 * ttl 63")
            .look(quotes(f, CLIENT, VIP)),
        );
    }
    rows.extend([
        Row::new(
            "unreachable from the backend",
            f,
            made(UP0, |out| error_about("10.30.0.5", &out[0], 8, None)),
            IcmpRelated,
        )
        .before(open_udp())
        .becomes("10.96.0.1 * > 192.0.2.7 * ttl 63")
        .look(quotes(f, CLIENT, "10.96.0.1:53")),
        Row::new(
            "an error of UDP quotes everything",
            f,
            made(UP0, |out| error_about("10.30.0.5", &out[0], 1000, None)),
            IcmpRelated,
        )
        .before(open_udp())
        .look(quotes(f, CLIENT, "10.96.0.1:53")),
        Row::new(
            "an error of UDP without checksum",
            f,
            made(UP0, |out| error_about("10.30.0.5", &out[0], 1000, None)),
            IcmpRelated,
        )
        .before([at(UP0, udp(f, CLIENT, "10.96.0.1:53").without_checksum())])
        .look(|seen| assert_eq!(seen.inner().unwrap().segment[6..8], [0, 0])),
        Row::new(
            "an error comes in by another link, tagged",
            f,
            made(At::Uplink("up1"), |out| {
                error_about(ROUTER, &out[0], 8, None).tags(&[9])
            }),
            IcmpRelated,
        )
        .before([at(UP0, syn(f, CLIENT, "10.96.0.2:80"))])
        .becomes("10.96.0.2 * > 192.0.2.7 * ttl 63"),
    ]);
    rows
}

fn to_the_backend(f: Family) -> Vec<Row> {
    let answered = move || -> Vec<Step> {
        vec![
            at(UP0, syn(f, CLIENT, VIP)),
            made(UP0, |out| answer_to(&out[0], SYN | ACK).len(9)),
        ]
    };
    let dsr = move || [at(UP0, syn(f, CLIENT, "10.96.0.8:80"))];
    let from_backend = move || {
        let mut answer = tcp(f, "10.96.0.8:80", CLIENT, SYN | ACK);
        answer.payload = vec![7; 11];
        answer.bytes()
    };
    vec![
        Row::new(
            "an error about the answer, from a router",
            f,
            made(UP0, |out| error_about(ROUTER, &out[1], 8, Some(1280))),
            IcmpRelated,
        )
        .before(answered())
        .becomes("10.10.0.1 * > 10.30.0.5 * ttl 63"),
        Row::new(
            "an error about the answer, from the client",
            f,
            made(UP0, |out| error_about("192.0.2.7", &out[1], 1000, None)),
            IcmpRelated,
        )
        .before(answered())
        .becomes("10.10.0.1 * > 10.30.0.5 * ttl 63"),
        Row::new(
            "an error about a direct answer goes to the backend as it is",
            f,
            made(UP0, move |_| {
                error_about(ROUTER, &from_backend(), 8, Some(1280))
            }),
            Encapsulated,
        )
        .before(dsr())
        .becomes("10.10.0.1 * > 10.30.0.6 * ttl 64")
        .look(move |seen| {
            let error = seen.inner().unwrap();
            assert_eq!(error.dst, f.ip("10.96.0.8"));
            quotes(f, "10.96.0.8:80", CLIENT)(&error);
        }),
        Row::new(
            "an error with the last hop used up",
            f,
            made(UP0, |out| error_about(ROUTER, &out[1], 8, None).ttl(1)),
            TtlExpired,
        )
        .before(answered()),
    ]
}

fn of_workloads(f: Family) -> Vec<Row> {
    let local = move || -> Vec<Step> {
        vec![
            at(UP0, syn(f, CLIENT, "10.96.0.4:80")),
            made(At::From("w1"), |out| answer_to(&out[0], SYN | ACK)),
        ]
    };
    let direct = move || [at(At::From("w1"), udp(f, "10.40.1.2:9", "203.0.113.9:53"))];
    vec![
        Row::new(
            "an error about a workload's answer",
            f,
            made(UP0, |out| error_about(ROUTER, &out[1], 8, Some(1280))),
            IcmpRelated,
        )
        .after(ToTc)
        .before(local())
        .becomes("192.0.2.7 * > 10.40.1.2 * ttl 63")
        .look(quotes(f, "10.40.1.2:8080", CLIENT)),
        Row::new(
            "a workload's error about what it got",
            f,
            made(At::From("w1"), |out| {
                error_about("10.40.1.2", &out[0], 8, None)
            }),
            IcmpRelated,
        )
        .before(local())
        .becomes("10.96.0.4 * > 192.0.2.7 * ttl 63")
        .look(quotes(f, CLIENT, "10.96.0.4:80")),
        Row::new(
            "a router's error to a workload names the router",
            f,
            made(UP0, |out| error_about(ROUTER, &out[0], 8, None)),
            IcmpRelated,
        )
        .after(ToTc)
        .before(direct())
        .becomes("10.77.0.1 * > 10.40.1.2 * ttl 63"),
        Row::new(
            "an error about a protocol without ports",
            f,
            made(UP0, |out| error_about(ROUTER, &out[0], 8, None)),
            IcmpRelated,
        )
        .after(ToTc)
        .before([at(At::From("w1"), other(f, "10.40.1.2", "203.0.113.9", 47))]),
        Row::new(
            "an error about an echo",
            f,
            made(UP0, |out| error_about(ROUTER, &out[0], 8, None)),
            IcmpRelated,
        )
        .after(ToTc)
        .before([at(At::From("w1"), ping(f, "10.40.1.2", "203.0.113.9"))]),
    ]
}

fn of_nothing(f: Family) -> Vec<Row> {
    let stranger = |dst: &str| -> Packet {
        let about = tcp(f, &format!("{dst}:80"), "203.0.113.77:5", ACK).bytes();
        error_about(ROUTER, &about, 8, None)
    };
    let open = move || [at(UP0, syn(f, CLIENT, VIP))];
    let damaged = move |offset: usize, byte: u8| -> Step {
        made(UP0, move |out| {
            let mut error = error_about(ROUTER, &out[0], 8, None);
            error.payload[offset] = byte;
            error
        })
    };
    let mut rows = vec![
        Row::new(
            "an error of no flow to a service",
            f,
            stranger("10.96.0.1"),
            NoService,
        ),
        Row::new(
            "an error of no flow to the host",
            f,
            stranger("10.10.0.1"),
            NotOurs,
        ),
        Row::new(
            "an error of no flow to a workload",
            f,
            stranger("10.40.1.2"),
            ToWorkload,
        )
        .after(ToTc),
        Row::new(
            "an error of no flow under policy",
            f,
            stranger("10.40.2.2"),
            IngressDefault,
        )
        .after(ToTc),
        Row::new(
            "the quote ends before the ports",
            f,
            made(UP0, |out| error_about(ROUTER, &out[0], 3, None)),
            NotOurs,
        )
        .before(open()),
        Row::new(
            "the quote ends in the padding",
            f,
            crate::row::Step::Send(
                UP0,
                Box::new(move |out| {
                    let error = error_about(ROUTER, &out[0], 8, None);
                    let len = error.ip().len();
                    let mut frame = cut(&error, len - 5);
                    frame.extend(&error.bytes()[14 + len - 5..]);
                    frame
                }),
            ),
            NotOurs,
        )
        .before(open()),
        Row::new(
            "the quote has another version",
            f,
            damaged(0, 0x95),
            NotOurs,
        )
        .before(open()),
        Row::new(
            "an error without a quote",
            f,
            stranger("10.96.0.1").payload(b""),
            NoService,
        ),
    ];
    if f == Family::V4 {
        rows.extend([
            Row::new("the quote is a later fragment", f, damaged(7, 9), NotOurs).before(open()),
            Row::new(
                "the quote's header is too short",
                f,
                damaged(0, 0x44),
                NotOurs,
            )
            .before(open()),
            Row::new(
                "the quote's header is too long",
                f,
                damaged(0, 0x4f),
                NotOurs,
            )
            .before(open()),
        ]);
    }
    rows
}
