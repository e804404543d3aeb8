//! What the programs remember: connections, clients, source ports.

use terrace_abi::Reason::*;
use terrace_abi::consts;
use terrace_model::{Family, World};

use super::{CLIENT, VIP};
use crate::order::*;
use crate::row::{At, Row, Step, at, made};
use crate::world::service_at;

const UP0: At = At::Uplink("up0");

pub fn rows(f: Family) -> Vec<Row> {
    let mut rows = fail_modes(f);
    rows.extend(churn(f));
    rows.extend(datagrams(f));
    rows.extend(affinity(f));
    rows.extend(ports(f));
    rows.extend(closed(f));
    rows
}

fn silence(world: &mut World) {
    world.silent = true;
}

fn fail_modes(f: Family) -> Vec<Row> {
    let open = move |vip: &'static str| [at(UP0, syn(f, CLIENT, vip)), Step::Change(silence)];
    let live = |name: &str, vip: &'static str, reason| {
        Row::new(name, f, tcp(f, CLIENT, vip, ACK), reason).before(open(vip))
    };
    let new = |name: &str, vip: &'static str, reason| {
        Row::new(name, f, syn(f, CLIENT, vip), reason).world(silence)
    };
    vec![
        new("mode last, new flow", VIP, Tx),
        new("mode open, new flow", "10.96.0.13:80", FailOpen),
        new("mode closed, new flow", "10.96.0.14:80", FailClosed),
        live("mode last, live flow", VIP, Tx),
        live("mode open, live flow", "10.96.0.13:80", FailOpen),
        live("mode closed, live flow", "10.96.0.14:80", FailClosed),
        Row::new(
            "mode open while the daemon lives",
            f,
            syn(f, CLIENT, "10.96.0.13:80"),
            Tx,
        ),
        Row::new(
            "mode closed while the daemon lives",
            f,
            syn(f, CLIENT, "10.96.0.14:80"),
            Tx,
        ),
        Row::new(
            "mode closed, the backend's answer",
            f,
            made(UP0, |out| answer_to(&out[0], SYN | ACK)),
            FailClosed,
        )
        .before(open("10.96.0.14:80")),
    ]
}

/// The service at 10.96.0.1:80 loses its backend.
fn empty(world: &mut World) {
    for family in Family::ALL {
        let index = service_at(world, family.ip("10.96.0.1"), 80);
        world.services[index].ring.clear();
    }
}

/// The service at 10.96.0.1:80 has another backend.
fn other_backend(world: &mut World) {
    for family in Family::ALL {
        let from = service_at(world, family.ip("10.96.0.2"), 80);
        let to = service_at(world, family.ip("10.96.0.1"), 80);
        world.services[to].ring = world.services[from].ring.clone();
    }
}

fn churn(f: Family) -> Vec<Row> {
    let open = move || at(UP0, syn(f, CLIENT, VIP));
    let next = move || tcp(f, CLIENT, VIP, ACK);
    vec![
        Row::new("a flow keeps its backend when it leaves", f, next(), Tx)
            .before([open(), Step::Change(empty)])
            .becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
        Row::new(
            "a new flow finds no backend",
            f,
            syn(f, "192.0.2.8:1000", VIP),
            NoBackendReset,
        )
        .before([open(), Step::Change(empty)]),
        Row::new("a flow keeps its backend when another comes", f, next(), Tx)
            .before([open(), Step::Change(other_backend)])
            .becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
        Row::new(
            "a new flow takes the new backend",
            f,
            syn(f, "192.0.2.8:1000", VIP),
            Redirect,
        )
        .before([open(), Step::Change(other_backend)])
        .becomes("10.11.0.1 * > 10.30.1.5 8080 ttl 63"),
        Row::new(
            "a retransmitted SYN keeps the backend",
            f,
            syn(f, CLIENT, VIP),
            Tx,
        )
        .before([open(), Step::Change(other_backend)])
        .becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
    ]
}

