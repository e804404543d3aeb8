//! A path between two stacks.

use std::collections::BTreeMap;

use crate::random::Random;

/// What may happen to a packet, in thousandths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub drop: u64,
    pub duplicate: u64,
    pub cut: u64,
    pub damage: u64,
    /// Milliseconds on the way, at least and at random on top: reordering.
    pub delay: u64,
    pub jitter: u64,
}

#[derive(Debug)]
pub struct Channel {
    faults: Faults,
    random: Random,
    /// By time of arrival and order of sending.
    packets: BTreeMap<(u64, u64), Vec<u8>>,
    n_sent: u64,
}

impl Channel {
    pub fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            random: Random(seed),
            packets: BTreeMap::new(),
            n_sent: 0,
        }
    }

    pub fn send(&mut self, now: u64, packet: Vec<u8>) {
        let faults = self.faults;
        let copies = 1 + u64::from(self.random.per_mille(faults.duplicate));
        for _ in 0..copies {
            if self.random.per_mille(faults.drop) {
                continue;
            }
            let mut packet = packet.clone();
            if self.random.per_mille(faults.cut) {
                packet.truncate(self.random.below(packet.len() as u64) as usize);
            }
            if self.random.per_mille(faults.damage) && !packet.is_empty() {
                let at = self.random.below(packet.len() as u64) as usize;
                packet[at] ^= 1 << self.random.below(8);
            }
            let at = now + faults.delay + self.random.below(faults.jitter + 1);
            self.n_sent += 1;
            self.packets.insert((at, self.n_sent), packet);
        }
    }

    /// A packet that has arrived.
    pub fn arrived(&mut self, now: u64) -> Option<Vec<u8>> {
        let (&(at, _), _) = self.packets.first_key_value()?;
        (at <= now).then(|| self.packets.pop_first().unwrap().1)
    }

    pub fn next(&self) -> Option<u64> {
        self.packets.keys().next().map(|(at, _)| *at)
    }
}
