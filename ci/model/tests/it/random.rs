//! Random packets: whole ones, and ones with random bytes in them.
//!
//! MODEL_SEED and MODEL_PACKETS choose others than the fixed ones.

use terrace_abi::{Class, Reason};
use terrace_model::{Family, Hook, Model, Outcome, Packet, World, verify};

use crate::fabric::Fabric;
use crate::lab::Lab;
use crate::order::*;
use crate::row::{At, Tiers, hooks, without_xdp};
use crate::world::service_at;

/// Packets that share one state.
const EPISODE: usize = 100;

/// xorshift64*
struct Dice(u64);

impl Dice {
    /// Seeds that differ little give rolls that differ much.
    fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            dice.roll();
        }
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        self.roll() as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

const CLIENTS: [&str; 6] = [
    "192.0.2.7",
    "192.0.2.8",
    "198.51.100.7",
    "203.0.113.66",
    "192.0.2.9",
    "10.40.1.2",
];
const SERVERS: [&str; 24] = [
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
const WORKLOADS: [(&str, &str); 3] = [
    ("w1", "10.40.1.2"),
    ("w2", "10.40.2.2"),
    ("w4", "10.40.4.2"),
];
const PORTS: [u16; 14] = [
    80, 80, 80, 80, 80, 80, 53, 53, 8080, 5353, 99, 443, 22, 30080,
];

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

#[test]
fn root_random_packets_end_the_same_at_xdp_at_tc_and_in_the_model() {
    let seed = number("MODEL_SEED", 1);
    let episodes = number("MODEL_PACKETS", 20_000) as usize / EPISODE;
    Fabric::new("random").run(|lab| {
        let mut seen = std::collections::BTreeMap::new();
        for episode in 0..episodes {
            let seed = seed.wrapping_mul(0x9E37_79B9).wrapping_add(episode as u64);
            let both = play(lab, seed, Tiers::XdpAndTc);
            let alone = play(lab, seed, Tiers::TcAlone);
            for (i, (both, alone)) in both.iter().zip(&alone).enumerate() {
                let (Some(both), Some(alone)) = (both, alone) else {
                    continue;
                };
                assert_eq!(
                    (both.reason, &both.bytes),
                    (alone.reason, &alone.bytes),
                    "MODEL_SEED episode {seed}, packet {i}: XDP and tc, tc alone"
                );
                *seen.entry(both.reason).or_insert(0) += 1;
            }
        }
        lab.assert_conserved();
        println!("seed {seed}: {seen:?}");
        assert!(
            seen.len() > Reason::ALL.len() / 2,
            "too few reasons: {seen:?}"
        );
    });
}

/// What became of each packet of an episode; `None` = no program took it.
fn play(lab: &mut Lab, seed: u64, tiers: Tiers) -> Vec<Option<Outcome>> {
    let mut dice = Dice::new(seed);
    let mut world = lab.world();
    without_xdp(&mut world, tiers);
    lab.install(&world);
    lab.forget();
    let mut model = Model::new(world);
    let (mut frames, mut outcomes): (Vec<Vec<u8>>, Vec<_>) = (Vec::new(), Vec::new());
    // Few, so that packets meet flows.
    let servers: Vec<&str> = (0..4).map(|_| dice.of(&SERVERS)).collect();
    for i in 0..3 {
        let dst = format!("{}:{}", servers[i], dice.of(&[80, 80, 80, 53]));
        let src = format!("{}:{}", dice.of(&CLIENTS), 1000 + i);
        let context = format!("episode {seed}, connection {i}");
        let family = dice.of(&Family::ALL);
        open(
            lab,
            &mut model,
            tiers,
            (family, &src, &dst),
            &mut frames,
            &context,
        );
        outcomes.resize(frames.len(), None);
    }
    for i in 0..EPISODE {
        if dice.one_in(40) {
            change(&mut dice, &mut model.world);
            without_xdp(&mut model.world, tiers);
            lab.install(&model.world);
        }
        let (place, frame) = packet(&mut dice, &servers, &frames);
        let context = format!("episode {seed}, packet {i}, {place:?}");
        let outcome = send(lab, &mut model, tiers, place, &frame, &context);
        frames.push(
            outcome
                .as_ref()
                .map_or(frame, |outcome| outcome.bytes.clone()),
        );
        outcomes.push(outcome);
    }
    outcomes
}

/// A handshake, or a question and its answer.
fn open(
    lab: &mut Lab,
    model: &mut Model,
    tiers: Tiers,
    (family, src, dst): (Family, &str, &str),
    frames: &mut Vec<Vec<u8>>,
    context: &str,
) {
    let up0 = At::Uplink("up0");
    let (first, next) = if dst.ends_with(":53") {
        (udp(family, src, dst), udp(family, src, dst))
    } else {
        (syn(family, src, dst), tcp(family, src, dst, ACK))
    };
    let Some(out) = send(lab, model, tiers, up0, &first.bytes(), context) else {
        return;
    };
    if out.reason.class() == Class::Forward && out.reason != Reason::Encapsulated {
        let answer = answer_to(&out.bytes, SYN | ACK);
        let dst = answer.ends.0;
        let here = WORKLOADS.iter().find(|(_, own)| family.ip(own) == dst);
        let place = here.map_or(up0, |(iface, _)| At::From(iface));
        send(lab, model, tiers, place, &answer.bytes(), context);
    }
    for _ in 0..2 {
        let frame = next.bytes();
        let out = send(lab, model, tiers, up0, &frame, context);
        frames.push(out.map_or(frame, |out| out.bytes));
    }
}

fn send(
    lab: &mut Lab,
    model: &mut Model,
    tiers: Tiers,
    place: At,
    frame: &[u8],
    context: &str,
) -> Option<Outcome> {
    let (iface, hooks) = hooks(place, tiers);
    let mut last: Option<Outcome> = None;
    for hook in hooks {
        let input = last.as_ref().map_or(frame, |last| &last.bytes).to_vec();
        let Some(real) = lab.run(hook, iface, &input) else {
            return if hook == Hook::Xdp { last } else { None };
        };
        let expected = model.run(hook, lab.ifindex(iface), &input);
        assert_eq!(
            real, expected,
            "{context}: program, model; {hook:?} {input:02x?}"
        );
        let forwarded = real.reason.class() != Class::Drop;
        if forwarded && verify(&input).is_ok() {
            let fault = verify(&real.bytes).err();
            assert_eq!(fault, None, "{context}: {hook:?} {input:02x?}");
        }
        let ends = real.reason.class() != Class::Pass;
        last = Some(real);
        if ends {
            break;
        }
    }
    last
}

/// Something in the tables changes.
fn change(dice: &mut Dice, world: &mut World) {
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
fn packet(dice: &mut Dice, servers: &[&str], before: &[Vec<u8>]) -> (At, Vec<u8>) {
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
