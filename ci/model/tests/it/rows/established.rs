//! Packets of established flows: XDP has a short way for the plain ones, and
//! these rows are next to its edge.

use terrace_abi::Reason::{self, *};
use terrace_abi::consts;
use terrace_model::{Family, Packet};

use super::{CLIENT, VIP};
use crate::order::*;
use crate::row::{At, Row, Step, at, made, raw};
use crate::world::{W1, net};

const UP0: At = At::Uplink("up0");
const DNS: &str = "10.96.0.1:53";

pub fn rows(f: Family) -> Vec<Row> {
    let mut rows = plain(f);
    rows.extend(not_plain(f));
    rows.extend(hostile(f));
    rows.extend(streams(f));
    rows.extend(local(f));
    rows.extend(not_local(f));
    rows
}

/// A connection that XDP serves.
fn warm(f: Family, vip: &'static str) -> Vec<Step> {
    vec![
        at(UP0, syn(f, CLIENT, vip)),
        made(UP0, |out| answer_to(&out[0], SYN | ACK)),
        at(UP0, tcp(f, CLIENT, vip, ACK)),
        made(UP0, |out| answer_to(&out[0], ACK)),
        at(UP0, tcp(f, CLIENT, vip, ACK)),
    ]
}

fn data(f: Family) -> Packet {
    tcp(f, CLIENT, VIP, ACK | PSH).len(333)
}

fn row(name: &str, f: Family, step: impl Into<Step>, reason: Reason) -> Row {
    Row::new(format!("established: {name}"), f, step, reason).before(warm(f, VIP))
}

fn plain(f: Family) -> Vec<Row> {
    let wrong_sum = with(&data(f), 14 + f.header_len() + 16, &[0xab, 0xcd]);
    let no_sum = with(&data(f), 14 + f.header_len() + 16, &[0, 0]);
    let all_ones = with(&data(f), 14 + f.header_len() + 16, &[0xff, 0xff]);
    let mut padded = tcp(f, CLIENT, VIP, ACK).bytes();
    padded.extend([0xee; 6]);
    vec![
        row("data", f, data(f), Tx).becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
        row("an odd length", f, data(f).len(7), Tx),
        row("padding behind it", f, raw(UP0, padded), Tx),
        row(
            "the answer",
            f,
            made(UP0, |out| answer_to(&out[0], ACK | PSH).len(99)),
            Tx,
        )
        .becomes("10.96.0.1 80 > 192.0.2.7 1000 ttl 63"),
        row("a wrong checksum stays wrong", f, raw(UP0, wrong_sum), Tx),
        row("a checksum of zero", f, raw(UP0, no_sum), Tx),
        row("a checksum of ones", f, raw(UP0, all_ones), Tx),
        row("TTL 2", f, data(f).ttl(2), Tx).becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 1"),
        row(
            "a full packet",
            f,
            data(f).len(1500 - f.header_len() - 20),
            Tx,
        ),
        row("all the other flags", f, tcp(f, CLIENT, VIP, 0xf8), Tx),
        row("no flags", f, tcp(f, CLIENT, VIP, 0), Tx),
    ]
}

fn not_plain(f: Family) -> Vec<Row> {
    let long = tcp(f, CLIENT, "10.96.0.11:80", ACK).len(1400);
    let mut rows = vec![
        row("TTL 1", f, data(f).ttl(1), TtlExpired),
        row("tagged", f, data(f).tags(&[5]), Tx),
        row("FIN", f, tcp(f, CLIENT, VIP, FIN | ACK), Tx),
        row("RST", f, tcp(f, CLIENT, VIP, RST), Tx),
        row("SYN", f, syn(f, CLIENT, VIP), Tx),
        row("a first fragment", f, data(f).fragment(0, true), Tx),
        row(
            "an unknown later fragment",
            f,
            data(f).fragment(800, false),
            FragmentUnknown,
        ),
        row("a deny list that is new", f, data(f), DenyList).before([Step::Change(|world| {
            world.flags |= consts::CONFIG_DENY_LIST;
            world.deny = Family::ALL.map(|f| net(f, "192.0.2.7/32")).to_vec();
            world.policy_rev += 2;
        })]),
        row("a service that is gone", f, data(f), NotOurs).before([Step::Change(|world| {
            let vips = Family::ALL.map(|f| net(f, "10.96.0.0/24"));
            world.addresses.retain(|(net, _)| !vips.contains(net));
            world.policy_rev += 2;
        })]),
        row("a silent daemon", f, data(f), Tx).before([Step::Change(|world| world.silent = true)]),
        row("another policy", f, data(f), Tx).before([Step::Change(|world| world.policy_rev += 1)]),
        row(
            "on another link",
            f,
            at(At::Uplink("up1"), data(f)),
            Redirect,
        )
        .becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
        row(
            "on a link without XDP's deny list",
            f,
            at(At::Uplink("up2"), data(f)),
            Redirect,
        ),
        Row::new(
            "established: back where XDP_TX would not do",
            f,
            at(At::Uplink("up1"), tcp(f, CLIENT, "10.96.0.2:80", ACK)),
            Tx,
        )
        .before(warm(f, "10.96.0.2:80"))
        .before([at(At::Uplink("up1"), tcp(f, CLIENT, "10.96.0.2:80", ACK))]),
        Row::new("established: larger than the way takes", f, long, TooBig)
            .before(warm(f, "10.96.0.11:80")),
        Row::new(
            "established: mode closed",
            f,
            tcp(f, CLIENT, "10.96.0.14:80", ACK),
            FailClosed,
        )
        .before(warm(f, "10.96.0.14:80"))
        .before([Step::Change(|world| world.silent = true)]),
        Row::new(
            "established: direct return",
            f,
            tcp(f, CLIENT, "10.96.0.8:80", ACK),
            Encapsulated,
        )
        .before([
            at(UP0, syn(f, CLIENT, "10.96.0.8:80")),
            at(UP0, tcp(f, CLIENT, "10.96.0.8:80", ACK)),
        ]),
    ];
    match f {
        Family::V4 => rows.push(row("options", f, data(f).options(&[1; 4]), Tx)),
        Family::V6 => rows.push(row(
            "an extension header",
            f,
            data(f).extension(60, &[0, 1, 4, 0, 0, 0, 0]),
            Tx,
        )),
    }
    rows
}

