//! Random packets and changes, for the tests of [`crate::random`].

use terrace_model::{Family, Packet, World};

use crate::order::*;
use crate::row::At;
use crate::world::service_at;

/// xorshift64*
pub struct Dice(u64);

impl Dice {
    /// Seeds that differ little give rolls that differ much.
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            dice.roll();
        }
        dice
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        self.roll() as usize % n
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

pub const CLIENTS: [&str; 6] = [
    "192.0.2.7",
    "192.0.2.8",
    "198.51.100.7",
    "203.0.113.66",
    "192.0.2.9",
    "10.40.1.2",
];
pub const SERVERS: [&str; 24] = [
    "10.96.0.1",
    "10.96.0.2",
    "10.96.0.3",
    "10.96.0.4",
    "10.96.0.5",
    "10.96.0.6",
    "10.96.0.7",
    "10.96.0.8",
    "10.96.0.9",
    "10.96.0.10",
    "10.96.0.11",
    "10.96.0.12",
    "10.96.0.13",
    "10.96.0.15",
    "10.96.0.16",
    "10.96.0.20",
    "10.96.0.21",
    "10.40.1.2",
    "10.40.2.2",
    "10.40.4.2",
    "10.10.0.1",
    "10.30.1.9",
    "203.0.113.9",
    "10.30.6.9",
];
pub const WORKLOADS: [(&str, &str); 3] = [
    ("w1", "10.40.1.2"),
    ("w2", "10.40.2.2"),
    ("w4", "10.40.4.2"),
];
const PORTS: [u16; 14] = [
    80, 80, 80, 80, 80, 80, 53, 53, 8080, 5353, 99, 443, 22, 30080,
];

/// Something in the tables changes.
pub fn change(dice: &mut Dice, world: &mut World) {
    match dice.below(5) {
        0 => world.silent = !world.silent,
        1 => world.policy_rev += 1,
        2 => {
            world.policy_rev += 1;
            let rule = dice.below(world.rules.len());
            world.rules[rule].deny = !world.rules[rule].deny;
        }
        3 => world.snat_ports = dice.of(&[(32_768, 60_999), (40_000, 40_001), (50_000, 50_000)]),
        _ => {
            for family in Family::ALL {
                let [from, to] = [(); 2].map(|()| {
                    let address = family.ip(SERVERS[dice.below(5)]);
                    service_at(world, address, 80)
                });
                world.services[to].ring = world.services[from].ring.clone();
            }
        }
    }
}

/// A place and a frame, often of a flow that there is.
pub fn packet(dice: &mut Dice, servers: &[&str], before: &[Vec<u8>]) -> (At, Vec<u8>) {
    let known = !before.is_empty() && !dice.one_in(3);
    let (place, packet) = if known {
        let frame = &before[dice.below(before.len())];
        follow_up(dice, frame).unwrap_or_else(|| fresh(dice, servers))
    } else {
        fresh(dice, servers)
    };
    let packet = dress(dice, packet);
    let mut frame = packet.bytes();
    if dice.one_in(6) {
        damage(dice, &mut frame);
    }
    (place, frame)
}

fn uplink(dice: &mut Dice) -> At {
    At::Uplink(dice.of(&["up0", "up0", "up0", "up1", "up2"]))
}

fn fresh(dice: &mut Dice, servers: &[&str]) -> (At, Packet) {
    let family = dice.of(&Family::ALL);
    let (iface, own) = dice.of(&WORKLOADS);
    let (place, from) = match dice.below(8) {
        0..5 => (uplink(dice), dice.of(&CLIENTS)),
        5 => (At::From(iface), own),
        6 => (At::Out("up0"), "10.10.0.1"),
        _ => (At::To(iface), dice.of(&["10.10.0.1", "192.0.2.7"])),
    };
    let to = match place {
        At::To(_) => own,
        _ => dice.of(servers),
    };
    let from = format!("{from}:{}", 1000 + dice.below(3));
    let to = format!("{to}:{}", dice.of(&PORTS));
    let packet = match dice.below(12) {
        0..5 => syn(family, &from, &to),
        5 => tcp(family, &from, &to, dice.roll() as u8),
        6..9 => udp(family, &from, &to),
        9 => ping(family, &from, &to),
        10 => {
            let kind = dice.of(&[0, 3, 8, 11, 13, 128, 129, 1, 2, 135, 143]);
            icmp(family, &from, &to, kind, 0, [0, 77, 0, 1])
        }
        _ => {
            let proto = dice.of(&[47, 132, 50, 4, 41, 1, 58, 0, 59]);
            other(family, &from, &to, proto).len(24)
        }
    };
    (place, packet)
}

