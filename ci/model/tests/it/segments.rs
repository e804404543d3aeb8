//! Random segments of spliced flows: programs and model alike, what they note
//! included.
//!
//! MODEL_SEED and MODEL_PACKETS choose others than the fixed ones.

use terrace_abi::consts;
use terrace_l7::splice::{Splice, mode};
use terrace_model::{Family, Model, Packet, Transport, World};

use crate::fabric::Fabric;
use crate::generate::Dice;
use crate::lab::Lab;
use crate::order::{end, syn, with};
use crate::random::{number as setting, send};
use crate::row::{At, Tiers, without_xdp};
use crate::splices::{ENDS, number};

/// Of the sequence numbers: further ahead is behind.
const HALF: u32 = 1 << 31;
/// Segments that share one splice.
const EPISODE: usize = 50;

#[test]
fn root_random_segments_of_splices_end_the_same_at_xdp_at_tc_and_in_the_model() {
    let seed = setting("MODEL_SEED", 1);
    let episodes = setting("MODEL_PACKETS", 20_000) as usize / EPISODE;
    Fabric::new("segments").run(|lab| {
        let mut seen = std::collections::BTreeMap::new();
        for episode in 0..episodes {
            let seed = seed.wrapping_mul(0x9E37_79B9).wrapping_add(episode as u64);
            let tiers = [Tiers::XdpAndTc, Tiers::TcAlone];
            let [both, alone] = tiers.map(|tiers| play(lab, seed, tiers));
            assert_eq!(both, alone, "MODEL_SEED episode {seed}");
            for (reason, _) in both {
                *seen.entry(reason).or_insert(0) += 1;
            }
        }
        lab.assert_conserved();
        println!("seed {seed}: {seen:?}");
        for reason in ["spliced", "spliced_copied", "to_worker", "bad_l4_header"] {
            assert!(seen.get(reason) > Some(&100), "too few {reason}: {seen:?}");
        }
    });
}

fn play(lab: &mut Lab, seed: u64, tiers: Tiers) -> Vec<(&'static str, Vec<u8>)> {
    let mut dice = Dice::new(seed);
    let mut world = lab.world();
    without_xdp(&mut world, tiers);
    let family = dice.of(&Family::ALL);
    let (of, ends) = dice.of(&ENDS[..3]);
    let number = number(family, of);
    numbers(&mut dice, &mut world, number);
    let spliced = world.l7.splices[&number];
    lab.install(&world);
    lab.forget();
    let mut model = Model::new(world);
    let mut bind = syn(family, ends[2], ends[3]).bytes();
    bind[..12].fill(0);
    bind[0] = consts::L7_MAGIC as u8;
    bind[1] = consts::L7_TO_SERVER as u8;
    bind[4..8].copy_from_slice(&number.to_le_bytes());
    let context = format!("episode {seed}");
    send(lab, &mut model, tiers, At::Port, &bind, &context);
    let mut outcomes = Vec::new();
    for i in 0..EPISODE {
        let (place, frame) = segment(&mut dice, family, ends, &spliced.splice);
        let context = format!("episode {seed}, segment {i}, {place:?}, {spliced:?}");
        let out = send(lab, &mut model, tiers, place, &frame, &context).unwrap();
        let binding = (number, spliced.binding);
        let noted = model.progress.get(&binding).copied();
        let noted = noted.unwrap_or(spliced.start);
        assert_eq!(lab.progress(number, spliced.binding), noted, "{context}");
        outcomes.push((out.reason.name(), out.bytes));
    }
    outcomes
}

