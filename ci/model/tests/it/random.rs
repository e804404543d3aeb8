//! Random packets: whole ones, and ones with random bytes in them.
//!
//! MODEL_SEED and MODEL_PACKETS choose others than the fixed ones.

use terrace_abi::{Class, Reason, consts};
use terrace_model::{Family, Hook, Model, Outcome, verify};

use crate::fabric::Fabric;
use crate::generate::{CLIENTS, Dice, SERVERS, WORKLOADS, change, packet};
use crate::lab::Lab;
use crate::order::*;
use crate::row::{At, Tiers, hooks, without_xdp};

/// Packets that share one state.
const EPISODE: usize = 100;

pub fn number(name: &str, default: u64) -> u64 {
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
        let of_packets = |reason: &&Reason| reason.number() < consts::SOCKET_REASONS_FIRST;
        assert!(
            seen.len() > Reason::ALL.iter().filter(of_packets).count() / 2,
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
    for (i, server) in servers.iter().take(3).enumerate() {
        let dst = format!("{server}:{}", dice.of(&[80, 80, 80, 53]));
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

pub fn send(
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
