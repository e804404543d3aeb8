//! Services: where a new connection goes, and its answers.

use terrace_abi::Reason::*;
use terrace_model::Family;

use super::{CLIENT, VIP};
use crate::order::*;
use crate::row::{At, Row, at, made};

const UP0: At = At::Uplink("up0");

pub fn rows(f: Family) -> Vec<Row> {
    let mut rows = opening(f);
    rows.extend(answered(f));
    rows.extend(of_the_host(f));
    rows.extend(reset_and_refused(f));
    rows
}

fn opening(f: Family) -> Vec<Row> {
    vec![
        Row::new(
            "remote backend on the same link",
            f,
            syn(f, CLIENT, VIP),
            Tx,
        )
        .becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
        Row::new(
            "remote backend on another link",
            f,
            syn(f, CLIENT, "10.96.0.2:80"),
            Redirect,
        )
        .becomes("10.11.0.1 * > 10.30.1.5 8080 ttl 63"),
        Row::new(
            "remote backend behind an interface without XDP",
            f,
            syn(f, CLIENT, "10.96.0.3:80"),
            Redirect,
        )
        .after(ToTc)
        .becomes("10.12.0.1 * > 10.30.2.5 8080 ttl 63"),
        Row::new(
            "a local backend sees the client's address",
            f,
            syn(f, CLIENT, "10.96.0.4:80"),
            ToWorkload,
        )
        .after(ToTc)
        .becomes("192.0.2.7 1000 > 10.40.1.2 8080 ttl 63"),
        Row::new(
            "UDP to a remote backend",
            f,
            udp(f, CLIENT, "10.96.0.1:53"),
            Tx,
        )
        .becomes("10.10.0.1 * > 10.30.0.5 5353 ttl 63"),
        Row::new(
            "UDP without a checksum stays without",
            f,
            udp(f, CLIENT, "10.96.0.1:53").without_checksum(),
            Tx,
        )
        .look(|seen| assert_eq!(seen.segment[6..8], [0, 0])),
        Row::new("a node port", f, syn(f, CLIENT, "10.10.0.1:30080"), Tx)
            .becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
        Row::new(
            "a workload to a remote backend keeps its address",
            f,
            at(At::From("w1"), syn(f, "10.40.1.2:1000", VIP)),
            Redirect,
        )
        .becomes("10.40.1.2 1000 > 10.30.0.5 8080 ttl 63"),
        Row::new(
            "a workload that is its own backend sees the host's address",
            f,
            at(At::From("w1"), syn(f, "10.40.1.2:1000", "10.96.0.4:80")),
            ToWorkload,
        )
        .becomes("10.10.0.1 * > 10.40.1.2 8080 ttl 63"),
        Row::new(
            "a workload to a workload through a service",
            f,
            at(At::From("w4"), syn(f, "10.40.4.2:1000", "10.96.0.4:80")),
            ToWorkload,
        )
        .becomes("10.40.4.2 1000 > 10.40.1.2 8080 ttl 63"),
        Row::new(
            "a backend address that is a service address",
            f,
            syn(f, CLIENT, "10.96.0.12:80"),
            Loop,
        ),
        Row::new("a SYN with data", f, syn(f, CLIENT, VIP).len(101), Tx),
    ]
}

fn answered(f: Family) -> Vec<Row> {
    let open = move || [at(UP0, syn(f, CLIENT, VIP))];
    let local = move || [at(UP0, syn(f, CLIENT, "10.96.0.4:80"))];
    vec![
        Row::new(
            "the remote backend's answer comes from the service",
            f,
            made(UP0, |out| answer_to(&out[0], SYN | ACK)),
            Tx,
        )
        .before(open())
        .becomes("10.96.0.1 80 > 192.0.2.7 1000 ttl 63"),
        Row::new(
            "UDP's answer comes from the service",
            f,
            made(UP0, |out| answer_to(&out[0], 0)),
            Tx,
        )
        .before([at(UP0, udp(f, CLIENT, "10.96.0.1:53"))])
        .becomes("10.96.0.1 53 > 192.0.2.7 1000 ttl 63"),
        Row::new(
            "the local backend's answer comes from the service",
            f,
            made(At::From("w1"), |out| answer_to(&out[0], SYN | ACK)),
            Redirect,
        )
        .before(local())
        .becomes("10.96.0.4 80 > 192.0.2.7 1000 ttl 63"),
        Row::new(
            "the answer through another link goes back by the first",
            f,
            made(At::Uplink("up1"), |out| answer_to(&out[0], SYN | ACK)),
            Redirect,
        )
        .before([at(UP0, syn(f, CLIENT, "10.96.0.2:80"))])
        .becomes("10.96.0.2 80 > 192.0.2.7 1000 ttl 63"),
        Row::new(
            "later segments take the same way",
            f,
            tcp(f, CLIENT, VIP, ACK | PSH).len(77),
            Tx,
        )
        .before(open())
        .before([made(UP0, |out| answer_to(&out[0], SYN | ACK))])
        .becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
        Row::new(
            "the remote backend's answer to a workload",
            f,
            made(UP0, |out| answer_to(&out[0], SYN | ACK)),
            ToWorkload,
        )
        .after(ToTc)
        .before([at(At::From("w1"), syn(f, "10.40.1.2:1000", VIP))])
        .becomes("10.96.0.1 80 > 10.40.1.2 1000 ttl 63"),
        Row::new(
            "a workload's answer to itself",
            f,
            made(At::From("w1"), |out| answer_to(&out[0], SYN | ACK)),
            ToWorkload,
        )
        .before([at(At::From("w1"), syn(f, "10.40.1.2:1000", "10.96.0.4:80"))])
        .becomes("10.96.0.4 80 > 10.40.1.2 1000 ttl 63"),
    ]
}

