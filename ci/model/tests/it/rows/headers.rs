//! Link, network and transport headers: tags, options, cut and hostile ones.

use terrace_abi::Reason::{self, *};
use terrace_model::{Family, Packet, Transport};

use super::{CLIENT, VIP};
use crate::order::*;
use crate::row::{At, Row, at, raw};

const UP0: At = At::Uplink("up0");

pub fn rows(f: Family) -> Vec<Row> {
    let mut rows = tags(f);
    rows.extend(lengths(f));
    rows.extend(cuts(f));
    rows.extend(transports(f));
    if f == Family::V4 {
        rows.extend(options(f));
    }
    rows
}

fn tags(f: Family) -> Vec<Row> {
    let packet = syn(f, CLIENT, VIP);
    let short = |tags: &[u16], len| {
        let mut frame = packet.clone().tags(tags).bytes();
        frame.truncate(len);
        raw(UP0, frame)
    };
    let mut provider = packet.clone().tags(&[5, 6]).bytes();
    provider[12..14].copy_from_slice(&[0x88, 0xa8]);
    vec![
        Row::new("one tag stays", f, packet.clone().tags(&[5]), Tx)
            .look(|seen| assert_eq!(seen.tags, 1)),
        Row::new("two tags stay", f, packet.clone().tags(&[5, 6]), Tx)
            .look(|seen| assert_eq!(seen.tags, 2)),
        Row::new("a provider's tag", f, raw(UP0, provider), Tx),
        Row::new("three tags", f, packet.clone().tags(&[5, 6, 7]), NotIp),
        Row::new("a tag is cut", f, short(&[5], 16), Truncated),
        Row::new("the second tag is cut", f, short(&[5, 6], 21), Truncated),
        Row::new(
            "a workload gets no tags",
            f,
            syn(f, CLIENT, "10.96.0.4:80").tags(&[5, 6]),
            ToWorkload,
        )
        .after(ToTc)
        .look(|seen| assert_eq!(seen.tags, 0)),
        Row::new(
            "a workload gets no tag, without service",
            f,
            syn(f, CLIENT, "10.40.1.2:80").tags(&[5]),
            ToWorkload,
        )
        .after(ToTc)
        .look(|seen| assert_eq!(seen.tags, 0)),
    ]
}

fn lengths(f: Family) -> Vec<Row> {
    let packet = udp(f, CLIENT, "10.96.0.1:53").len(30);
    let row = |name: &str, offset, bytes: &[u8], reason: Reason| {
        Row::new(name, f, raw(UP0, with(&packet, offset, bytes)), reason)
    };
    let l4 = 14 + f.header_len();
    let mut padded = syn(f, CLIENT, VIP).bytes();
    padded.extend([0xee; 17]);
    let mut rows = vec![
        row("version 0", 14, &[0x05], BadIpHeader),
        row("version 15", 14, &[0xf5], BadIpHeader),
        row("UDP shorter than its header", l4 + 4, &[0, 7], BadL4Header),
        row("UDP longer than the packet", l4 + 4, &[0, 39], BadL4Header),
        row("UDP of length 0", l4 + 4, &[0, 0], BadL4Header),
        row("UDP shorter than the packet", l4 + 4, &[0, 30], Tx),
        Row::new("padding after the packet", f, raw(UP0, padded), Tx),
    ];
    match f {
        Family::V4 => rows.extend([
            row("version 6 in an IPv4 frame", 14, &[0x65], BadIpHeader),
            row("header of 4 words", 14, &[0x44], BadIpHeader),
            row("header of 0 words", 14, &[0x40], BadIpHeader),
            row("longer than the frame", 16, &[1, 0], BadIpHeader),
            row("shorter than its header", 16, &[0, 19], BadIpHeader),
            row("of length 0", 16, &[0, 0], BadIpHeader),
            row("header longer than the packet", 14, &[0x4f], BadIpHeader),
        ]),
        Family::V6 => rows.extend([
            row("version 4 in an IPv6 frame", 14, &[0x45], BadIpHeader),
            row("longer than the frame", 18, &[1, 0], BadIpHeader),
            row("of payload length 0", 18, &[0, 0], Truncated),
        ]),
    }
    rows
}

