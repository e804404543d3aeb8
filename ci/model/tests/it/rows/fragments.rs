//! Fragments: the first says what the later ones are.

use terrace_abi::Reason::*;
use terrace_model::{Family, Packet};

use super::{CLIENT, VIP};
use crate::order::*;
use crate::row::{At, Row, at, made, raw};

const UP0: At = At::Uplink("up0");

/// A large datagram's first fragment and its last.
fn datagram(f: Family, src: &str, dst: &str) -> (Packet, Packet) {
    let whole = udp(f, src, dst).may_fragment();
    (
        whole.clone().len(1000).fragment(0, true),
        whole.len(200).fragment(1008, false),
    )
}

pub fn rows(f: Family) -> Vec<Row> {
    let mut rows = of_services(f);
    rows.extend(of_workloads(f));
    rows.extend(alone(f));
    rows
}

fn of_services(f: Family) -> Vec<Row> {
    let (first, later) = datagram(f, CLIENT, "10.96.0.1:53");
    let (first_syn, later_syn) = (
        syn(f, CLIENT, VIP).len(400).fragment(0, true),
        syn(f, CLIENT, VIP).len(400).fragment(424, false),
    );
    vec![
        Row::new("a first fragment opens a flow", f, first.clone(), Tx)
            .becomes("10.10.0.1 * > 10.30.0.5 5353 ttl 63"),
        Row::new("a later fragment follows the first", f, later.clone(), Tx)
            .before([first.clone().into()])
            .becomes("10.10.0.1 * > 10.30.0.5 * ttl 63")
            .look(|seen| assert!(seen.is_later_fragment && seen.segment.len() == 200)),
        Row::new(
            "a later fragment of another datagram",
            f,
            {
                let mut other = later.clone();
                other.fragment = Some((1008, false, 0x4343));
                other
            },
            FragmentUnknown,
        )
        .before([first.clone().into()]),
        Row::new("fragments of a SYN", f, later_syn, Tx).before([first_syn.into()]),
        Row::new(
            "the answer's fragments come from the service",
            f,
            made(UP0, |out| {
                answer_to(&out[1], 0).may_fragment().fragment(1008, false)
            }),
            Tx,
        )
        .before([
            at(UP0, first),
            at(UP0, later),
            made(UP0, |out| {
                answer_to(&out[0], 0)
                    .may_fragment()
                    .len(1000)
                    .fragment(0, true)
            }),
        ])
        .world(|_| ()),
    ]
}

fn of_workloads(f: Family) -> Vec<Row> {
    let (first, later) = datagram(f, CLIENT, "10.40.1.2:9");
    let (denied, denied_later) = datagram(f, CLIENT, "10.40.2.2:9");
    vec![
        Row::new(
            "a later fragment to a workload",
            f,
            later.clone(),
            ToWorkload,
        )
        .after(ToTc)
        .before([first.into()]),
        Row::new(
            "a later fragment of what policy refuses",
            f,
            denied_later,
            IngressDefault,
        )
        .after(ToTc)
        .before([denied.into()]),
        Row::new(
            "an unknown fragment to a workload",
            f,
            later,
            FragmentUnknown,
        )
        .after(ToTc),
        Row::new(
            "an unknown fragment from a workload",
            f,
            at(At::From("w1"), datagram(f, "10.40.1.2:9", CLIENT).1),
            FragmentUnknown,
        ),
        Row::new(
            "an unknown fragment from the host to a workload",
            f,
            at(At::To("w1"), datagram(f, "10.10.0.1:9", "10.40.1.2:9").1),
            FragmentUnknown,
        ),
        Row::new(
            "fragments from a workload",
            f,
            at(At::From("w1"), datagram(f, "10.40.1.2:9", CLIENT).1),
            Redirect,
        )
        .before([at(At::From("w1"), datagram(f, "10.40.1.2:9", CLIENT).0)]),
    ]
}

fn alone(f: Family) -> Vec<Row> {
    let header = f.header_len() + if f == Family::V6 { 8 } else { 0 };
    let tiny = |packet: Packet, len| raw(UP0, cut(&packet.fragment(0, true), header + len));
    let (_, later) = datagram(f, CLIENT, "10.96.0.1:53");
    let (_, host) = datagram(f, CLIENT, "10.10.0.1:53");
    let (_, transit) = datagram(f, CLIENT, "203.0.113.9:53");
    vec![
        Row::new(
            "an unknown fragment to a service",
            f,
            later,
            FragmentUnknown,
        ),
        Row::new("an unknown fragment to the host", f, host, NotOurs),
        Row::new("an unknown fragment to somebody else", f, transit, NotOurs),
        Row::new(
            "8 bytes of TCP",
            f,
            tiny(syn(f, CLIENT, VIP), 8),
            FragmentTiny,
        ),
        Row::new(
            "19 bytes of TCP",
            f,
            tiny(syn(f, CLIENT, VIP), 19),
            FragmentTiny,
        ),
        Row::new(
            "4 bytes of UDP",
            f,
            tiny(udp(f, CLIENT, VIP), 4),
            FragmentTiny,
        ),
        Row::new(
            "4 bytes of ICMP",
            f,
            tiny(ping(f, CLIENT, "10.96.0.1"), 4),
            FragmentTiny,
        ),
        Row::new(
            "a fragmented echo to a service",
            f,
            ping(f, CLIENT, "10.96.0.1").len(800).fragment(0, true),
            NoService,
        ),
        Row::new(
            "a later fragment of TCP with no flow is not reset",
            f,
            tcp(f, CLIENT, VIP, ACK).len(64).fragment(424, false),
            NoFlow,
        )
        .before([tcp(f, CLIENT, VIP, ACK).len(400).fragment(0, true).into()]),
    ]
}