/// An IPv6 packet with the addresses of an IPv4 flow.
fn mapped() -> Step {
    let mapped = |address: [u8; 4]| [&[0; 10][..], &[0xff; 2], &address].concat();
    let addresses = [mapped([192, 0, 2, 7]), mapped([10, 96, 0, 1])].concat();
    raw(UP0, with(&data(Family::V6), 14 + 8, &addresses))
}

fn hostile(f: Family) -> Vec<Row> {
    let l4 = 14 + f.header_len();
    let changed = |offset, bytes: &[u8]| raw(UP0, with(&data(f), offset, bytes));
    let length = if f == Family::V4 { 16 } else { 18 };
    vec![
        Row::new("established: IPv4 in IPv6", f, mapped(), BadSource).before(warm(Family::V4, VIP)),
        row("version 0", f, changed(14, &[0x05]), BadIpHeader),
        row(
            "longer than the frame",
            f,
            changed(length, &[7, 0]),
            BadIpHeader,
        ),
        row(
            "TCP header of 4 words",
            f,
            changed(l4 + 12, &[0x40]),
            BadL4Header,
        ),
        row(
            "cut in the TCP header",
            f,
            raw(UP0, cut(&data(f), f.header_len() + 19)),
            Truncated,
        ),
        row(
            "TCP header longer than the packet",
            f,
            raw(UP0, with(&tcp(f, CLIENT, VIP, ACK), l4 + 12, &[0xf0])),
            BadL4Header,
        ),
        row(
            "TCP header longer than the packet, padded",
            f,
            raw(UP0, {
                let mut frame = with(&tcp(f, CLIENT, VIP, ACK), l4 + 12, &[0x60]);
                frame.extend([0; 40]);
                frame
            }),
            BadL4Header,
        ),
    ]
}

fn streams(f: Family) -> Vec<Row> {
    let warm = move || {
        vec![
            at(UP0, udp(f, CLIENT, DNS)),
            made(UP0, |out| answer_to(&out[0], 0)),
            at(UP0, udp(f, CLIENT, DNS)),
            made(UP0, |out| answer_to(&out[0], 0)),
        ]
    };
    let row = |name: &str, step: Step, reason| {
        Row::new(format!("stream: {name}"), f, step, reason).before(warm())
    };
    let l4 = 14 + f.header_len();
    let datagram = udp(f, CLIENT, DNS).len(100);
    let changed = |offset, bytes: &[u8]| raw(UP0, with(&datagram, offset, bytes));
    vec![
        row("a datagram", datagram.clone().into(), Tx),
        row("an empty datagram", udp(f, CLIENT, DNS).len(0).into(), Tx),
        row(
            "an answer",
            made(UP0, |out| answer_to(&out[0], 0).len(31)),
            Tx,
        )
        .becomes("10.96.0.1 53 > 192.0.2.7 1000 ttl 63"),
        row(
            "no checksum",
            udp(f, CLIENT, DNS).without_checksum().into(),
            Tx,
        ),
        row("shorter than the packet", changed(l4 + 4, &[0, 20]), Tx),
        row(
            "shorter than its header",
            changed(l4 + 4, &[0, 7]),
            BadL4Header,
        ),
        row(
            "longer than the packet",
            changed(l4 + 4, &[0, 109]),
            BadL4Header,
        ),
        row("a checksum of ones", changed(l4 + 6, &[0xff, 0xff]), Tx),
    ]
}

