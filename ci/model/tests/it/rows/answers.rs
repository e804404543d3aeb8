//! What the host answers for service addresses.

use terrace_abi::Reason::*;
use terrace_abi::consts;
use terrace_model::{Family, Seen};

use super::CLIENT;
use crate::order::*;
use crate::row::{At, Row, at};

fn is_echo_reply(seen: &Seen) {
    assert!(
        matches!(seen.segment[0], 0 | 129),
        "type {}",
        seen.segment[0]
    );
    assert_eq!(seen.segment[4..6], [0, 77]);
}

pub fn rows(f: Family) -> Vec<Row> {
    let mut rows = echoes(f);
    rows.extend(no_service(f));
    rows
}

fn echoes(f: Family) -> Vec<Row> {
    vec![
        Row::new(
            "echo to a service address",
            f,
            ping(f, CLIENT, "10.96.0.1"),
            EchoReply,
        )
        .becomes("10.96.0.1 * > 192.0.2.7 * ttl 64")
        .look(is_echo_reply),
        Row::new(
            "echo with the last hop used up",
            f,
            ping(f, CLIENT, "10.96.0.1").ttl(1),
            EchoReply,
        )
        .becomes("10.96.0.1 * > 192.0.2.7 * ttl 64"),
        Row::new(
            "a long echo with an odd length, tagged",
            f,
            ping(f, CLIENT, "10.96.0.1").len(1001).tags(&[5]),
            EchoReply,
        )
        .look(|seen| assert_eq!((seen.tags, seen.segment.len()), (1, 1009))),
        Row::new(
            "echo from a workload",
            f,
            at(At::From("w1"), ping(f, "10.40.1.2", "10.96.0.1")),
            EchoReply,
        )
        .look(is_echo_reply),
        Row::new(
            "echo from the host",
            f,
            at(At::Out("up0"), ping(f, "10.10.0.1", "10.96.0.1")),
            EchoReply,
        ),
        Row::new(
            "echo is not answered when it is off",
            f,
            ping(f, CLIENT, "10.96.0.1"),
            NoService,
        )
        .world(|world| world.flags &= !consts::CONFIG_ANSWER_ECHO),
        Row::new("echo to the host", f, ping(f, CLIENT, "10.10.0.1"), NotOurs),
    ]
}

fn no_service(f: Family) -> Vec<Row> {
    let is_unreachable = |seen: &Seen| {
        assert!(matches!(seen.segment[..2], [3, 3] | [1, 4]));
        let inner = seen.inner().unwrap();
        assert_eq!(inner.ports(), (1000, 99));
        assert_eq!(inner.dst, seen.src);
    };
    vec![
        Row::new(
            "no such port: reset",
            f,
            syn(f, CLIENT, "10.96.0.1:99"),
            NoServiceReset,
        )
        .becomes("10.96.0.1 99 > 192.0.2.7 1000 ttl 64"),
        Row::new(
            "no such port: reset of a segment with an acknowledgement",
            f,
            tcp(f, CLIENT, "10.96.0.1:99", ACK).len(10).tags(&[1, 2]),
            NoServiceReset,
        )
        .look(|seen| {
            assert_eq!(seen.segment[13], RST);
            assert_eq!(seen.segment[4..8], 2000u32.to_be_bytes());
            assert_eq!(seen.tags, 2);
        }),
        Row::new(
            "no such port: unreachable",
            f,
            udp(f, CLIENT, "10.96.0.1:99").len(3),
            NoServiceReject,
        )
        .look(is_unreachable),
        Row::new(
            "no such port: unreachable quotes at most 128 bytes",
            f,
            udp(f, CLIENT, "10.96.0.1:99").len(1200).tags(&[7]),
            NoServiceReject,
        )
        .look(|seen| assert_eq!(seen.segment.len(), 136)),
        Row::new(
            "no such port: a reset is not answered",
            f,
            tcp(f, CLIENT, "10.96.0.1:99", RST),
            NoService,
        ),
        Row::new(
            "no such port: unreachable into a workload",
            f,
            at(At::From("w1"), udp(f, "10.40.1.2:1000", "10.96.0.1:99")),
            NoServiceReject,
        )
        .look(is_unreachable),
        Row::new(
            "SCTP to a service address",
            f,
            terrace_model::Packet::new(
                end(f, CLIENT),
                end(f, "10.96.0.1:80"),
                terrace_model::Transport::Sctp,
            ),
            NoService,
        ),
        Row::new(
            "GRE to a service address",
            f,
            other(f, CLIENT, "10.96.0.1", 47),
            NoService,
        ),
        Row::new(
            "a timestamp request to a service address",
            f,
            icmp(f, CLIENT, "10.96.0.1", 13, 0, [0; 4]),
            NoService,
        ),
        Row::new(
            "an echo reply to a service address",
            f,
            pong(f, CLIENT, "10.96.0.1"),
            NoService,
        ),
    ]
}
