//! Source ports of ours: no two connections to a server have the same one.

use std::collections::BTreeSet;

use super::*;

const PORTS: std::ops::RangeInclusive<u16> = 30_000..=30_003;

/// All goes to the one backend, from ports in turn.
struct Own {
    next: u16,
}

impl Own {
    fn source(&mut self) -> Endpoint {
        let port = self.next;
        self.next = match port == *PORTS.end() {
            true => *PORTS.start(),
            false => port + 1,
        };
        Endpoint {
            port,
            ..endpoint("10.9.9.9:1")
        }
    }
}

impl Services for Own {
    fn offer(&self, to: Endpoint) -> Option<Offer> {
        Rules::default().offer(to)
    }

    fn decide(
        &mut self,
        parties: &Parties,
        request: &Request<'_, '_>,
        bound: Option<&Backend>,
        scratch: &mut Scratch,
    ) -> Decision {
        let decision = Rules::default().decide(parties, request, bound, scratch);
        let Decision::Forward(mut forward) = decision else {
            return decision;
        };
        forward.backend.source = match bound {
            Some(bound) => bound.source,
            None => self.source(),
        };
        // A route's limit would end it before its third SYN.
        forward.timeout_ms = 0;
        Decision::Forward(forward)
    }

    fn another_source(&mut self, taken: Endpoint) -> Option<Endpoint> {
        assert_eq!(taken.ip, endpoint("10.9.9.9:1").ip);
        Some(self.source())
    }

    fn write(&self, _: Token, _: &Request<'_, '_>, _: &mut HeadWriter<'_>) -> Result<(), NoRoom> {
        Ok(())
    }
}

impl Case<Own> {
    fn hall() -> Self {
        let next = *PORTS.start();
        Self::with(16, Own { next })
    }

    fn no_ports(&self) -> usize {
        let events = self.world.events.iter();
        events.filter(|event| **event == Event::NoPort).count()
    }
}

/// Where the SYN to the server came from.
fn source(world: &World) -> u16 {
    world.opened.last().unwrap().port
}

#[test]
fn a_connection_never_has_the_source_of_a_living_one_to_the_same_server() {
    let mut hall = Case::hall();
    let mut taken = BTreeSet::new();
    for n in 0..PORTS.len() as u16 {
        // The turn comes back to the first port each time.
        hall.rules.next = *PORTS.start();
        let out = hall.ask_at(4_000 + n, GET);
        assert_eq!(out[0].flags, flags::SYN, "{n}: {out:?}");
        assert!(taken.insert(source(&hall.world)), "{n}: {taken:?}");
    }
    let out = hall.ask_at(4_100, GET);
    assert!(text(&out).starts_with("HTTP/1.1 503 "), "{out:?}");
    assert_eq!(hall.no_ports(), 1, "and it is counted");
    // The first one ends: its port is free.
    let reset = hall.client_at(4_000, C + 1, 0, flags::RST, b"");
    assert_eq!(reset[0].direction, Direction::ToServer, "{reset:?}");
    let out = hall.ask_at(4_101, GET);
    assert_eq!(out[0].flags, flags::SYN, "{out:?}");
    assert_eq!(source(&hall.world), *PORTS.start());
}

#[test]
fn a_syn_without_an_answer_comes_from_another_port_the_third_time() {
    let mut hall = Case::hall();
    hall.ask_at(4_000, GET);
    let mut sources = vec![source(&hall.world)];
    for _ in 0..3 {
        let at = hall.engine.next_tick().unwrap();
        hall.now = at;
        hall.world.out.clear();
        hall.engine.tick(hall.now, &mut hall.rules, &mut hall.world);
        assert_eq!(hall.world.out[0].flags, flags::SYN);
        sources.push(source(&hall.world));
    }
    assert_eq!(sources, [30_000, 30_000, 30_001, 30_002]);
    let server = |port| Segment {
        src: server(),
        dst: Endpoint {
            port,
            ..endpoint("10.9.9.9:1")
        },
        seq: S,
        ack: C + 1,
        flags: flags::SYN | ACK,
        window: 60_000,
        ..Segment::default()
    };
    let out = hall.packet(&server(30_000));
    assert!(out[0].flags & flags::RST != 0, "a late answer: {out:?}");
    let out = hall.packet(&server(30_002));
    assert_eq!(out[0].payload, GET, "{out:?}");
}
