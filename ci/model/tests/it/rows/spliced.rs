//! What a splice makes of segments.

use terrace_abi::Reason::{self, *};
use terrace_abi::consts;
use terrace_l7::splice::mode;
use terrace_model::{Family, Packet, Transport, World};

use super::CLIENT;
use super::l7::{ROUTED, bound, l7_policy, no_worker, sent};
use crate::order::*;
use crate::row::{At, Row, Step, at};
use crate::splices::{DIRECT, LOCAL, OUTWARD, REMOTE};

pub fn rows(f: Family) -> Vec<Row> {
    let parts = [to_server, to_client, locals, changes, errors];
    parts.into_iter().flat_map(|rows| rows(f)).collect()
}

pub(super) fn segment(
    f: Family,
    (src, dst): (&str, &str),
    flags: u8,
    seq: u32,
    ack: u32,
) -> Packet {
    let transport = Transport::Tcp(flags, seq, ack, Vec::new());
    Packet::new(end(f, src), end(f, dst), transport).payload(b"")
}

fn options(packet: Packet, options: &[u8]) -> Packet {
    let Transport::Tcp(flags, seq, ack, _) = packet.transport else {
        panic!("no TCP");
    };
    let transport = Transport::Tcp(flags, seq, ack, options.to_vec());
    Packet {
        transport,
        ..packet
    }
}

/// Of the flow with a remote server, to it; without timestamps.
pub(super) fn up(f: Family, name: &str, packet: Packet, reason: Reason) -> Row {
    let row = Row::new(format!("splice: {name}"), f, packet, reason).before([bound(f, REMOTE)]);
    match reason {
        Spliced | BadL4Header => row,
        _ => row.after(ToTc),
    }
}

