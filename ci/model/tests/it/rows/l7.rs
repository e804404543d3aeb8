//! Workers' flows: who goes up, what workers send, what was there before.

use terrace_abi::Reason::*;
use terrace_abi::consts;
use terrace_model::{Family, Packet, World};

use super::{CLIENT, VIP};
use crate::order::*;
use crate::row::{At, Row, Step, at, made, raw};
use crate::splices::{DIRECT, ENDS, OUTWARD, REMOTE, number};

const UP0: At = At::Uplink("up0");
pub(super) const ROUTED: &str = "10.96.0.30:80";
const ROUTED_OPEN: &str = "10.96.0.31:80";

pub fn rows(f: Family) -> Vec<Row> {
    let parts = [steering, port, stale];
    parts.into_iter().flat_map(|rows| rows(f)).collect()
}

/// A frame of a worker.
pub(super) fn sent(f: Family, kind: u32, of: u32, packet: &Packet) -> Step {
    let mut frame = packet.bytes();
    frame[..12].fill(0);
    frame[0] = consts::L7_MAGIC as u8;
    frame[1] = kind as u8;
    frame[4..8].copy_from_slice(&number(f, of).to_le_bytes());
    raw(At::Port, frame)
}

/// The worker's SYN to the server, which makes the flow.
pub(super) fn bound(f: Family, of: u32) -> Step {
    let (_, [_, _, source, server]) = ENDS.iter().find(|(n, _)| *n == of).unwrap();
    sent(f, consts::L7_TO_SERVER, of, &syn(f, source, server))
}

pub(super) fn no_worker(world: &mut World) {
    world.l7.dead = (0..4).collect();
}

pub(super) fn l7_policy(world: &mut World) {
    world.policy_rev += 1;
    world.rules.iter_mut().for_each(|rule| rule.l7 = true);
}

fn steering(f: Family) -> Vec<Row> {
    let up = |name: &str, step: Step| Row::new(format!("l7: {name}"), f, step, ToWorker);
    let first = syn(f, CLIENT, ROUTED);
    let direct = || syn(f, CLIENT, "10.40.2.2:8080");
    let mut rows = vec![
        up("a SYN to a service with routes", first.clone().into()).after(ToTc),
        up(
            "a segment of no flow to it",
            tcp(f, CLIENT, ROUTED, ACK).len(100).into(),
        )
        .after(ToTc),
        up(
            "a reset of no flow to it",
            tcp(f, CLIENT, ROUTED, RST).into(),
        )
        .after(ToTc),
        up("a tagged SYN", first.clone().tags(&[5, 6]).into()).after(ToTc),
        up(
            "a SYN of a workload",
            at(At::From("w1"), syn(f, "10.40.1.2:1000", ROUTED)),
        ),
        up(
            "a SYN of the host",
            at(At::Out("up0"), syn(f, "10.10.0.1:1000", ROUTED)),
        ),
        up("policy on requests", direct().into())
            .after(ToTc)
            .world(l7_policy),
        up(
            "policy on requests, a later segment",
            tcp(f, CLIENT, "10.40.2.2:8080", ACK).into(),
        )
        .after(ToTc)
        .world(l7_policy),
        Row::new(
            "l7: policy denies before the worker",
            f,
            syn(f, CLIENT, "10.40.2.2:81"),
            IngressDefault,
        )
        .after(ToTc)
        .world(l7_policy),
        Row::new("l7: no worker, mode last", f, first.clone(), L7NoWorker)
            .after(ToTc)
            .world(no_worker),
        Row::new(
            "l7: no worker, mode open",
            f,
            syn(f, CLIENT, ROUTED_OPEN),
            L7FailOpen,
        )
        .after(ToTc)
        .world(no_worker),
        Row::new("l7: no port", f, first.clone(), L7NoWorker)
            .after(ToTc)
            .world(|world| world.l7.port = 0),
        Row::new("l7: no worker for policy", f, direct(), L7NoWorker)
            .after(ToTc)
            .world(|world| {
                l7_policy(world);
                no_worker(world);
            }),
        Row::new(
            "l7: a fragment",
            f,
            first.clone().fragment(0, true),
            L7Unfit,
        )
        .after(ToTc),
        Row::new("l7: a denied source", f, first, DenyList).world(|world| {
            world.flags |= consts::CONFIG_DENY_LIST;
            world.deny = Family::ALL
                .map(|f| crate::world::net(f, "192.0.2.7/32"))
                .to_vec();
        }),
    ];
    if f == Family::V6 {
        let extended = syn(f, CLIENT, ROUTED).extension(60, &[0, 1, 4, 0, 0, 0, 0]);
        rows.push(Row::new("l7: an extension header", f, extended, L7Unfit).after(ToTc));
    }
    rows
}