const W1_VIP: &str = "10.96.0.4:80";

/// A connection of a client with a local workload, which tc serves.
fn warm_local(f: Family, vip: &'static str) -> Vec<Step> {
    vec![
        at(UP0, syn(f, CLIENT, vip)),
        made(At::From("w1"), |out| answer_to(&out[0], SYN | ACK)),
        at(UP0, tcp(f, CLIENT, vip, ACK)),
        made(At::From("w1"), |out| answer_to(&out[0], ACK)),
    ]
}

fn between_workloads(f: Family) -> Vec<Step> {
    vec![
        at(At::From("w2"), syn(f, "10.40.2.2:9", "10.40.1.2:80")),
        made(At::From("w1"), |out| answer_to(&out[0], SYN | ACK)),
        at(At::From("w2"), tcp(f, "10.40.2.2:9", "10.40.1.2:80", ACK)),
    ]
}

fn local_row(name: &str, f: Family, step: impl Into<Step>, reason: Reason) -> Row {
    Row::new(format!("established, local: {name}"), f, step, reason).before(warm_local(f, W1_VIP))
}

fn local(f: Family) -> Vec<Row> {
    let data = tcp(f, CLIENT, W1_VIP, ACK | PSH).len(333);
    let l4 = 14 + f.header_len();
    let answer = |len| made(At::From("w1"), move |out| answer_to(&out[0], ACK).len(len));
    let wrong_sum = raw(UP0, with(&data, l4 + 16, &[0xab, 0xcd]));
    vec![
        local_row("data", f, data.clone(), ToWorkload)
            .after(ToTc)
            .becomes("192.0.2.7 1000 > 10.40.1.2 8080 ttl 63"),
        local_row("a wrong checksum stays wrong", f, wrong_sum, ToWorkload).after(ToTc),
        local_row("TTL 1", f, data.ttl(1), TtlExpired).after(ToTc),
        local_row("the answer", f, answer(99), Redirect)
            .becomes("10.96.0.4 80 > 192.0.2.7 1000 ttl 63"),
        local_row(
            "tagged, which the workload does not see",
            f,
            tcp(f, CLIENT, W1_VIP, ACK).tags(&[5]),
            ToWorkload,
        )
        .after(ToTc),
        local_row("FIN", f, tcp(f, CLIENT, W1_VIP, FIN | ACK), ToWorkload).after(ToTc),
        Row::new(
            "established, local: from workload to workload",
            f,
            at(
                At::From("w2"),
                tcp(f, "10.40.2.2:9", "10.40.1.2:80", ACK).len(77),
            ),
            ToWorkload,
        )
        .before(between_workloads(f))
        .becomes("10.40.2.2 9 > 10.40.1.2 80 ttl 63"),
    ]
}

fn not_local(f: Family) -> Vec<Row> {
    let data = tcp(f, CLIENT, W1_VIP, ACK).len(5);
    let forged = |out: &[Vec<u8>]| answer_to(&out[0], ACK).len(9);
    let change = |row: Row, change| row.before([Step::Change(change)]);
    vec![
        local_row(
            "an answer that another workload forges",
            f,
            made(At::From("w2"), forged),
            SpoofedSource,
        ),
        Row::new(
            "established, local: forged by the network",
            f,
            tcp(f, "10.40.2.2:9", "10.40.1.2:80", ACK),
            BadSource,
        )
        .after(ToTc)
        .before(between_workloads(f)),
        Row::new(
            "established, local: forged by the network, to the outside",
            f,
            tcp(f, "10.40.1.2:53", CLIENT, ACK),
            NotOurs,
        )
        .before([
            at(At::From("w1"), syn(f, "10.40.1.2:53", CLIENT)),
            at(UP0, tcp(f, CLIENT, "10.40.1.2:53", SYN | ACK)),
            at(At::From("w1"), tcp(f, "10.40.1.2:53", CLIENT, ACK)),
        ]),
        change(
            local_row("the workload has moved", f, data.clone(), ToNeighbour).after(ToTc),
            |world| {
                world.endpoints[W1].mac = [0; 6];
                world.policy_rev += 2;
            },
        ),
        change(
            local_row(
                "the workload's namespace can't be entered",
                f,
                data.clone(),
                ToWorkload,
            )
            .after(ToTc),
            |world| {
                world.endpoints[W1].flags |= consts::ENDPOINT_NO_PEER;
                world.policy_rev += 2;
            },
        ),
        change(
            local_row("a deny list that is new", f, data, DenyList),
            |world| {
                world.flags |= consts::CONFIG_DENY_LIST;
                world.deny = Family::ALL.map(|f| net(f, "192.0.2.7/32")).to_vec();
                world.policy_rev += 2;
            },
        ),
    ]
}