/// The DNS service has another backend; the one it had is there or is gone.
fn other_dns(world: &mut World, old: Option<u32>) {
    for family in Family::ALL {
        let service = service_at(world, family.ip("10.96.0.1"), 53);
        let held = world.services[service].ring[0] as usize;
        let other = service_at(world, family.ip("10.96.0.2"), 80);
        world.services[service].ring = world.services[other].ring.clone();
        world.backends[held] = world.backends[held]
            .zip(old)
            .map(|(backend, flags)| terrace_model::Backend { flags, ..backend });
    }
    world.policy_rev += 2;
}

/// A client that goes on sending from one port.
fn datagrams(f: Family) -> Vec<Row> {
    let next = move || udp(f, CLIENT, "10.96.0.1:53");
    let row = |name: &str, change: fn(&mut World), reason| {
        Row::new(name, f, next(), reason).before([at(UP0, next()), Step::Change(change)])
    };
    vec![
        row(
            "datagrams leave a backend that is gone",
            |world| other_dns(world, None),
            Redirect,
        )
        .becomes("10.11.0.1 * > 10.30.1.5 8080 ttl 63"),
        row(
            "datagrams stay with a backend that drains",
            |world| other_dns(world, Some(consts::BACKEND_DRAINING)),
            Tx,
        )
        .becomes("10.10.0.1 * > 10.30.0.5 5353 ttl 63"),
        row(
            "datagrams stay with a backend that is not ready",
            |world| other_dns(world, Some(0)),
            Tx,
        )
        .becomes("10.10.0.1 * > 10.30.0.5 5353 ttl 63"),
    ]
}

/// Backends of the service with affinity, by the last number of the address.
fn set_ready(world: &mut World, last: &str, ready: bool) {
    for family in Family::ALL {
        let address = family.ip(&format!("10.30.0.{last}"));
        let index = world
            .backends
            .iter()
            .position(|backend| backend.is_some_and(|backend| backend.address == address))
            .unwrap();
        let backend = world.backends[index].as_mut().unwrap();
        backend.flags = if ready {
            consts::BACKEND_READY
        } else {
            consts::BACKEND_DRAINING
        };
    }
}

/// The ring names one backend only.
fn ring_of(world: &mut World, last: &str) {
    for family in Family::ALL {
        let address = family.ip(&format!("10.30.0.{last}"));
        let is = |backend: &Option<terrace_model::Backend>| {
            backend.is_some_and(|backend| backend.address == address)
        };
        let index = world.backends.iter().position(is).unwrap() as u32;
        let service = service_at(world, family.ip("10.96.0.15"), 80);
        world.services[service].ring = vec![index; 7];
    }
}

fn affinity(f: Family) -> Vec<Row> {
    let vip = "10.96.0.15:80";
    let first = move || at(UP0, syn(f, CLIENT, vip));
    let again = move || syn(f, "192.0.2.7:1001", vip);
    vec![
        Row::new(
            "a client keeps its backend for new connections",
            f,
            again(),
            Tx,
        )
        .world(|world| ring_of(world, "21"))
        .before([first(), Step::Change(|world| ring_of(world, "22"))])
        .becomes("10.10.0.1 * > 10.30.0.21 8080 ttl 63"),
        Row::new(
            "another client goes by the ring",
            f,
            syn(f, "192.0.2.9:1001", vip),
            Tx,
        )
        .world(|world| ring_of(world, "21"))
        .before([first(), Step::Change(|world| ring_of(world, "22"))])
        .becomes("10.10.0.1 * > 10.30.0.22 8080 ttl 63"),
        Row::new("a draining backend gets no new connection", f, again(), Tx)
            .world(|world| ring_of(world, "21"))
            .before([
                first(),
                Step::Change(|world| {
                    ring_of(world, "22");
                    set_ready(world, "21", false);
                }),
            ])
            .becomes("10.10.0.1 * > 10.30.0.22 8080 ttl 63"),
        Row::new(
            "a draining backend keeps its connection",
            f,
            tcp(f, CLIENT, vip, ACK),
            Tx,
        )
        .world(|world| ring_of(world, "21"))
        .before([
            first(),
            Step::Change(|world| {
                ring_of(world, "22");
                set_ready(world, "21", false);
            }),
        ])
        .becomes("10.10.0.1 * > 10.30.0.21 8080 ttl 63"),
        Row::new(
            "the ring spreads clients",
            f,
            syn(f, "192.0.2.3:5", vip),
            Tx,
        ),
    ]
}