/// An answer to, an error about, or the next segment of a packet.
fn follow_up(dice: &mut Dice, frame: &[u8]) -> Option<(At, Packet)> {
    let seen = terrace_model::seen(frame)?;
    let least = match seen.proto {
        6 => 20,
        17 => 8,
        _ => usize::MAX,
    };
    if seen.is_later_fragment || seen.segment.len() < least {
        return None;
    }
    let of = |address: &str| Family::ALL.map(|family| family.ip(address));
    let here = WORKLOADS
        .iter()
        .find(|(_, own)| of(own).contains(&seen.dst));
    let place = if let Some((iface, _)) = here {
        At::From(iface)
    } else if of("10.10.0.1").contains(&seen.dst) && dice.one_in(2) {
        At::Out("up0")
    } else {
        uplink(dice)
    };
    let flags = dice.of(&[SYN | ACK, ACK, ACK | PSH, FIN | ACK, RST, SYN]);
    let answer = answer_to(frame, flags);
    let packet = match dice.below(4) {
        0 => {
            let router = dice.of(&["10.77.0.1", "10.30.0.5", "192.0.2.7"]);
            let (quote, mtu) = (dice.of(&[3, 8, 20, 1000]), dice.of(&[None, Some(1280)]));
            error_about(router, frame, quote, mtu)
        }
        1 => {
            // What the opener sends next.
            let mut next = answer.clone();
            (next.ends.0, next.ends.1) = (answer.ends.1, answer.ends.0);
            (next.ports.0, next.ports.1) = (answer.ports.1, answer.ports.0);
            next
        }
        _ => answer,
    };
    Some((place, packet))
}

fn dress(dice: &mut Dice, mut packet: Packet) -> Packet {
    if dice.one_in(8) {
        packet = packet.tags(dice.of(&[&[5][..], &[5, 6], &[5, 6, 7]]));
    }
    if dice.one_in(6) {
        packet = packet.ttl(dice.of(&[0, 1, 2, 255]));
    }
    let is_error = packet.payload.len() > 8;
    if !is_error && dice.one_in(4) {
        let len = dice.of(&[0, 1, 40, 500, 1239, 1273, 1400, 1433, 1460]);
        packet = packet.len(len);
    }
    if dice.one_in(6) {
        packet = packet.may_fragment();
    }
    if dice.one_in(8) {
        let (offset, more) =
            dice.of(&[(0, true), (0, true), (1480, true), (512, false), (0, false)]);
        packet = packet.fragment(offset, more);
    }
    if dice.one_in(8) && packet.family() == Family::V4 {
        packet = packet.options(dice.of(&[&[1; 4][..], &[1; 20], &[1; 40]]));
    }
    while dice.one_in(6) && packet.family() == Family::V6 {
        let number = dice.of(&[0, 43, 51, 60, 60]);
        packet = packet.extension(number, &[0, 2, 4, 0, 0, 0, 0]);
    }
    packet
}

/// Random bytes, or a frame that ends early or late.
fn damage(dice: &mut Dice, frame: &mut Vec<u8>) {
    match dice.below(4) {
        0 => frame.truncate(14 + dice.below(frame.len() - 14)),
        1 => frame.extend((0..dice.below(30)).map(|i| i as u8)),
        _ => (),
    }
    for _ in 0..dice.below(4) {
        // Mostly where the headers are.
        let at = 12 + dice.below((frame.len() - 12).min(100));
        frame[at] = if dice.one_in(2) {
            dice.roll() as u8
        } else {
            frame[at] ^ (1 << dice.below(8))
        };
    }
}
