//! Next hops: hops left, sizes, routes, neighbours, direct server return.

use terrace_abi::Reason::*;
use terrace_model::{Family, Packet, Seen};

use super::{CLIENT, VIP};
use crate::order::*;
use crate::row::{At, Row, at, made};

const UP0: At = At::Uplink("up0");

pub fn rows(f: Family) -> Vec<Row> {
    let mut rows = hops(f);
    rows.extend(neighbours(f));
    rows.extend(sizes(f));
    rows.extend(workloads(f));
    rows.extend(direct_return(f));
    rows
}

fn hops(f: Family) -> Vec<Row> {
    let row = |name: &str, packet: Packet, reason| Row::new(name, f, packet, reason);
    vec![
        row("TTL 2", syn(f, CLIENT, VIP).ttl(2), Tx).becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 1"),
        row("TTL 1", syn(f, CLIENT, VIP).ttl(1), TtlExpired),
        row("TTL 0", syn(f, CLIENT, VIP).ttl(0), TtlExpired),
        row("TTL 255", syn(f, CLIENT, VIP).ttl(255), Tx),
        row(
            "TTL 1 to a workload",
            syn(f, CLIENT, "10.40.1.2:80").ttl(1),
            TtlExpired,
        )
        .after(ToTc),
        row(
            "TTL 1 to the host",
            syn(f, CLIENT, "10.96.0.21:80").ttl(1),
            ToHost,
        )
        .after(ToTc),
        row(
            "TTL 1 is answered where the host answers",
            syn(f, CLIENT, "10.96.0.1:99").ttl(1),
            NoServiceReset,
        ),
        Row::new(
            "TTL 1 of a workload",
            f,
            at(
                At::From("w1"),
                syn(f, "10.40.1.2:1", "203.0.113.9:80").ttl(1),
            ),
            TtlExpired,
        ),
        Row::new(
            "TTL 1 of the host",
            f,
            at(At::Out("up0"), syn(f, "10.10.0.1:1", VIP).ttl(1)),
            Redirect,
        )
        .becomes("10.10.0.1 1 > 10.30.0.5 8080 ttl 1"),
        Row::new(
            "TTL 1 of the host to a workload",
            f,
            at(At::To("w1"), syn(f, "10.10.0.1:1", "10.40.1.2:80").ttl(1)),
            HostAllowed,
        ),
    ]
}

fn neighbours(f: Family) -> Vec<Row> {
    vec![
        Row::new(
            "the next hop is not resolved",
            f,
            syn(f, CLIENT, "10.96.0.9:80"),
            ToNeighbour,
        )
        .after(NoNeighbour)
        .becomes("10.11.0.1 * > 10.30.3.5 8080 ttl 63"),
        Row::new(
            "no route to the backend",
            f,
            syn(f, CLIENT, "10.96.0.10:80"),
            NoRoute,
        ),
        Row::new(
            "no route for a workload",
            f,
            at(At::From("w1"), syn(f, "10.40.1.2:1", "10.30.4.9:80")),
            NoRoute,
        ),
        Row::new(
            "no neighbour for a workload",
            f,
            at(At::From("w1"), syn(f, "10.40.1.2:1", "10.30.3.9:80")),
            ToNeighbour,
        ),
        Row::new(
            "no neighbour for the host",
            f,
            at(At::Out("up0"), syn(f, "10.10.0.1:1", "10.96.0.9:80")),
            ToNeighbour,
        ),
        Row::new(
            "out of an interface that is not configured",
            f,
            syn(f, CLIENT, "10.96.0.3:80"),
            NoRoute,
        )
        .world(|world| {
            let up2 = world.ifaces.remove(2);
            assert_eq!(up2.addresses[0], Family::V4.ip("10.12.0.1"));
        }),
    ]
}

fn sizes(f: Family) -> Vec<Row> {
    // The way to 10.96.0.11's backend takes 1300 bytes.
    let header = f.header_len();
    let fits = udp(f, CLIENT, "10.96.0.11:53").len(1300 - header - 8);
    let too_long = udp(f, CLIENT, "10.96.0.11:53").len(1301 - header - 8);
    let says = |mtu: u16| {
        move |seen: &Seen| {
            assert!(matches!(seen.segment[..2], [3, 4] | [2, 0]));
            assert_eq!(seen.segment[6..8], mtu.to_be_bytes());
        }
    };
    let mut rows = vec![
        Row::new("as long as the way takes", f, fits, Tx),
        Row::new("one byte longer", f, too_long.clone(), TooBig)
            .becomes("10.96.0.11 * > 192.0.2.7 * ttl 64")
            .look(says(1300)),
        Row::new(
            "too long for a workload's way",
            f,
            at(
                At::From("w1"),
                udp(f, "10.40.1.2:9", "10.30.6.9:9").len(1400),
            ),
            TooBig,
        )
        .look(says(1300)),
        Row::new(
            "too long for the host's way",
            f,
            at(
                At::Out("up0"),
                udp(f, "10.10.0.1:9", "10.96.0.11:53").len(1400),
            ),
            TooBig,
        )
        .look(says(1300)),
        Row::new(
            "the answer of a live flow is too long",
            f,
            tcp(f, CLIENT, "10.96.0.11:80", ACK).len(1400).tags(&[3]),
            TooBig,
        )
        .before([at(UP0, syn(f, CLIENT, "10.96.0.11:80"))])
        .look(says(1300)),
        Row::new(
            "an error that is too long is never answered",
            f,
            made(At::From("w1"), |out| {
                error_about("10.40.1.2", &out[0], 1370, None)
            }),
            ToFragment,
        )
        .before([at(UP0, udp(f, "10.30.5.9:9", "10.40.1.2:9").len(1400))]),
    ];
    if f == Family::V4 {
        rows.extend([
            Row::new(
                "too long, may be fragmented",
                f,
                too_long.may_fragment(),
                ToFragment,
            )
            .after(ToTc)
            .becomes("10.10.0.1 * > 10.30.5.5 8080 ttl 64"),
            Row::new(
                "a workload's packet may be fragmented",
                f,
                at(
                    At::From("w1"),
                    udp(f, "10.40.1.2:9", "10.30.6.9:9")
                        .len(1400)
                        .may_fragment(),
                ),
                ToFragment,
            )
            .becomes("10.40.1.2 9 > 10.30.6.9 9 ttl 64"),
        ]);
    }
    rows
}

