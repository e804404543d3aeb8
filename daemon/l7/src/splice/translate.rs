//! The translation itself: once on the bytes of a packet, as BPF does it, and
//! once on a segment, for those that the engine makes. A test holds both to
//! the same bytes.

use super::{Direction, MAX_RAISE, Splice, mode};
use crate::tcp::wire::{self, Layout, NoSegment};
use crate::tcp::{Endpoint, Segment, Timestamps};

/// What is added where.
struct Deltas {
    src: Endpoint,
    dst: Endpoint,
    seq: u32,
    ack: u32,
    ts_value: u32,
    ts_echo: u32,
    keep_sacks: bool,
}

impl Splice {
    fn deltas(&self, direction: Direction) -> Deltas {
        let minus = |delta: u32| 0u32.wrapping_sub(delta);
        match direction {
            Direction::ToServer => Deltas {
                src: self.source,
                dst: self.server,
                seq: self.up_delta,
                ack: minus(self.down_delta),
                ts_value: 0,
                ts_echo: minus(self.ts_delta),
                keep_sacks: self.has(mode::SACK),
            },
            Direction::ToClient => Deltas {
                src: self.service,
                dst: self.client,
                seq: self.down_delta,
                ack: minus(self.up_delta),
                ts_value: self.ts_delta,
                ts_echo: 0,
                keep_sacks: true,
            },
        }
    }

    /// An acknowledgement as the receiver reads it.
    fn ack(&self, direction: Direction, ack: u32) -> u32 {
        let behind = self.ack_floor.wrapping_sub(ack);
        match direction {
            // In a tunnel the numbers go round without the worker.
            Direction::ToClient if !self.has(mode::TUNNEL) && (1..MAX_RAISE).contains(&behind) => {
                self.ack_floor
            }
            _ => ack,
        }
    }

    /// The window as the receiver reads it.
    fn window(&self, direction: Direction, raw: u16) -> u16 {
        let (scale, told, cap) = match direction {
            Direction::ToServer => (self.client_scale, self.client_scale_told, u32::MAX),
            Direction::ToClient => (self.server_scale, self.server_scale_told, self.window_cap),
        };
        let bytes = (u32::from(raw) << scale).min(cap);
        match scale == told && bytes < cap {
            true => raw,
            false => u16::try_from(bytes >> told).unwrap_or(u16::MAX),
        }
    }
}

/// Translates a segment.
pub fn translate_segment<'p>(
    splice: &Splice,
    direction: Direction,
    segment: &Segment<'p>,
) -> Segment<'p> {
    let deltas = splice.deltas(direction);
    let mut out = *segment;
    out.src = deltas.src;
    out.dst = deltas.dst;
    out.seq = segment.seq.wrapping_add(deltas.seq);
    out.ack = splice.ack(direction, segment.ack.wrapping_add(deltas.ack));
    out.window = splice.window(direction, segment.window);
    if let Some(timestamps) = segment.options.timestamps {
        out.options.timestamps = Some(Timestamps {
            value: timestamps.value.wrapping_add(deltas.ts_value),
            echo: timestamps.echo.wrapping_add(deltas.ts_echo),
        });
    }
    for (from, until) in &mut out.options.sacks[..usize::from(segment.options.n_sacks)] {
        *from = from.wrapping_add(deltas.ack);
        *until = until.wrapping_add(deltas.ack);
    }
    if !deltas.keep_sacks {
        out.options.n_sacks = 0;
    }
    out
}

/// Translates a packet in place. Length, options' places and everything that
/// is not named here stay as they are; checksums are set anew.
pub fn translate(
    splice: &Splice,
    direction: Direction,
    packet: &mut [u8],
) -> Result<(), NoSegment> {
    let layout = wire::layout(packet)?;
    let deltas = splice.deltas(direction);
    addresses(packet, &layout, &deltas);
    let tcp = layout.tcp;
    add(packet, tcp + 4, deltas.seq);
    let ack = add(packet, tcp + 8, deltas.ack);
    let ack = splice.ack(direction, ack);
    packet[tcp + 8..tcp + 12].copy_from_slice(&ack.to_be_bytes());
    let window = u16::from_be_bytes([packet[tcp + 14], packet[tcp + 15]]);
    let window = splice.window(direction, window);
    packet[tcp + 14..tcp + 16].copy_from_slice(&window.to_be_bytes());
    options(&mut packet[tcp + 20..layout.payload], &deltas)?;
    wire::set_checksum(packet, &layout);
    Ok(())
}

fn add(bytes: &mut [u8], at: usize, delta: u32) -> u32 {
    let word = u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let sum = word.wrapping_add(delta);
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    sum
}

fn addresses(packet: &mut [u8], layout: &Layout, deltas: &Deltas) {
    let (src, dst, tcp) = (&deltas.src, &deltas.dst, layout.tcp);
    packet[tcp..tcp + 2].copy_from_slice(&src.port.to_be_bytes());
    packet[tcp + 2..tcp + 4].copy_from_slice(&dst.port.to_be_bytes());
    if packet[0] >> 4 == 4 {
        packet[12..16].copy_from_slice(&src.ip[12..]);
        packet[16..20].copy_from_slice(&dst.ip[12..]);
        wire::set_v4_checksum(&mut packet[..tcp]);
    } else {
        packet[8..24].copy_from_slice(&src.ip);
        packet[24..40].copy_from_slice(&dst.ip);
    }
}

fn options(bytes: &mut [u8], deltas: &Deltas) -> Result<(), NoSegment> {
    // The walk reads, so places are collected first: at most one of each.
    let (mut timestamps, mut sacks) = (None, None);
    wire::each_option(bytes, |kind, at, len| match (kind, len) {
        (8, 8) => timestamps = Some(at),
        (5, 8 | 16 | 24 | 32) => sacks = Some((at, len)),
        _ => {}
    })?;
    if let Some(at) = timestamps {
        add(bytes, at, deltas.ts_value);
        add(bytes, at + 4, deltas.ts_echo);
    }
    match sacks {
        Some((at, len)) if deltas.keep_sacks => {
            for word in 0..len / 4 {
                add(bytes, at + word * 4, deltas.ack);
            }
        }
        // NOPs: options cannot be taken out without moving what follows.
        Some((at, len)) => bytes[at - 2..at + len].fill(1),
        None => {}
    }
    Ok(())
}