fn port(f: Family) -> Vec<Row> {
    let row =
        |name: &str, step: Step, reason| Row::new(format!("l7 port: {name}"), f, step, reason);
    let to = |kind, packet: Packet| sent(f, kind, REMOTE, &packet);
    let (client, server) = (consts::L7_TO_CLIENT, consts::L7_TO_SERVER);
    let syn_ack = tcp(f, ROUTED, CLIENT, SYN | ACK);
    let to_server = || syn(f, "10.10.0.1:20000", "10.30.0.5:8080");
    vec![
        row(
            "an answer to a remote client",
            to(client, syn_ack.clone()),
            Redirect,
        )
        .becomes("10.96.0.30 80 > 192.0.2.7 1000 ttl 63"),
        row(
            "an answer to a workload",
            to(client, tcp(f, ROUTED, "10.40.1.2:1000", SYN | ACK)),
            ToWorkload,
        ),
        row(
            "an answer to the host",
            to(client, tcp(f, ROUTED, "10.10.0.1:1000", SYN | ACK)),
            ToHost,
        ),
        row(
            "an answer whose next hop is not known",
            to(client, tcp(f, ROUTED, "10.30.3.5:9", ACK)),
            ToNeighbour,
        ),
        row(
            "an answer to nowhere",
            to(client, tcp(f, ROUTED, "10.30.4.5:9", ACK)),
            NoRoute,
        ),
        row("a SYN to a server", to(server, to_server()), Redirect)
            .becomes("10.10.0.1 20000 > 10.30.0.5 8080 ttl 63"),
        row("the same SYN again", to(server, to_server()), Redirect).before([bound(f, REMOTE)]),
        row(
            "data to a server",
            to(server, tcp(f, "10.10.0.1:20000", "10.30.0.5:8080", ACK)),
            Redirect,
        ),
        row(
            "a reset to a server: the client's next SYN is a new one",
            at(UP0, syn(f, CLIENT, ROUTED)),
            ToWorker,
        )
        .after(ToTc)
        .before([
            bound(f, REMOTE),
            to(server, tcp(f, "10.10.0.1:20000", "10.30.0.5:8080", RST)),
        ]),
        row(
            "a SYN of another flow",
            to(server, syn(f, "10.10.0.1:20001", "10.30.0.5:8080")),
            L7Unfit,
        ),
        row(
            "a kind that only goes up",
            to(consts::L7_UP, syn_ack.clone()),
            L7Unfit,
        ),
        row("no frame", raw(At::Port, syn_ack.bytes()), L7Unfit),
        row("a datagram", to(client, udp(f, ROUTED, CLIENT)), L7Unfit),
        row(
            "a fragment",
            to(client, syn_ack.clone().fragment(0, true)),
            L7Unfit,
        ),
        row("TTL 1", to(client, syn_ack.clone().ttl(1)), TtlExpired),
        row(
            "not IP",
            to(client, syn_ack.clone().tags(&[1, 2, 3])),
            NotIp,
        ),
        row("a SYN that policy refuses", bound(f, DIRECT), IngressDenied).world(|world| {
            world.policy_rev += 1;
            world.rules.iter_mut().for_each(|rule| rule.deny = true);
        }),
        row(
            "a SYN that policy leaves to the worker",
            bound(f, DIRECT),
            ToWorkload,
        )
        .world(l7_policy),
        row(
            "ports that a flow of the kernel has",
            to(server, to_server()),
            SnatPortsFull,
        )
        .world(|world| world.snat_ports = (20_000, 20_000))
        .before([at(UP0, syn(f, CLIENT, VIP))]),
        row(
            "source and server that another worker's flow has",
            twin(f),
            SnatPortsFull,
        )
        .world(with_twins)
        .before([bound(f, REMOTE)]),
        row(
            "source and server that another worker's flow has left",
            twin(f),
            Redirect,
        )
        .world(with_twins)
        .before([
            bound(f, REMOTE),
            Step::Change(|world| {
                for family in Family::ALL {
                    world.l7.splices.remove(&number(family, REMOTE));
                }
            }),
        ]),
    ]
}

/// Another worker's flow is bound from REMOTE's source to its server.
fn with_twins(world: &mut World) {
    for family in Family::ALL {
        let splices = &mut world.l7.splices;
        let first = splices[&number(family, REMOTE)].splice;
        let twin = splices.get_mut(&number(family, OUTWARD)).unwrap();
        (twin.splice.source, twin.splice.server) = (first.source, first.server);
    }
}

fn twin(f: Family) -> Step {
    let syn = syn(f, "10.10.0.1:20000", "10.30.0.5:8080");
    sent(f, consts::L7_TO_SERVER, OUTWARD, &syn)
}

fn stale(f: Family) -> Vec<Row> {
    let open = || {
        [
            at(UP0, syn(f, CLIENT, VIP)),
            made(UP0, |out| answer_to(&out[0], SYN | ACK)),
            Step::Change(|world| {
                world.policy_rev += 2;
                world
                    .services
                    .iter_mut()
                    .for_each(|service| service.flags |= consts::SERVICE_L7);
            }),
        ]
    };
    let direct = || {
        [
            at(UP0, syn(f, CLIENT, "10.40.2.2:8080")),
            made(At::From("w2"), |out| answer_to(&out[0], SYN | ACK)),
            Step::Change(l7_policy),
        ]
    };
    let row = |name: &str, step: Step, reason| Row::new(format!("stale: {name}"), f, step, reason);
    let segment = |flags| tcp(f, CLIENT, VIP, flags);
    vec![
        row(
            "a service that has routes now",
            segment(ACK).len(9).into(),
            L7Reset,
        )
        .before(open()),
        row(
            "a service that has routes now, the server",
            made(UP0, |out| answer_to(&out[0], ACK)),
            L7Reset,
        )
        .before(open()),
        row("a reset goes on", segment(RST).into(), Tx).before(open()),
        row(
            "a policy on requests now",
            tcp(f, CLIENT, "10.40.2.2:8080", ACK).into(),
            L7Reset,
        )
        .after(ToTc)
        .before(direct()),
        row(
            "a policy on requests now, the workload",
            made(At::From("w2"), |out| answer_to(&out[0], ACK)),
            L7Reset,
        )
        .before(direct()),
    ]
}