fn workloads(f: Family) -> Vec<Row> {
    let from_w1 = |dst: &str| at(At::From("w1"), syn(f, "10.40.1.2:1", dst));
    vec![
        Row::new(
            "into a workload",
            f,
            syn(f, CLIENT, "10.40.1.2:80"),
            ToWorkload,
        )
        .after(ToTc)
        .look(|seen| assert_eq!(seen.macs.0, [2, 0, 0, 0, 0x40, 1])),
        Row::new(
            "into a workload that is no veth",
            f,
            syn(f, CLIENT, "10.40.4.2:80"),
            ToWorkload,
        )
        .after(ToTc),
        Row::new(
            "to a workload whose link-layer address is not known",
            f,
            syn(f, CLIENT, "10.96.0.20:80"),
            ToNeighbour,
        )
        .after(ToTc),
        Row::new(
            "from workload to workload",
            f,
            from_w1("10.40.4.2:80"),
            ToWorkload,
        )
        .becomes("10.40.1.2 1 > 10.40.4.2 80 ttl 63"),
        Row::new(
            "from a workload into the network",
            f,
            from_w1("203.0.113.9:80"),
            Redirect,
        ),
        Row::new(
            "from a workload by another link",
            f,
            from_w1("10.30.1.9:80"),
            Redirect,
        )
        .look(|seen| assert_eq!(seen.macs.0, [2, 0, 0, 0, 0xfe, 1])),
        Row::new(
            "UDP from a workload",
            f,
            at(At::From("w1"), udp(f, "10.40.1.2:1", "203.0.113.9:53")),
            Redirect,
        ),
        Row::new(
            "ping from a workload",
            f,
            at(At::From("w1"), ping(f, "10.40.1.2", "203.0.113.9")),
            Redirect,
        ),
        Row::new(
            "the pong to a workload",
            f,
            pong(f, "203.0.113.9", "10.40.1.2"),
            ToWorkload,
        )
        .after(ToTc)
        .before([at(At::From("w1"), ping(f, "10.40.1.2", "203.0.113.9"))]),
        Row::new(
            "the host to a workload",
            f,
            at(At::To("w1"), syn(f, "10.10.0.1:1", "10.40.1.2:80")),
            HostAllowed,
        ),
        Row::new(
            "what only passes through",
            f,
            at(At::Out("up1"), syn(f, CLIENT, "10.30.1.9:80")),
            NotOurs,
        ),
    ]
}

fn direct_return(f: Family) -> Vec<Row> {
    let vip = "10.96.0.8:80";
    let inner = move |seen: &Seen| {
        let inner = seen.inner().unwrap();
        assert_eq!(
            (inner.src, inner.dst),
            (f.ip("192.0.2.7"), f.ip("10.96.0.8"))
        );
        assert_eq!(inner.ports(), (1000, 80));
        assert_eq!(inner.ttl, 63);
    };
    let outer = "10.10.0.1 * > 10.30.0.6 * ttl 64";
    let full = 1500 - 2 * f.header_len() - 20;
    vec![
        Row::new("direct return", f, syn(f, CLIENT, vip), Encapsulated)
            .becomes(outer)
            .look(inner),
        Row::new(
            "direct return, tagged",
            f,
            syn(f, CLIENT, vip).tags(&[3, 4]),
            Encapsulated,
        )
        .becomes(outer)
        .look(inner),
        Row::new(
            "direct return, later segment",
            f,
            tcp(f, CLIENT, vip, ACK).len(100),
            Encapsulated,
        )
        .before([at(UP0, syn(f, CLIENT, vip))])
        .look(inner),
        Row::new(
            "direct return of UDP",
            f,
            udp(f, CLIENT, "10.96.0.16:53"),
            Encapsulated,
        ),
        Row::new(
            "direct return, full",
            f,
            syn(f, CLIENT, vip).len(full),
            Encapsulated,
        )
        .look(inner),
        Row::new(
            "direct return, too long",
            f,
            syn(f, CLIENT, vip).len(full + 1),
            TooBig,
        )
        .look(move |seen| {
            let mtu = 1500 - f.header_len() as u16;
            assert_eq!(seen.segment[6..8], mtu.to_be_bytes());
        }),
        Row::new(
            "direct return, TTL 1",
            f,
            syn(f, CLIENT, vip).ttl(1),
            TtlExpired,
        ),
        Row::new(
            "direct return for a workload",
            f,
            at(At::From("w1"), syn(f, "10.40.1.2:1", vip)),
            Encapsulated,
        ),
        Row::new(
            "the direct answer to a workload",
            f,
            made(UP0, move |_| tcp(f, vip, "10.40.1.2:1", SYN | ACK)),
            ToWorkload,
        )
        .after(ToTc)
        .before([at(At::From("w1"), syn(f, "10.40.1.2:1", vip))])
        .becomes("10.96.0.8 80 > 10.40.1.2 1 ttl 63"),
    ]
}