/// Frames that end inside or right after each header.
fn cuts(f: Family) -> Vec<Row> {
    let header = f.header_len();
    let mut rows = Vec::new();
    for len in [15, 14 + header / 2, 14 + header - 1] {
        let mut frame = syn(f, CLIENT, VIP).bytes();
        frame.truncate(len);
        let name = format!("a frame of {len} bytes ends in the IP header");
        rows.push(Row::new(name, f, raw(UP0, frame), Truncated));
    }
    let packets: [(&str, Packet, &[usize]); 4] = [
        ("TCP", syn(f, CLIENT, VIP), &[0, 1, 13, 19]),
        ("UDP", udp(f, CLIENT, "10.96.0.1:53"), &[0, 7]),
        ("ICMP", ping(f, CLIENT, "10.96.0.1"), &[0, 1, 7]),
        (
            "SCTP",
            Packet::new(end(f, CLIENT), end(f, VIP), Transport::Sctp),
            &[0, 11],
        ),
    ];
    for (name, packet, lens) in packets {
        for len in lens {
            let step = raw(UP0, cut(&packet, header + len));
            rows.push(Row::new(
                format!("{name} of {len} bytes"),
                f,
                step,
                Truncated,
            ));
        }
    }
    rows
}

fn transports(f: Family) -> Vec<Row> {
    let l4 = 14 + f.header_len();
    let packet = syn(f, CLIENT, VIP);
    let sctp = Packet::new(end(f, CLIENT), end(f, "10.40.1.2:80"), Transport::Sctp);
    let mut options = packet.clone();
    options.transport = Transport::Tcp(SYN, 1, 0, vec![2, 4, 5, 0xb4, 1, 1, 4, 2]);
    vec![
        Row::new("TCP options", f, options, Tx),
        Row::new(
            "TCP header of 4 words",
            f,
            raw(UP0, with(&packet, l4 + 12, &[0x40])),
            BadL4Header,
        ),
        Row::new(
            "TCP header of 0 words",
            f,
            raw(UP0, with(&packet, l4 + 12, &[0])),
            BadL4Header,
        ),
        Row::new(
            "TCP header longer than the packet",
            f,
            raw(UP0, with(&packet, l4 + 12, &[0x60])),
            BadL4Header,
        ),
        Row::new("all TCP flags", f, tcp(f, CLIENT, VIP, 0xff), NoFlow),
        Row::new("no TCP flags", f, tcp(f, CLIENT, VIP, 0), NoFlowReset),
        Row::new("SYN and FIN", f, tcp(f, CLIENT, VIP, SYN | FIN), Tx),
        Row::new("SCTP passes through", f, sctp, ToWorkload).after(ToTc),
        Row::new(
            "GRE passes through",
            f,
            other(f, CLIENT, "10.40.1.2", 47),
            ToWorkload,
        )
        .after(ToTc),
        Row::new(
            "ports 0",
            f,
            udp(f, "192.0.2.7:0", "10.40.1.2:0"),
            ToWorkload,
        )
        .after(ToTc),
        Row::new(
            "the other family's ICMP is a protocol like any other",
            f,
            at(
                UP0,
                other(f, CLIENT, "10.40.2.2", if f == Family::V4 { 58 } else { 1 }),
            ),
            IngressDefault,
        )
        .after(ToTc),
    ]
}

fn options(f: Family) -> Vec<Row> {
    let route = [131, 7, 4, 10, 96, 0, 1, 0];
    vec![
        Row::new(
            "IP options",
            f,
            syn(f, CLIENT, VIP).options(&[1, 1, 1, 0]),
            Tx,
        ),
        Row::new(
            "40 bytes of IP options",
            f,
            syn(f, CLIENT, VIP).options(&[1; 40]),
            Tx,
        ),
        Row::new(
            "options on the way to a workload",
            f,
            syn(f, CLIENT, "10.96.0.4:80").options(&[1; 12]),
            ToWorkload,
        )
        .after(ToTc),
        Row::new(
            "a source route changes nothing",
            f,
            syn(f, CLIENT, VIP).options(&route),
            Tx,
        )
        .becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
        Row::new(
            "a reset answers without the options",
            f,
            syn(f, CLIENT, "10.96.0.1:99").options(&route),
            NoServiceReset,
        )
        .becomes("10.96.0.1 99 > 192.0.2.7 1000 ttl 64"),
        Row::new(
            "unreachable quotes the options",
            f,
            udp(f, CLIENT, "10.96.0.1:99").options(&route),
            NoServiceReject,
        ),
    ]
}