fn ports(f: Family) -> Vec<Row> {
    let one_port = |world: &mut World| world.snat_ports = (40_000, 40_000);
    let two_ports = |world: &mut World| world.snat_ports = (40_000, 40_001);
    let first = move || at(UP0, syn(f, CLIENT, VIP));
    let second = move || syn(f, "192.0.2.8:1000", VIP);
    let through = move |dst: &'static str| at(At::From("w1"), syn(f, "10.40.1.2:1000", dst));
    vec![
        Row::new("the last source port", f, syn(f, CLIENT, VIP), Tx)
            .world(one_port)
            .becomes("10.10.0.1 40000 > 10.30.0.5 8080 ttl 63"),
        Row::new("no source port is left", f, second(), SnatPortsFull)
            .world(one_port)
            .before([first()]),
        Row::new("another source port is found", f, second(), Tx)
            .world(two_ports)
            .before([first()]),
        Row::new(
            "ports are counted for each backend",
            f,
            udp(f, CLIENT, "10.96.0.1:53"),
            Tx,
        )
        .world(one_port)
        .before([first()]),
        Row::new(
            "a kept source that collides gets another port",
            f,
            through(VIP),
            Redirect,
        )
        .before([through("10.30.0.5:8080")])
        .look(|seen| assert_ne!(seen.ports().0, 1000)),
    ]
}

fn closed(f: Family) -> Vec<Row> {
    let open = move || {
        vec![
            at(UP0, syn(f, CLIENT, VIP)),
            made(UP0, |out| answer_to(&out[0], SYN | ACK)),
            at(UP0, tcp(f, CLIENT, VIP, ACK)),
        ]
    };
    let fins = move || {
        vec![
            at(UP0, tcp(f, CLIENT, VIP, FIN | ACK)),
            made(UP0, |out| answer_to(&out[0], FIN | ACK)),
        ]
    };
    vec![
        Row::new(
            "a SYN in a closed connection opens a new one",
            f,
            syn(f, CLIENT, VIP),
            Redirect,
        )
        .before(open())
        .before(fins())
        .before([Step::Change(other_backend)])
        .becomes("10.11.0.1 * > 10.30.1.5 8080 ttl 63"),
        Row::new(
            "a SYN after a reset opens a new one",
            f,
            syn(f, CLIENT, VIP),
            Redirect,
        )
        .before(open())
        .before([
            made(UP0, |out| answer_to(&out[0], RST)),
            Step::Change(other_backend),
        ])
        .becomes("10.11.0.1 * > 10.30.1.5 8080 ttl 63"),
        Row::new(
            "a SYN in an open connection keeps it",
            f,
            syn(f, CLIENT, VIP),
            Tx,
        )
        .before(open())
        .before([Step::Change(other_backend)])
        .becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
        Row::new(
            "a SYN in a half closed connection keeps it",
            f,
            syn(f, CLIENT, VIP),
            Tx,
        )
        .before(open())
        .before([
            at(UP0, tcp(f, CLIENT, VIP, FIN | ACK)),
            Step::Change(other_backend),
        ])
        .becomes("10.10.0.1 * > 10.30.0.5 8080 ttl 63"),
        Row::new(
            "the last ACK of a closed connection",
            f,
            tcp(f, CLIENT, VIP, ACK),
            Tx,
        )
        .before(open())
        .before(fins()),
    ]
}
