//! IPv6 extension headers: each kind, chains, too many, hostile ones.

use terrace_abi::Reason::*;
use terrace_model::{Family, Packet};

use super::{CLIENT, VIP};
use crate::order::*;
use crate::row::{At, Row, raw};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Length 0 and six bytes of padding.
const PADDING: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];
/// Routing header type 2 to one address.
const HOME_ADDRESS: [u8; 23] = [
    2, 2, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
];

fn base(f: Family) -> Packet {
    syn(f, CLIENT, VIP)
}

pub fn rows(f: Family) -> Vec<Row> {
    if f == Family::V4 {
        return Vec::new();
    }
    let mut rows = kinds(f);
    rows.extend(chains(f));
    rows.extend(hostile(f));
    rows
}

fn kinds(f: Family) -> Vec<Row> {
    let becomes = "10.10.0.1 * > 10.30.0.5 8080 ttl 63";
    let row = |name: &str, packet| Row::new(name, f, packet, Tx).becomes(becomes);
    vec![
        row(
            "hop-by-hop options",
            base(f).extension(HOP_BY_HOP, &PADDING),
        ),
        row(
            "destination options",
            base(f).extension(DESTINATION, &PADDING),
        ),
        row(
            "a routing header of type 2",
            base(f).extension(ROUTING, &HOME_ADDRESS),
        ),
        row(
            "an authentication header",
            base(f).extension(
                AUTHENTICATION,
                &[
                    4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
                ],
            ),
        ),
        row("an atomic fragment", base(f).fragment(0, false)),
        row(
            "long options",
            base(f).extension(DESTINATION, &[&[31][..], &[0; 254]].concat()),
        ),
    ]
}

fn chains(f: Family) -> Vec<Row> {
    let chain =
        |n: usize| (0..n).fold(base(f), |packet, _| packet.extension(DESTINATION, &PADDING));
    let all = base(f)
        .extension(HOP_BY_HOP, &PADDING)
        .extension(DESTINATION, &PADDING)
        .extension(ROUTING, &HOME_ADDRESS)
        .extension(AUTHENTICATION, &[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1])
        .fragment(0, false);
    vec![
        Row::new("all kinds in a chain", f, all.clone(), Tx),
        Row::new("all kinds, tagged twice", f, all.tags(&[1, 2]), Tx),
        Row::new("six extension headers", f, chain(6), Tx),
        Row::new("seven extension headers", f, chain(7), ExtensionHeaders),
        Row::new("twelve extension headers", f, chain(12), ExtensionHeaders),
        Row::new(
            "extension headers on the way to a workload",
            f,
            syn(f, CLIENT, "10.96.0.4:80").extension(HOP_BY_HOP, &PADDING),
            ToWorkload,
        )
        .after(ToTc),
        Row::new(
            "a reset answers without extension headers",
            f,
            syn(f, CLIENT, "10.96.0.1:99").extension(DESTINATION, &PADDING),
            NoServiceReset,
        )
        .becomes("10.96.0.1 99 > 192.0.2.7 1000 ttl 64"),
        Row::new(
            "an echo with extension headers",
            f,
            ping(f, CLIENT, "10.96.0.1").extension(DESTINATION, &PADDING),
            EchoReply,
        ),
    ]
}

fn hostile(f: Family) -> Vec<Row> {
    let up0 = At::Uplink("up0");
    let one = base(f).extension(DESTINATION, &PADDING);
    let mut none = base(f);
    none.extensions
        .push(terrace_model::Extension(59, PADDING.to_vec()));
    vec![
        Row::new(
            "a routing header of type 0",
            f,
            base(f).extension(
                ROUTING,
                &[
                    2, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                ],
            ),
            RoutingHeader,
        ),
        Row::new(
            "a routing header of type 0 behind others",
            f,
            base(f)
                .extension(DESTINATION, &PADDING)
                .extension(ROUTING, &PADDING.map(|_| 0)),
            RoutingHeader,
        ),
        Row::new(
            "an extension header is cut",
            f,
            raw(up0, cut(&one, 44)),
            Truncated,
        ),
        Row::new(
            "an extension header ends the packet",
            f,
            raw(up0, cut(&one, 48)),
            Truncated,
        ),
        Row::new(
            "an extension header reaches beyond the packet",
            f,
            raw(up0, with(&one, 14 + 40 + 1, &[200])),
            Truncated,
        ),
        Row::new(
            "an extension header out of reach",
            f,
            base(f).extension(DESTINATION, &[&[127][..], &[0; 1022]].concat()),
            Truncated,
        ),
        Row::new("no next header", f, none, NoService),
        Row::new(
            "extension headers behind a later fragment are payload",
            f,
            base(f)
                .extension(DESTINATION, &PADDING)
                .fragment(1480, false),
            FragmentUnknown,
        ),
        Row::new(
            "a fragment header is cut",
            f,
            raw(up0, cut(&base(f).fragment(0, true), 44)),
            Truncated,
        ),
        Row::new(
            "extension headers in the padding are not the packet's",
            f,
            raw(up0, {
                let mut frame = cut(&one, 40);
                frame[14 + 6] = FRAGMENT;
                frame.extend([6, 0, 0, 0, 0, 0, 0, 0]);
                frame.extend([0; 40]);
                frame
            }),
            Truncated,
        ),
    ]
}