fn to_server(f: Family) -> Vec<Row> {
    let packet = |flags, seq| segment(f, (CLIENT, ROUTED), flags, seq, 5000);
    let body = |seq, len| packet(ACK | PSH, seq).len(len);
    let sack = [1, 1, 5, 10, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff];
    let stamps = [8, 10, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 1, 1];
    let odd = [1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    vec![
        up(f, "a pure ACK", packet(ACK, 900), Spliced)
            .becomes("10.10.0.1 20000 > 10.30.0.5 8080 ttl 63"),
        up(f, "a body", body(1000, 1000), Spliced),
        up(f, "an odd length", body(1001, 333), Spliced),
        up(f, "a head behind the body", body(2000, 10), ToWorker),
        up(f, "the body's end and a head", body(1990, 11), ToWorker),
        up(f, "bytes in front of the body", body(999, 10), ToWorker),
        up(f, "FIN", packet(FIN | ACK, 1000), ToWorker),
        up(f, "RST", packet(RST, 1000), ToWorker),
        up(f, "SYN", packet(SYN, 1000), ToWorker),
        up(f, "urgent", packet(ACK | 0x20, 1000), ToWorker),
        up(
            f,
            "timestamps",
            options(packet(ACK, 1000), &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
            Spliced,
        ),
        up(
            f,
            "timestamps elsewhere",
            options(packet(ACK, 1000), &stamps),
            Spliced,
        ),
        up(
            f,
            "timestamps at an odd place",
            options(packet(ACK, 1000), &odd),
            Spliced,
        ),
        up(f, "SACK", options(packet(ACK, 1000), &sack), Spliced),
        up(
            f,
            "SACK that the server does not take",
            options(packet(ACK, 1000), &sack),
            Spliced,
        )
        .world(|world| of_all(world, |splice| splice.mode &= !mode::SACK)),
        up(
            f,
            "no options but NOPs",
            options(packet(ACK, 1000), &[1; 40]),
            Spliced,
        ),
        up(
            f,
            "an option cut by the header's end",
            options(packet(ACK, 1000), &[1, 1, 8, 10]),
            BadL4Header,
        ),
        up(
            f,
            "an option of length 1",
            options(packet(ACK, 1000), &[8, 1, 1, 1]),
            BadL4Header,
        ),
        up(f, "everything up", body(1000, 10), ToWorker)
            .world(|world| of_all(world, |splice| splice.mode |= mode::ALL_UP)),
        up(f, "a tunnel", body(4000, 10), Spliced)
            .world(|world| of_all(world, |splice| splice.mode |= mode::TUNNEL)),
        up(
            f,
            "a body beyond the server's window",
            body(1000, 10),
            ToWorker,
        )
        .world(|world| {
            world
                .l7
                .splices
                .values_mut()
                .for_each(|spliced| spliced.start.server_edge = 1016);
        }),
        up(f, "TTL 1", packet(ACK, 1000).ttl(1), TtlExpired).after(TtlExpired),
        up(f, "tagged", packet(ACK, 1000).tags(&[9]), Spliced),
        up(
            f,
            "a fragment",
            packet(ACK, 1000).len(64).fragment(0, true),
            L7Unfit,
        )
        .after(L7Unfit),
        up(f, "without a worker, what passes", body(1000, 10), Spliced).world(no_worker),
        up(f, "without a worker, a head", body(2000, 10), L7NoWorker).world(no_worker),
    ]
}

pub(super) fn of_all(world: &mut World, change: impl Fn(&mut terrace_l7::splice::Splice)) {
    let spliced = world.l7.splices.values_mut();
    spliced.for_each(|spliced| change(&mut spliced.splice));
}

fn to_client(f: Family) -> Vec<Row> {
    let ends = ("10.30.0.5:8080", "10.10.0.1:20000");
    let packet = |flags, seq| segment(f, ends, flags, seq, 1107);
    let body = |seq, len| packet(ACK | PSH, seq).len(len);
    let sack = [
        1, 1, 5, 18, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 0, 1, 0xff, 0xff, 0, 0,
    ];
    vec![
        up(f, "an ACK of the server", packet(ACK, 5000), Spliced)
            .becomes("10.96.0.30 80 > 192.0.2.7 1000 ttl 63"),
        up(
            f,
            "an ACK above the floor",
            segment(f, ends, ACK, 5000, 1600),
            Spliced,
        ),
        up(f, "quiet bytes", body(5000, 100), Spliced),
        up(
            f,
            "bytes that the worker must see",
            body(5000, 101),
            SplicedCopied,
        ),
        up(f, "the same, tagged", body(5000, 101).tags(&[3]), ToWorker),
        up(
            f,
            "the same, nobody to look",
            body(5000, 101),
            SplicedCopied,
        )
        .world(no_worker),
        up(f, "held bytes", body(5000, 101), ToWorker)
            .world(|world| of_all(world, |splice| splice.mode |= mode::HOLD)),
        up(f, "an answer in a tunnel", body(9000, 101), Spliced)
            .world(|world| of_all(world, |splice| splice.mode |= mode::TUNNEL)),
        up(f, "SYN of the server", packet(SYN | ACK, 4999), ToWorker),
        up(
            f,
            "RST of the server",
            packet(RST | ACK, 5000),
            SplicedCopied,
        ),
        up(
            f,
            "FIN of the server",
            packet(FIN | ACK, 5000),
            SplicedCopied,
        ),
        up(
            f,
            "timestamps of the server",
            options(packet(ACK, 5000), &[1, 1, 8, 10, 9, 9, 9, 9, 0, 0, 0, 2]),
            Spliced,
        ),
        up(
            f,
            "SACK of the server",
            options(packet(ACK, 5000), &sack),
            Spliced,
        ),
        up(f, "a capped window", packet(ACK, 5000), Spliced)
            .world(|world| of_all(world, |splice| splice.window_cap = 1000)),
    ]
}

fn locals(f: Family) -> Vec<Row> {
    let row = |name: &str, of, step: Step, reason| {
        Row::new(format!("splice: {name}"), f, step, reason).before([bound(f, of)])
    };
    let here = "10.40.1.2:8080";
    let to_w1 = || segment(f, ("192.0.2.8:1000", ROUTED), ACK, 1000, 5000);
    let from_w1 = |len| segment(f, (here, "192.0.2.8:1000"), ACK, 5000, 1107).len(len);
    let w1_to = || segment(f, ("10.40.1.2:1000", ROUTED), ACK, 1000, 5000);
    vec![
        row("to a workload", LOCAL, to_w1().into(), Spliced)
            .after(ToTc)
            .becomes("192.0.2.8 1000 > 10.40.1.2 8080 ttl 63"),
        row(
            "from a workload",
            LOCAL,
            at(At::From("w1"), from_w1(10)),
            Spliced,
        )
        .becomes("10.96.0.30 80 > 192.0.2.8 1000 ttl 63"),
        row(
            "from a workload, with a copy",
            LOCAL,
            at(At::From("w1"), from_w1(200)),
            SplicedCopied,
        )
        .becomes("10.96.0.30 80 > 192.0.2.8 1000 ttl 63"),
        row(
            "a workload's own",
            OUTWARD,
            at(At::From("w1"), w1_to()),
            Spliced,
        )
        .becomes("10.40.1.2 1000 > 10.30.0.5 8080 ttl 63"),
        row(
            "an answer to a workload",
            OUTWARD,
            segment(f, ("10.30.0.5:8080", "10.40.1.2:1000"), ACK, 5000, 1107).into(),
            Spliced,
        )
        .after(ToTc)
        .becomes("10.96.0.30 80 > 10.40.1.2 1000 ttl 63"),
        row(
            "without a service",
            DIRECT,
            segment(f, ("192.0.2.9:1000", "10.40.2.2:8080"), ACK, 1000, 5000).into(),
            Spliced,
        )
        .after(ToTc)
        .world(l7_policy),
    ]
}

fn changes(f: Family) -> Vec<Row> {
    let ack = || segment(f, (CLIENT, ROUTED), ACK, 1000, 5000);
    let row = |name: &str, reason| up(f, name, ack(), reason);
    let policy = || segment(f, ("192.0.2.9:1000", "10.40.2.2:8080"), ACK, 1000, 5000);
    let direct = |name: &str, reason| {
        Row::new(format!("splice: {name}"), f, policy(), reason)
            .after(ToTc)
            .world(l7_policy)
            .before([bound(f, DIRECT)])
    };
    vec![
        row("a splice taken away", ToWorker)
            .before([Step::Change(|world| world.l7.splices.clear())]),
        row("a splice of the same number, another flow", ToWorker).before([Step::Change(
            |world| {
                of_all(world, |splice| splice.client.port += 1);
            },
        )]),
        row("a binding not yet done", ToWorker).before([Step::Change(|world| {
            let spliced = world.l7.splices.values_mut();
            spliced.for_each(|spliced| spliced.is_opening = true);
        })]),
        row("the server of a new binding", Spliced)
            .before([Step::Change(rebind), rebound(f)])
            .becomes("10.10.0.1 20001 > 10.30.0.6 8080 ttl 63"),
        up(
            f,
            "a late segment of the server before",
            segment(f, ("10.30.0.5:8080", "10.10.0.1:20000"), ACK, 5000, 1107),
            NotOurs,
        )
        .after(NotOurs)
        .before([Step::Change(rebind), rebound(f)]),
        direct("another policy that also asks the worker", Spliced)
            .before([Step::Change(|world| world.policy_rev += 1)]),
        direct("a policy that refuses it", IngressDenied).before([Step::Change(|world| {
            world.policy_rev += 1;
            world.rules.iter_mut().for_each(|rule| rule.deny = true);
        })]),
    ]
}

/// Errors about segments that a splice has translated: their senders know them
/// by other numbers.
fn errors(f: Family) -> Vec<Row> {
    const ROUTER: &str = "10.10.0.254";
    let row = |name: &str, quoted: Packet, quote: usize, seq: u32| {
        let error = error_about(ROUTER, &quoted.bytes(), quote, Some(1280));
        Row::new(format!("splice: {name}"), f, error, IcmpRelated)
            .before([bound(f, REMOTE)])
            .look(move |seen| {
                let inner = seen.inner().unwrap();
                assert_eq!(inner.segment[4..8], seq.to_be_bytes());
            })
    };
    let to_server = || segment(f, ("10.10.0.1:20000", "10.30.0.5:8080"), ACK, 1007, 5000).len(40);
    let to_client = || segment(f, (ROUTED, CLIENT), ACK, 4000, 1100).len(40);
    vec![
        row("too big for the way to the server", to_server(), 8, 1000)
            .becomes("10.96.0.30 * > 192.0.2.7 * ttl 63"),
        row("too big for the way to the client", to_client(), 8, 8096)
            .becomes("10.10.0.1 * > 10.30.0.5 * ttl 63"),
        row("a quote with its checksum", to_client(), 60, 8096),
    ]
}

fn rebind(world: &mut World) {
    for spliced in world.l7.splices.values_mut() {
        let splice = &mut spliced.splice;
        if splice.source.port == 20_000 {
            splice.source.port += 1;
            splice.server.ip[15] += 1;
            spliced.binding += 1;
        }
    }
}

fn rebound(f: Family) -> Step {
    let packet = syn(f, "10.10.0.1:20001", "10.30.0.6:8080");
    sent(f, consts::L7_TO_SERVER, REMOTE, &packet)
}
