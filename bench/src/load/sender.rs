//! Frames sent through an AF_XDP socket (copy mode) of the outside's interface:
//! the same frames as the live ones, written by a process.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use terrace_testkit::Netns;
use terrace_xdp::xsk::{BATCH, Bind, Memory, MemorySize, Xsk};

use super::frames::FLOWS;
use crate::cpu;
use crate::lab::net::NIC;
use crate::programs::harness::Settings;

const FRAMES: u32 = 2048;
/// For what is in the socket's ring at the end.
const DRAIN: Duration = Duration::from_millis(20);
/// Of the IPv4 header's checksum, and the header itself.
const CHECK_AT: usize = 24;
const HEADER: std::ops::Range<usize> = 14..34;

/// A bound socket and a frame a flow.
#[derive(Debug)]
pub struct Sender {
    socket: Xsk,
    frames: Vec<Vec<u8>>,
    _memory: Memory,
}

/// What was sent in a measurement.
#[derive(Debug, Clone, Copy)]
pub struct SentFrames {
    pub frames: u64,
    pub seconds: f64,
    /// System calls.
    pub calls: u64,
}

impl Sender {
    pub fn new(outside: &Netns, settings: &Settings, size: usize) -> Result<Self> {
        // The first socket of a UMEM is made with it: made elsewhere it would be
        // bound to whatever interface has that number there.
        let made = outside.enter(|| -> Result<(Memory, Xsk)> {
            let mut memory = Memory::new(MemorySize {
                sockets: 1,
                frames_in: FRAMES,
                frames_out: FRAMES,
            })?;
            let socket = memory.bind(NIC, 0, Bind::Copy)?;
            Ok((memory, socket))
        })?;
        let (memory, socket) = made.context("an AF_XDP socket to send by")?;
        Ok(Self {
            socket,
            frames: (0..FLOWS).map(|key| frame(settings, key, size)).collect(),
            _memory: memory,
        })
    }

    /// Sends for so long on this CPU.
    pub fn send(&mut self, outside: &Netns, seconds: f64, cpu: usize) -> Result<SentFrames> {
        outside.enter(|| {
            cpu::pin(cpu)?;
            let sender = &mut self.socket.sender;
            let (kicks, dropped) = (sender.kicks, sender.dropped);
            let start = Instant::now();
            let mut written = 0;
            while start.elapsed().as_secs_f64() < seconds {
                for frame in self
                    .frames
                    .iter()
                    .cycle()
                    .skip(written as usize % FLOWS as usize)
                    .take(BATCH)
                {
                    sender.send(frame.len(), |room| {
                        room[..frame.len()].copy_from_slice(frame);
                        frame.len()
                    });
                }
                written += BATCH as u64;
                sender.flush();
            }
            // What a full ring behind the link refuses is lost, not waited for.
            let end = Instant::now() + DRAIN;
            while sender.n_waiting() > 0 && Instant::now() < end {
                sender.flush();
            }
            Ok(SentFrames {
                frames: written - (sender.dropped - dropped),
                seconds: start.elapsed().as_secs_f64(),
                calls: sender.kicks - kicks,
            })
        })?
    }
}

/// What `write_frame` and `generate` of the BPF generator make of a key.
fn frame(settings: &Settings, key: u32, size: usize) -> Vec<u8> {
    let keys = &settings.keys;
    let mut frame = settings.frame.to_vec();
    let source = keys.src.to_bits() + (key.wrapping_mul(keys.src_mul) >> keys.src_shift);
    let port = |base: u16, mask: u32| (base + (key & mask) as u16).to_be_bytes();
    frame[26..30].copy_from_slice(&source.to_be_bytes());
    frame[30..34].copy_from_slice(&(keys.dst.to_bits() + (key & keys.dst_mask)).to_be_bytes());
    frame[34..36].copy_from_slice(&port(keys.sport, keys.sport_mask));
    frame[36..38].copy_from_slice(&port(keys.dport, keys.dport_mask));
    let words = frame[HEADER].chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let check = !((folded & 0xffff) + (folded >> 16)) as u16;
    frame[CHECK_AT..CHECK_AT + 2].copy_from_slice(&check.to_be_bytes());
    frame.resize(size, 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::frame::{Keys, Order, udp_frame};

    #[test]
    fn frames_of_other_keys_are_of_other_flows_and_their_checksums_are_right() {
        let settings = Settings {
            frame: udp_frame([2; 6], [4; 6], 128),
            keys: Keys::clients(FLOWS, Order::Random, [10, 96, 0, 11].into(), 53),
            verdict: 1,
            numbered: false,
        };
        let [one, other] = [3, 20].map(|key| frame(&settings, key, 128));
        assert_eq!(one.len(), 128);
        assert_ne!(one[26..36], other[26..36]);
        for frame in [one, other] {
            let words = frame[HEADER].chunks_exact(2);
            let sum: u32 = words
                .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
                .sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }
}