fn of_the_host(f: Family) -> Vec<Row> {
    let out = At::Out("up0");
    vec![
        Row::new(
            "the host to a remote backend",
            f,
            at(out, syn(f, "10.10.0.1:1000", VIP)),
            Redirect,
        )
        .becomes("10.10.0.1 1000 > 10.30.0.5 8080 ttl 64"),
        Row::new(
            "the remote backend's answer to the host",
            f,
            made(UP0, |out| answer_to(&out[0], SYN | ACK)),
            ToHost,
        )
        .after(ToTc)
        .before([at(out, syn(f, "10.10.0.1:1000", VIP))])
        .becomes("10.96.0.1 80 > 10.10.0.1 1000 ttl 64"),
        Row::new(
            "the host to a remote backend on another link",
            f,
            at(out, syn(f, "10.10.0.1:1000", "10.96.0.2:80")),
            Redirect,
        )
        .becomes("10.10.0.1 1000 > 10.30.1.5 8080 ttl 64"),
        Row::new(
            "the host to a local workload through a service",
            f,
            at(out, syn(f, "10.10.0.1:1000", "10.96.0.4:80")),
            ToWorkload,
        )
        .becomes("10.10.0.1 1000 > 10.40.1.2 8080 ttl 64"),
        Row::new(
            "a service whose backend is the host",
            f,
            syn(f, CLIENT, "10.96.0.21:80"),
            ToHost,
        )
        .after(ToTc)
        .becomes("192.0.2.7 1000 > 10.10.0.1 8080 ttl 64"),
        Row::new(
            "the host's answer comes from the service",
            f,
            made(out, |out| answer_to(&out[0], SYN | ACK)),
            Redirect,
        )
        .before([at(UP0, syn(f, CLIENT, "10.96.0.21:80"))])
        .becomes("10.96.0.21 80 > 192.0.2.7 1000 ttl 64"),
        Row::new(
            "the host's own traffic is the stack's",
            f,
            at(out, syn(f, "10.10.0.1:1000", "192.0.2.9:80")),
            NotOurs,
        ),
    ]
}

fn reset_and_refused(f: Family) -> Vec<Row> {
    let is_reset = |seen: &terrace_model::Seen| assert_eq!(seen.segment[13] & RST, RST);
    vec![
        Row::new(
            "a segment of no flow is reset",
            f,
            tcp(f, CLIENT, VIP, ACK),
            NoFlowReset,
        )
        .becomes("10.96.0.1 80 > 192.0.2.7 1000 ttl 64")
        .look(is_reset),
        Row::new(
            "SYN-ACK of no flow is reset",
            f,
            tcp(f, CLIENT, VIP, SYN | ACK),
            NoFlowReset,
        ),
        Row::new(
            "a reset of no flow is not answered",
            f,
            tcp(f, CLIENT, VIP, RST),
            NoFlow,
        ),
        Row::new(
            "a segment of no flow to a service that drops",
            f,
            tcp(f, CLIENT, "10.96.0.2:80", ACK),
            NoFlow,
        ),
        Row::new(
            "no ready backend: reset",
            f,
            syn(f, CLIENT, "10.96.0.6:80").len(33),
            NoBackendReset,
        )
        .becomes("10.96.0.6 80 > 192.0.2.7 1000 ttl 64")
        .look(|seen| {
            assert_eq!(seen.segment[13], RST | ACK);
            assert_eq!(seen.segment[8..12], 1034u32.to_be_bytes());
        }),
        Row::new(
            "no ready backend: unreachable",
            f,
            udp(f, CLIENT, "10.96.0.6:53"),
            NoBackendReject,
        )
        .look(|seen| assert!(matches!(seen.segment[..2], [3, 3] | [1, 4]))),
        Row::new(
            "no ready backend: drop TCP",
            f,
            syn(f, CLIENT, "10.96.0.7:80"),
            NoBackend,
        ),
        Row::new(
            "no ready backend: drop UDP",
            f,
            udp(f, CLIENT, "10.96.0.7:53"),
            NoBackend,
        ),
        Row::new(
            "no backend for a workload: reset into the workload",
            f,
            at(At::From("w1"), syn(f, "10.40.1.2:1000", "10.96.0.6:80")),
            NoBackendReset,
        ),
        Row::new(
            "no backend for the host: reset to the host",
            f,
            at(At::Out("up0"), syn(f, "10.10.0.1:1000", "10.96.0.6:80")),
            NoBackendReset,
        ),
    ]
}