/// Numbers that wrap, windows of all kinds, every mode.
fn numbers(dice: &mut Dice, world: &mut World, number: u32) {
    let spliced = world.l7.splices.get_mut(&number).unwrap();
    let splice = &mut spliced.splice;
    let near = |dice: &mut Dice, base: u32| base.wrapping_add(dice.roll() as u32 % 6000);
    let base = dice.of(&[0, 1000, 0x7fff_f000, 0xffff_f800]);
    let sent = dice.of(&[0, 0x8000_0000, 0xffff_fc00]);
    splice.down_delta = dice.roll() as u32;
    splice.up_delta = dice.of(&[0, 0, 7, 0xffff_fff9]);
    splice.ts_delta = dice.roll() as u32;
    splice.open_from = near(dice, base);
    splice.open_until = near(dice, base);
    splice.quiet_until = near(dice, sent);
    splice.ack_floor = near(dice, base);
    splice.window_cap = dice.of(&[u32::MAX, 15_360, 1 << 20]);
    for scale in [
        &mut splice.client_scale,
        &mut splice.client_scale_told,
        &mut splice.server_scale,
        &mut splice.server_scale_told,
    ] {
        *scale = dice.of(&[0, 7, 7, 9, 14]);
    }
    splice.mode = dice.of(&[0, mode::TUNNEL, mode::HOLD, 0, 0])
        | dice.of(&[0, mode::SACK])
        | dice.of(&[mode::TIMESTAMPS, 0])
        | dice.of(&[0, 0, 0, 0, 0, mode::ALL_UP]);
    spliced.start.server_nxt = near(dice, sent);
    spliced.start.server_ack = near(dice, base);
    spliced.start.server_edge = near(dice, base).wrapping_add(dice.of(&[0, 60_000, HALF]));
    spliced.start.client_ack = near(dice, sent.wrapping_add(splice.down_delta));
    spliced.start.ts_value = dice.roll() as u32;
}

fn segment(
    dice: &mut Dice,
    family: Family,
    ends: [&'static str; 4],
    splice: &Splice,
) -> (At, Vec<u8>) {
    let [client, service, source, server] = ends;
    let to_server = dice.one_in(2);
    let (src, dst) = if to_server {
        (client, service)
    } else {
        (server, source)
    };
    let place = if src.starts_with("10.40.1.2") {
        At::From("w1")
    } else {
        At::Uplink("up0")
    };
    let near = |dice: &mut Dice, base: u32| {
        base.wrapping_sub(3000)
            .wrapping_add(dice.roll() as u32 % 6000)
    };
    let (seq, ack) = if to_server {
        let told = splice.quiet_until.wrapping_add(splice.down_delta);
        let from = splice.open_from.wrapping_add(dice.of(&[0, 0, 0, HALF]));
        (near(dice, from), near(dice, told))
    } else {
        (near(dice, splice.quiet_until), near(dice, splice.ack_floor))
    };
    let flags = match dice.of(&[0, 0, 0, 0, 0, 1, 2]) {
        1 => dice.roll() as u8,
        2 => 0x11,
        _ => 0x10,
    };
    let transport = Transport::Tcp(flags, seq, ack, options(dice));
    let mut packet = Packet::new(end(family, src), end(family, dst), transport);
    packet.payload = (0..dice.of(&[0, 0, 1, 7, 100, 1200]))
        .map(|i| i as u8)
        .collect();
    if dice.one_in(20) {
        packet.tags = vec![5];
    }
    let l4 = packet.l3() + family.header_len();
    let mut frame = packet.bytes();
    if dice.one_in(2) {
        // Another window than Packet's; the checksum is wrong then, and stays so.
        let window = (dice.roll() as u16).to_be_bytes();
        frame[l4 + 14..l4 + 16].copy_from_slice(&window);
    }
    if dice.one_in(30) {
        let at = dice.roll() as usize % (frame.len() - l4);
        frame = with(&packet, l4 + at, &[dice.roll() as u8]);
    }
    (place, frame)
}

/// A multiple of four, up to 40 bytes: right ones, and some that are not.
fn options(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..dice.of(&[0, 1, 1, 2, 3]) {
        match dice.of(&[0, 0, 1, 2, 3, 4]) {
            0 => bytes.extend([1, 1, 8, 10]),
            1 => bytes.extend([1, 8, 10]),
            2 => {
                let blocks = dice.of(&[1u8, 2, 3, 4]);
                bytes.extend([1, 1, 5, 2 + 8 * blocks]);
                bytes.extend((0..8 * blocks).map(|_| dice.roll() as u8));
                continue;
            }
            3 => bytes.extend([dice.roll() as u8, dice.of(&[0, 1, 2, 3, 6, 10, 40])]),
            _ => {
                bytes.push(1);
                continue;
            }
        }
        bytes.extend((0..8).map(|_| dice.roll() as u8));
    }
    bytes.truncate(40);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
