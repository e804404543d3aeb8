//! The bytes of a transfer, made from a seed.

use super::CHUNK;
use std::io::{self, Read, Write};

/// splitmix64, eight bytes at a time.
#[derive(Debug)]
pub struct Pattern {
    state: u64,
}

impl Pattern {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub fn send(&mut self, to: &mut impl Write, length: u64) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        let mut left = length;
        while left > 0 {
            let part = &mut chunk[..left.min(CHUNK as u64) as usize];
            self.fill(part);
            to.write_all(part)?;
            left -= part.len() as u64;
        }
        Ok(())
    }

    /// Reads `length` bytes; how many came before the first wrong one.
    pub fn expect(&mut self, from: &mut impl Read, length: u64) -> io::Result<u64> {
        let (mut wanted, mut got) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut done = 0;
        while done < length {
            let part = (length - done).min(CHUNK as u64) as usize;
            from.read_exact(&mut got[..part])?;
            self.fill(&mut wanted[..part]);
            if got[..part] != wanted[..part] {
                let same = got.iter().zip(&wanted).take_while(|(g, w)| g == w).count();
                return Ok(done + same as u64);
            }
            done += part as u64;
        }
        Ok(done)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            let next = self.next().to_ne_bytes();
            word.copy_from_slice(&next[..word.len()]);
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_is_found_where_it_is() {
        let length = CHUNK as u64 + 100;
        let rows = [
            ("none", None),
            ("first", Some(0)),
            ("second chunk", Some(CHUNK + 7)),
        ];
        for (row, wrong) in rows {
            let mut bytes = Vec::new();
            Pattern::new(5).send(&mut bytes, length).unwrap();
            if let Some(at) = wrong {
                bytes[at] ^= 1;
            }
            let right = Pattern::new(5)
                .expect(&mut bytes.as_slice(), length)
                .unwrap();
            assert_eq!(right, wrong.map_or(length, |at| at as u64), "{row}");
        }
    }
}
